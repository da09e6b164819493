"""A check that misbehaves: Many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Many(Check):
    """Misbehaves."""

    name = "many"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for number in range(900):
            yield Finding(Level.INFO, f"n-{number}", "", "one of many")
        yield Finding(Level.ERROR, "the-one", "", "the one that counts")
