"""Check `resource-limits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping, quantity


class ResourceLimits(Check):
    """Every container has limits of memory and CPU, and requests."""

    name = "resource-limits"
    title = say("Resource limits are set")
    reason = say("One greedy container takes the node from all others.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("cpu", False, "fail without a CPU limit, too"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            resources = mapping(each.body.get("resources"))
            limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
            for name in ("memory", "cpu"):
                if not limits.get(name):
                    finding = support.error if name == "memory" or options["cpu"] else support.warning
                    yield finding(
                        "limit-missing",
                        each.place,
                        say("It has no limit of {name}", name=name),
                        say("Set resources.limits.{name}", name=name),
                    )
                if not requests.get(name) and not limits.get(name):
                    yield support.warning(
                        "request-missing",
                        each.place,
                        say("It requests no {name}", name=name),
                        say("Set resources.requests.{name}", name=name),
                    )
                if requests.get(name) and limits.get(name) and quantity(requests[name]) > quantity(limits[name]):
                    message = say("It requests more {name} than its limit", name=name)
                    yield support.error("request-above-limit", each.place, message, say("Correct one of them"))
