"""A check that misbehaves: Calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Calls(Check):
    """Misbehaves."""

    name = "calls"
    title = "Misbehaves"
    reason = "A test."
    needs = frozenset({"sandbox"})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for method in options["methods"]:
            try:
                yield Finding(Level.INFO, "answer", method, str(getattr(tools.sandbox, method)()))
            except Exception as problem:
                yield Finding(Level.INFO, "refused", method, str(problem))
