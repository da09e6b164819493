"""A check that misbehaves: Loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Loops(Check):
    """Misbehaves."""

    name = "loops"
    title = "Misbehaves"
    reason = "A test."
    seconds = 1.0

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Progress(10, "begun")
        while True:
            pass
