"""Check `services-lead-somewhere`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import items, mapping


class ServicesLeadSomewhere(Check):
    """Each Service selects a pod of the chart and leads to a port that it has."""

    name = "services-lead-somewhere"
    title = say("Services lead to pods")
    reason = say("A Service that selects nothing answers nobody.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        labelled = []
        for _, pod, owner in support.pods(tools, hooks=False):
            template = mapping(mapping(owner.body.get("spec")).get("template")) if owner.kind != "Pod" else owner.body
            labels = mapping(mapping(template.get("metadata")).get("labels"))
            ports = [port for body in items(pod.get("containers")) for port in items(body.get("ports"))]
            labelled.append((labels, ports))
        for each in support.manifests(tools):
            selector = mapping(mapping(each.body.get("spec")).get("selector"))
            if each.kind != "Service" or not selector:
                continue
            place = f"Service/{each.name}"
            chosen = [ports for labels, ports in labelled if selector.items() <= labels.items()]
            if not chosen:
                yield support.error(
                    "service-selects-nothing", place, say("No pod of the chart has its labels"), say("Correct one")
                )
                continue
            named = {str(port.get("name")) for ports in chosen for port in ports}
            for port in items(mapping(each.body.get("spec")).get("ports")):
                target = port.get("targetPort")
                if isinstance(target, str) and not target.isdigit() and target not in named:
                    message = say("It leads to the port {target}, which no container names", target=repr(target[:40]))
                    yield support.error(
                        "service-port-missing", place, message, say("Name the port of the container so")
                    )
