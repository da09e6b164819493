"""Check `lasting-data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import items, mapping


class LastingData(Check):
    """An application that keeps data says where, and a database is no Deployment with an emptyDir."""

    name = "lasting-data"
    title = say("Data outlives a restart")
    reason = say("A node restarts, and nobody is there to restore.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for place, pod, owner in support.pods(tools):
            if owner.kind != "Deployment":
                continue
            claims = [volume for volume in items(pod.get("volumes")) if volume.get("persistentVolumeClaim")]
            replicas = mapping(owner.body.get("spec")).get("replicas", 1)
            if claims and isinstance(replicas, int) and replicas > 1:
                message = say("Several replicas share one claim, which most storage does not allow")
                yield support.warning("claim-shared", place, message, say("Use a StatefulSet"))
