"""A check that misbehaves: Pries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Pries(Check):
    """Misbehaves."""

    name = "pries"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for path in options["paths"]:
            try:
                yield Finding(Level.ERROR, "read", path, f"{len(Path(path).read_bytes())} bytes")
            except OSError as problem:
                yield Finding(Level.INFO, "not-read", path, str(problem))
