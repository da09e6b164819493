"""The database side of one connection: what a node is told, what it has, and that it is alive.

Every function is a few queries in one transaction; the hub runs them in its small pool of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.frames import PUT_BYTES, PUT_OBJECTS, canonical, store_digest
from mecm.edge.models import DesiredObject, NodeCert, NodeSync
from mecm.nodes.models import Node

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("breakwater.edge")

#: Kinds whose end agents report, so that their tombstones can wait for it.
CONFIRMED = ("app", "rules", "sandbox")


@dataclass(frozen=True)
class Hello:
    """What an agent says first."""

    epoch: str
    last_rev: int
    digest: str
    outbox: str
    agent_version: str


@dataclass(frozen=True)
class Welcome:
    """How the stream to the agent goes on."""

    epoch: str
    snapshot: bool
    server_rev: int


@dataclass(frozen=True)
class Standing:
    """Our view of a node at the moment it says hello, as far as the decision needs it."""

    epoch: str
    last_rev: int
    acked_rev: int
    digest: str


def needs_snapshot(ours: Standing, hello: Hello) -> bool:
    """Decide whether the node must be told everything, not only what changed.

    It must when its database or ours is another one than last time, when it knows more or less than was
    acknowledged (one of the two was restored), or when both are at one revision and yet differ.
    """
    if hello.epoch != ours.epoch:
        return True
    if not ours.acked_rev <= hello.last_rev <= ours.last_rev:
        return True
    return hello.last_rev == ours.last_rev and hello.digest != ours.digest


@transaction.atomic
def welcome(node: Node, hello: Hello, hub: str) -> Welcome:
    """Take the node's connection over to `hub` and decide how to go on."""
    now = timezone.now()
    # The node before its row of the link, as everybody who wishes something for it does: else two wait for each other.
    Node.objects.filter(pk=node.pk).update(last_seen_at=now, agent_version=hello.agent_version[:60])
    NodeSync.objects.get_or_create(node=node)
    sync = NodeSync.objects.select_for_update().get(pk=node.pk)
    ours = Standing(sync.epoch, sync.last_rev, sync.acked_rev, digest_of(node.pk))
    snapshot = needs_snapshot(ours, hello)
    if snapshot:
        if hello.epoch == sync.epoch:
            logger.warning("node %s has a store that is not as ours; it is told everything", node.pk)
        sync.acked_rev, sync.snapshots = 0, F("snapshots") + 1
        if hello.epoch == sync.epoch and hello.last_rev > sync.last_rev:
            # Our database went back in time: a new epoch, and no revision is used twice.
            sync.last_rev = hello.last_rev
    else:
        sync.acked_rev = hello.last_rev
    sync.hub, sync.connected_at, sync.disconnected_at = hub, now, None
    sync.save()
    return Welcome(sync.epoch, snapshot, sync.last_rev)


def digest_of(node_id: UUID) -> str:
    """Return the digest over what the node should have."""
    return store_digest(DesiredObject.objects.filter(node_id=node_id).live().values_list("kind", "key", "rev"))


def batch(node_id: UUID, after: int) -> tuple[int, list[dict[str, Any]]]:
    """Return what changed after `after`, in order, as much as one PUT may carry; at least one object.

    With it comes the node's last revision, read before: when nothing changed, the node has everything up to there.
    """
    last_rev = NodeSync.objects.values_list("last_rev", flat=True).get(pk=node_id)
    rows: list[dict[str, Any]] = []
    size = 0
    for wanted in DesiredObject.objects.filter(node_id=node_id).after(after)[:PUT_OBJECTS]:
        row = as_frame(wanted)
        size += len(canonical(row))
        if rows and size > PUT_BYTES:
            break
        rows.append(row)
    return last_rev, rows


def as_frame(wanted: DesiredObject) -> dict[str, Any]:
    """Return the object as it travels."""
    return {
        "kind": wanted.kind,
        "key": wanted.key,
        "rev": wanted.rev,
        "generation": wanted.generation,
        "deleted": wanted.deleted,
        "spec": wanted.spec,
        "sha256": wanted.sha256,
    }


@transaction.atomic
def ack(node_id: UUID, rev: int) -> None:
    """Remember that the node has everything up to `rev` on disk, and drop tombstones it has seen.

    One whose end somebody waits for stays until the node tells of it (`confirm`): a disk may be lost in between.
    """
    NodeSync.objects.filter(pk=node_id, acked_rev__lt=rev, last_rev__gte=rev).update(acked_rev=rev)
    seen = DesiredObject.objects.filter(node_id=node_id, deleted=True, rev__lte=rev, node__sync__acked_rev__gte=rev)
    seen.exclude(kind__in=CONFIRMED).delete()


def confirm(node_id: UUID, kind: str, key: str, generation: int) -> None:
    """Drop the tombstone of what the node says is gone; one that it has not acknowledged is not what it speaks of."""
    DesiredObject.objects.filter(
        node_id=node_id,
        kind=kind,
        key=key,
        deleted=True,
        generation__lte=generation,
        rev__lte=F("node__sync__acked_rev"),
    ).delete()


def matches(node_id: UUID, rev: int, digest: str) -> bool:
    """Return whether the node's store at `rev` is ours; a node that is behind is not judged."""
    if not NodeSync.objects.filter(pk=node_id, last_rev=rev).exists() or _digest_at(node_id, rev) in (None, digest):
        return True
    NodeSync.objects.filter(pk=node_id).update(mismatches=F("mismatches") + 1)
    logger.error("the store of node %s differs from ours at revision %s; it is told everything", node_id, rev)
    return False


def _digest_at(node_id: UUID, rev: int) -> str | None:
    """Return the digest over what the node should have if that is at `rev`, else None.

    Revision and objects are read by one statement: between two of them somebody may commit a wish, and what the node
    cannot have yet would count as missing there.
    """
    names = ("kind", "key", "rev", "deleted")
    rows = list(
        NodeSync.objects.filter(pk=node_id).values_list("last_rev", *(f"node__desired__{name}" for name in names))
    )
    if any(last_rev != rev for last_rev, *_ in rows) or not rows:
        return None
    # A node with no wish at all is one row without an object.
    return store_digest((kind, key, at) for _, kind, key, at, deleted in rows if deleted is False)


def begin_snapshot(node_id: UUID) -> int:
    """Note that the node is told everything from the start; returns the revision to reach."""
    NodeSync.objects.filter(pk=node_id).update(acked_rev=0, snapshots=F("snapshots") + 1)
    return NodeSync.objects.values_list("last_rev", flat=True).get(pk=node_id)


def waiting(hub: str) -> dict[UUID, int]:
    """Return the last revision of those nodes of `hub` that have not acknowledged it; one query for all nodes."""
    rows = NodeSync.objects.filter(hub=hub, last_rev__gt=F("acked_rev"))
    return dict(rows.values_list("node_id", "last_rev"))


def held(hub: str) -> dict[UUID, int]:
    """Return every node that `hub` still holds, with its last revision; one query for all nodes."""
    return dict(NodeSync.objects.filter(hub=hub).values_list("node_id", "last_rev"))


def revoked(hub: str) -> set[str]:
    """Return the serials of revoked certificates of the nodes that `hub` holds."""
    rows = NodeCert.objects.filter(node__sync__hub=hub, revoked_at__isnull=False)
    return set(rows.values_list("serial", flat=True))


def seen(node_ids: Iterable[UUID]) -> None:
    """Note that these nodes are alive, in one UPDATE for up to 500 of them."""
    ids = list(node_ids)
    for start in range(0, len(ids), 500):
        Node.objects.filter(pk__in=ids[start : start + 500]).update(last_seen_at=timezone.now())


def left(node_id: UUID, hub: str) -> None:
    """Note that the node's connection to `hub` ended; another hub may hold it already."""
    NodeSync.objects.filter(pk=node_id, hub=hub).update(hub="", disconnected_at=timezone.now())


def read_hello(frame: Mapping[str, Any]) -> Hello:
    """Return what a HELLO frame says; missing members are as of an agent that has nothing."""
    rev = frame.get("last_rev", 0)
    return Hello(
        epoch=str(frame.get("epoch", ""))[:64],
        last_rev=rev if isinstance(rev, int) and not isinstance(rev, bool) and 0 <= rev < 1 << 62 else 0,
        digest=str(frame.get("digest", ""))[:64],
        outbox=str(frame.get("outbox", ""))[:64],
        agent_version=str(frame.get("agent_version", ""))[:60],
    )
