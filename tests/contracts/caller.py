"""Applies a release that is told on standard input, and goes on supervising until it is killed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import engines
from engines.contract import EngineSettings, Release
from engines.limits import Limits


def main() -> None:
    wish = json.load(sys.stdin)
    settings, release = wish["settings"], wish["release"]
    if settings["state_dir"]:
        settings["state_dir"] = Path(settings["state_dir"])
    settings["limits"] = Limits(**settings["limits"])
    release["chart"] = Path(release["chart"])
    engine = engines.registry.get(wish["engine"])(EngineSettings(**settings))
    print("applying", flush=True)
    engine.apply(Release(**release))
    while True:
        engine.supervise()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
