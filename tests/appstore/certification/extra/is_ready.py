"""Check `is-ready`, a live one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Kind, Need, Progress, Subject, Tools
from core.findings import Finding, Level


class IsReady(Check):
    """Asks the sandbox for the state."""

    name = "is-ready"
    title = "It becomes ready"
    reason = "A test."
    kind = Kind.LIVE
    needs = frozenset({Need.SANDBOX})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        state = tools.sandbox.state()["state"]
        if state != "ready":
            yield Finding(Level.ERROR, "not-ready", "", f"It is {state}")
