"""Check `no-host-ports`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import items


class NoHostPorts(Check):
    """No container takes a port of its node."""

    name = "no-host-ports"
    title = say("No port of the host is taken")
    reason = say("Two tenants cannot have the same port of one node, and it passes by the network policy.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            for port in items(each.body.get("ports")):
                if port.get("hostPort"):
                    message = say("It takes port {host_port} of the node", host_port=port["hostPort"])
                    yield support.beyond(tools, "host-port", each.place, message, say("Use a Service"))
