"""Check `chart-present`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ChartPresent(Check):
    """A container application carries one packed Helm chart."""

    name = "chart-present"
    title = say("There is a Helm chart")
    reason = say("The chart is what is run.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if subject.descriptor.get("appClass") == "vm":
            return
        if subject.chart is None:
            yield support.error(
                "chart-missing", "Artifacts/Deployment", say("There is no Helm chart"), say("Add the packed chart")
            )
        for each in support.told(subject, "chart-several"):
            yield support.warning(each.code, each.place, each.message, each.remedy)
