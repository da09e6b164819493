"""A check that misbehaves: Eats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Eats(Check):
    """Misbehaves."""

    name = "eats"
    title = "Misbehaves"
    reason = "A test."
    memory_mib = 96

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        kept = []
        while True:
            kept.append(bytearray(8 << 20))
            yield Progress(1)
