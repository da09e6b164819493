"""A check that misbehaves: Prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Prints(Check):
    """Misbehaves."""

    name = "prints"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        print("x" * 1_000_000, flush=True)
        print({"done": True}, file=sys.stderr, flush=True)
        os.write(1, b"\xff\xfe{]\n" * 1000)
        yield Finding(Level.INFO, "printed", "", "and nobody minds")
