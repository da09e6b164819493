"""A check that misbehaves: Kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Kills(Check):
    """Misbehaves."""

    name = "kills"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for pid in {os.getppid(), *options["pids"]}:
            try:
                if pid > 0:
                    os.kill(pid, signal.SIGKILL)
                    yield Finding(Level.ERROR, "killed", str(pid), "It could be killed")
            except OSError as problem:
                yield Finding(Level.INFO, "not-killed", str(pid), str(problem))
