"""Check `chart-layout`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ChartLayout(Check):
    """The chart has Chart.yaml, values.yaml and templates, and what it depends on lies inside."""

    name = "chart-layout"
    title = say("The chart is whole")
    reason = say("An edge node has no network to fetch what is missing.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        archive, root = tools.chart_archive(), support.chart_root(tools)
        if not root:
            yield support.error(
                "chart-invalid", "chart", say("There is no Chart.yaml in a folder of it"), say("Use `helm package`")
            )
            return
        if f"{root}/values.yaml" not in archive:
            yield support.error(
                "values-missing", "values.yaml", say("The chart has no values.yaml"), say("Add it, even if empty")
            )
        if not archive.under(f"{root}/templates"):
            yield support.error(
                "templates-missing", "templates", say("The chart has no templates"), say("Add at least one workload")
            )
        yield from support.raised(support.told(subject, "chart-invalid", "chart-empty", "chart-too-large"))
