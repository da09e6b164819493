"""A check that misbehaves: Good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Good(Check):
    """Misbehaves."""

    name = "good"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Progress(50, "half way")
        yield Finding(Level.INFO, "fine", "", "nothing wrong")
