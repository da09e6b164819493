"""What nodes report about alarms of their own."""

from __future__ import annotations

from typing import Any

from mecm.edge import reports
from mecm.fleet import services
from mecm.nodes.models import Node


@reports.handles("mep")
def take(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Take over the alarms that stand on the node's MEC platform."""
    if key == "state":
        services.take_from_mep(node.pk, node.organisation_id, node.name, status.get("alarms"))
