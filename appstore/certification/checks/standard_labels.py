"""Check `standard-labels`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping


class StandardLabels(Check):
    """Workloads have the labels that Kubernetes recommends."""

    name = "standard-labels"
    title = say("Workloads carry the usual labels")
    reason = say("Tools find and group by them.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for _, _, owner in support.pods(tools):
            labels = mapping(mapping(owner.body.get("metadata")).get("labels"))
            missing = [name for name in ("app.kubernetes.io/name", "app.kubernetes.io/instance") if name not in labels]
            if missing:
                place = f"{owner.kind}/{owner.name}"
                yield support.info(
                    "labels-missing",
                    place,
                    say("It has no {missing}", missing=" and no ".join(missing)),
                    say("Add them"),
                )
