"""Check `chart-lint`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping

_DEEPEST = 40


class ChartLint(Check):
    """Chart.yaml says what it should, and the rendered objects show no value that was forgotten."""

    name = "chart-lint"
    title = say("The chart is clean")
    reason = say("Helm's own lint finds little; what is forgotten shows on the node.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        said = support.chart_yaml(tools)
        if said.get("apiVersion") != "v2":
            yield support.warning(
                "chart-api-v1", "Chart.yaml", say("It is a chart of Helm 2 (apiVersion v1)"), say("Use v2")
            )
        for member, wanted in (("description", "a description"), ("appVersion", "the version of the application")):
            if not str(said.get(member) or "").strip():
                yield support.info(
                    "chart-undescribed",
                    "Chart.yaml",
                    say("It does not give {wanted}", wanted=wanted),
                    say("Add {member}", member=member),
                )
        if str(said.get("deprecated", "")).lower() == "true":
            yield support.warning(
                "chart-deprecated", "Chart.yaml", say("The chart calls itself deprecated"), say("Say what follows it")
            )
        seen: set[tuple[str, str, str]] = set()
        for each in support.manifests(tools):
            place = f"{each.kind}/{each.name}"
            key = (each.kind, each.name, str(mapping(each.body.get("metadata")).get("namespace") or ""))
            if key in seen:
                yield support.error(
                    "object-twice", place, say("The chart renders it twice"), say("Give them different names")
                )
            seen.add(key)
            for path in _forgotten(each.body, place):
                yield support.error(
                    "value-forgotten", path, say("A value that the template uses is not set"), say("Give it a default")
                )


def _forgotten(value: Any, place: str, depth: int = 0) -> Iterator[str]:
    """Yield where a template wrote the text that stands for nothing."""
    if isinstance(value, str):
        if "<no value>" in value or "%!s(" in value:
            yield place[:200]
    elif isinstance(value, Mapping) and depth < _DEEPEST:
        for name, inner in value.items():
            yield from _forgotten(inner, f"{place}.{name}", depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value:
            yield from _forgotten(inner, place, depth + 1)
