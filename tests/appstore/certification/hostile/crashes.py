"""A check that misbehaves: Crashes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Crashes(Check):
    """Misbehaves."""

    name = "crashes"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Finding(Level.WARNING, "before", "", "said before the end")
        ctypes.string_at(0)
