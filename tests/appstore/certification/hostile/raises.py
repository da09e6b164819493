"""A check that misbehaves: Raises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Raises(Check):
    """Misbehaves."""

    name = "raises"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Finding(Level.WARNING, "before", "", "said before the end")
        raise RuntimeError("a mistake of its author")
