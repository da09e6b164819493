"""Check `readiness-probe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ReadinessProbe(Check):
    """Every container that serves a port has a readiness probe."""

    name = "readiness-probe"
    title = say("It says when it is ready")
    reason = say("Without a probe it gets traffic before it can answer, and the console shows ready too early.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools, lasting=True):
            if each.body.get("ports") and not each.body.get("readinessProbe"):
                yield support.error(
                    "readiness-missing", each.place, say("It has no readiness probe"), say("Add readinessProbe")
                )
