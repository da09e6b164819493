"""A check that misbehaves: Writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Writes(Check):
    """Misbehaves."""

    name = "writes"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        try:
            with Path("big").open("wb") as file:
                while True:
                    file.write(b"z" * (1 << 20))
        except OSError as problem:
            yield Finding(Level.INFO, "stopped", "", str(problem))
        kept = []
        try:
            while True:
                kept.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as problem:
            yield Finding(Level.INFO, "handles", str(len(kept)), str(problem))
        for place in ("/subject/package.csar", "/usr/lib/x", str(subject.path)):
            try:
                Path(place).write_bytes(b"changed")
                yield Finding(Level.ERROR, "changed", place, "It could be changed")
            except OSError:
                pass
