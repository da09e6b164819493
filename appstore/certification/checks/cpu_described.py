"""Check `cpu-described`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import compute_of


class CpuDescribed(Check):
    """The descriptor says how much virtual CPU the application takes, and no less than its chart asks for."""

    name = "cpu-described"
    title = say("The virtual CPU that it needs is described")
    reason = say("Placement counts by it: too little said and the node is overbooked.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR, Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        described = int((subject.descriptor.get("compute") or {}).get("cpu_millis") or 0)
        if support.is_csar(subject) and not described:
            yield support.error(
                "cpu-undescribed",
                "compute.cpu_millis",
                say("The descriptor asks for no virtual CPU"),
                say("Describe it"),
            )
        if subject.chart is None:
            raise Skip(say("There is no chart to compare with")) if described else Skip(say("There is no chart"))
        rendered = compute_of(support.standing(tools)).cpu_millis
        if described and rendered > described:
            message = say(
                "The chart asks for {rendered}, the descriptor for {described} (cpu_millis)",
                rendered=rendered,
                described=described,
            )
            yield support.error(
                "cpu-underdescribed", "compute.cpu_millis", message, say("Raise the figure in the descriptor")
            )
        if not described and not rendered:
            yield support.warning(
                "cpu-unknown", "compute", say("Neither descriptor nor chart say what it needs"), say("Set requests")
            )
