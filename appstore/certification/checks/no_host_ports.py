"""Check `no-host-ports`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from engines.planning import items


class NoHostPorts(Check):
    """No container takes a port of its node."""

    name = "no-host-ports"
    title = "No port of the host is taken"
    reason = "Two tenants cannot have the same port of one node, and it passes by the network policy."
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            for port in items(each.body.get("ports")):
                if port.get("hostPort"):
                    message = f"It takes port {port['hostPort']} of the node"
                    yield support.beyond(tools, "host-port", each.place, message, "Use a Service")
