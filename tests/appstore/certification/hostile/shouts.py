"""A check that misbehaves: Shouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Shouts(Check):
    """Misbehaves."""

    name = "shouts"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Finding(Level.INFO, "long", "", "x" * (10 << 20))
