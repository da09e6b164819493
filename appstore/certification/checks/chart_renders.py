"""Check `chart-renders`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.errors import Invalid
from core.findings import Finding, Level
from core.words import say


class ChartRenders(Check):
    """What Helm cannot render with its own values, nobody can install."""

    name = "chart-renders"
    title = say("Helm renders the chart with its own values")
    reason = say("A chart that needs values which it does not have fails on the first node.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        try:
            objects = tools.objects()
        except Invalid as problem:
            yield Finding(
                Level.ERROR, "chart-does-not-render", "", problem.detail, say("Try `helm template` on the chart")
            )
            return
        if not objects:
            yield Finding(
                Level.ERROR, "chart-empty", "templates", say("The chart renders to nothing"), say("Add its objects")
            )
