"""What nodes report finds its way to those who care, without this topic knowing them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from mecm.edge import stream
from mecm.edge.models import NodeSync, ReportedObject
from mecm.nodes.models import Node

logger = logging.getLogger("breakwater.edge")

#: `fn(node, key, observed_generation, status)`.
Handler = Callable[["Node", str, int, dict[str, Any]], None]

_handlers: dict[str, list[Handler]] = {}

KIND_LENGTH, KEY_LENGTH = 40, 120


def handles(kind: str) -> Callable[[Handler], Handler]:
    """Decorate a function that wants every report of `kind`; it runs in the transaction that stores the report."""

    def add(handler: Handler) -> Handler:
        present = _handlers.setdefault(kind, [])
        if handler not in present:
            present.append(handler)
        return handler

    return add


@transaction.atomic
def take(node: Node, outbox: str, seq: int, items: list[Any]) -> int:
    """Store a batch of reports once, however often it is sent, and return how many of its items were new.

    Each item has a `seq` of its own; `seq` is the batch's last. What cannot be understood is logged and passed
    over, because it would come again for ever; trouble of the database is raised, so that the node sends it again.
    """
    # The node before its row of the link, as everybody who wishes something for it does: else two wait for each other.
    Node.objects.select_for_update(no_key=True).values_list("pk").filter(pk=node.pk).first()
    sync = NodeSync.objects.select_for_update().get(pk=node.pk)
    last = sync.last_seq if sync.outbox == outbox else 0
    taken = 0
    for item in items:
        if not _wellformed(item):
            logger.warning("node %s sent a report that is none", node.pk)
            continue
        if item["seq"] <= last:
            continue
        taken += 1
        _store(node, item)
    if seq > last or sync.outbox != outbox:
        NodeSync.objects.filter(pk=node.pk).update(outbox=outbox, last_seq=max(seq, last))
    return taken


def _wellformed(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("kind"), str)
        and 0 < len(item["kind"]) <= KIND_LENGTH
        and isinstance(item.get("key"), str)
        and 0 < len(item["key"]) <= KEY_LENGTH
        and _whole(item.get("seq"))
        and _whole(item.get("observed_generation", 0))
        and isinstance(item.get("status"), dict)
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _store(node: Node, item: dict[str, Any]) -> None:
    kind, key, status = item["kind"], item["key"], item["status"]
    generation = item.get("observed_generation", 0)
    try:
        with transaction.atomic():
            ReportedObject.objects.update_or_create(
                node=node,
                kind=kind,
                key=key,
                defaults={"observed_generation": generation, "status": status, "reported_at": timezone.now()},
            )
            if kind in stream.CONFIRMED and status.get("state") == "absent":
                stream.confirm(node.pk, kind, key, generation)
            for handler in _handlers.get(kind, ()):
                handler(node, key, generation, status)
    except (DatabaseError, InterfaceError) as problem:
        if _passing(problem):
            raise
        logger.exception("a report of %s %s from node %s cannot be stored", kind, key, node.pk)
    except Exception:
        # A bug in one handler must not hold up every later report of the node.
        logger.exception("a report of %s %s from node %s was not understood", kind, key, node.pk)


def _passing(problem: Exception) -> bool:
    """Return whether trying again may help: connection and lock trouble, not bad values."""
    return isinstance(problem, InterfaceError | OperationalError)
