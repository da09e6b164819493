"""Check `no-cluster-objects`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import CLUSTER_SCOPED


class NoClusterObjects(Check):
    """The chart brings nothing that belongs to the whole cluster."""

    name = "no-cluster-objects"
    title = say("No object belongs to the cluster")
    reason = say("A tenant who may change the cluster may change the others.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.manifests(tools):
            if each.kind in CLUSTER_SCOPED:
                place = f"{each.kind}/{each.name}"
                message = say("{kind} belongs to the whole cluster", kind=each.kind)
                yield support.beyond(tools, "cluster-scoped", place, message, say("Leave it to the operator"))
