"""A check that misbehaves: Chatters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Chatters(Check):
    """Misbehaves."""

    name = "chatters"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        while True:
            yield Finding(Level.INFO, "again", "", "y" * 1500)
