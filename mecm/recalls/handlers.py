"""Long work of recalls: bring the newest list to every node; and what nodes say of theirs."""

from __future__ import annotations

import logging
from typing import Any

from appstore.releases import services as releases
from appstore.releases.models import Recall
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from mecm.edge import reports
from mecm.nodes.models import Node
from mecm.recalls import services

logger = logging.getLogger("breakwater.recalls")


@operations.handles(services.SPREAD)
def spread(operation: Operation) -> None:
    """Wish for the newest list on every node that has another one; twice is once, and a dead worker loses nothing."""
    for recall in Recall.objects.active():
        # What was deployed in the very moment of the recall.
        services.note_targets(recall)
    told = 0
    for node in services.nodes_to_tell().only("pk", "name").iterator(chunk_size=500):
        told += services.give_list(node)
        operation.progress(50, say("{told} nodes have the newest list waiting for them", told=told))
    operation.progress(100, say("{told} nodes were given the newest list", told=told))


@operations.handles(services.RENEW)
def renew(operation: Operation) -> None:
    """Sign a list that nodes with a newer one will take: our database was restored from a backup."""
    releases.renew_list(above=int(operation.payload["above"]))


@reports.handles("node")
def welcome(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Give a node that has just joined the list, before anything is deployed to it."""
    if key == "self":
        services.give_list(node)


@reports.handles(services.KIND)
def take(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Notice a node that refuses our list because it holds a newer one."""
    if status.get("state") == "refused":
        logger.warning("node %s refuses the recall list: %s", node.pk, str(status.get("message"))[:300])
    if above := services.heard(status):
        operations.request(services.RENEW, "recalls:list", above=above)
