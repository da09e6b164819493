"""Long work about nodes, and what nodes report of themselves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from engines.facts import tenancy_of
from mecm.edge import reports
from mecm.nodes import orphans as orphans  # its handlers
from mecm.nodes import reach, services
from mecm.nodes.models import Node


@operations.handles("node.probe", max_attempts=3)
def probe(operation: Operation) -> None:
    """Reach a direct node's runtime and record its version and capacity."""
    node = Node.objects.filter(pk=operation.payload["node"]).first()
    if node is None or node.link != Node.Link.DIRECT:
        return
    operation.progress(10, say("asking the runtime for its version"))
    learned = look(node)
    operation.progress(90, str(learned["engine_version"]))
    services.learn(node.pk, learned)


def look(node: Node) -> dict[str, Any]:
    """Return what a direct node's runtime says of itself, in the form that agents report."""
    engine = reach.engine_for(node)
    return {
        "engine": node.engine,
        "engine_version": engine.ping(),
        "capacity": asdict(engine.capacity()),
        "simulated": node.engine == "memory",
        **tenancy_of(engine),
    }


@reports.handles("node")
def learn(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Take over what an agent says of its node."""
    if key == "self":
        services.learn(node.pk, status)
