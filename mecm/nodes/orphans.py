"""Orphans: releases of a node's runtime that no wish is about, told by the node and removed when an operator says so.

What a node has told is never taken as an order: an orphan goes when a person with `nodes.write` asked for it, and counts as
gone when the node has said so. A node with an agent gets the wish `orphan` over its link; a worker does it for a direct one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Missing, Unavailable
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say
from engines.contract import Engine, State
from mecm.edge import reports
from mecm.edge import services as edge
from mecm.edge.models import DesiredObject, ReportedObject
from mecm.nodes import reach
from mecm.nodes.models import Node

KIND = "orphan"
#: Orphans of one node that are shown: as many as an agent tells.
MOST = 50
#: What a node says of an orphan, and the states in which it has nothing more to do about it.
ASKED, ABSENT, KEPT, FAILED = "pending", "absent", "kept", "failed"
_OVER = (ABSENT, KEPT)


@dataclass(frozen=True, slots=True)
class Orphan:
    """A release that no wish is about: `state` is empty until its removal was asked for, `removed` when the node said so."""

    namespace: str
    name: str
    state: str = ""
    message: str = ""
    told_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Return whether its removal may be asked for (again)."""
        return self.state in ("", KEPT, FAILED)


def of(node: Node) -> list[Orphan]:
    """Return the orphans of a node as it last told, by name; one query.

    One that is removed stays in the list until the node has told what it holds since then.
    """
    self_told = Q(kind="node", key="self")
    reported = list(
        ReportedObject.objects.filter(Q(kind=KIND) | self_told, node=node).order_by("-reported_at")[: 4 * MOST]
    )
    rows = {row.key: row for row in reported if row.kind == KIND}
    told = next((row for row in reported if row.kind == "node"), None)
    found = []
    for key in _named(told.status if told else {}):
        namespace, _, name = key.partition("/")
        row = rows.get(key)
        if row is None or (told and row.status.get("state") in _OVER and row.reported_at < told.reported_at):
            found.append(Orphan(namespace, name))
            continue
        state = str(row.status.get("state", ""))[:20]
        message = str(row.status.get("message", ""))[:500]
        found.append(Orphan(namespace, name, "removed" if state == ABSENT else state, message, row.reported_at))
    return found


@transaction.atomic
def remove(node: Node, namespace: str, name: str, *, actor: Actor) -> Orphan:
    """Ask the node to remove a release that no wish is about; asking again while it is under way changes nothing.

    `Missing` when the node has told of no such release, `Conflict` when a deployment of this centre holds the name.
    """
    actor.require("nodes.write", node.organisation_id)
    node = Node.objects.select_for_update().get(pk=node.pk)
    known = next((each for each in of(node) if (each.namespace, each.name) == (namespace, name)), None)
    if known is None:
        raise Missing(
            say("{node} has told of no release {release} without a wish.", node=node, release=repr(name[:80]))
        )
    if _held(node, namespace, name):
        raise Conflict(
            say("A deployment of this centre holds {name}; remove that instead.", name=f"{namespace}/{name}")
        )
    key = f"{namespace}/{name}"
    if not known.open:
        if node.link == Node.Link.DIRECT:
            _ask_worker(node, key, actor)  # the one that was asked may have given up
        return known
    row = ReportedObject.objects.filter(node=node, kind=KIND, key=key).first()
    generation = (row.observed_generation if row else 0) + 1
    _note(node, key, generation, ASKED)
    audit.record(actor, "node.orphan_remove", node, release=key)
    if node.link == Node.Link.AGENT:
        edge.put(node, KIND, key, generation=generation, spec={"namespace": namespace, "name": name})
    else:
        _ask_worker(node, key, actor)
    return Orphan(namespace, name, ASKED, told_at=timezone.now())


def _ask_worker(node: Node, key: str, actor: Actor) -> None:
    operations.request(
        "node.remove_orphan",
        f"node:{node.pk}",
        organisation=node.organisation_id,
        actor=actor,
        node=str(node.pk),
        release=key,
    )


@operations.handles("node.remove_orphan", max_attempts=8)
def remove_directly(operation: Operation) -> None:
    """Remove what was asked for from the runtime of a direct node, every release that waits there."""
    node = Node.objects.filter(pk=operation.payload["node"]).first()
    if node is None or node.link != Node.Link.DIRECT:
        return
    engine = reach.engine_for(node)
    left = []
    for row in ReportedObject.objects.filter(node=node, kind=KIND):
        if row.status.get("state") in (*_OVER, FAILED):
            continue
        namespace, _, name = row.key.partition("/")
        operation.progress(20, row.key)
        try:
            if _held(node, namespace, name):
                kept = {"state": KEPT, "message": say("It is wished for again, so it stays")}
                _told(node, row.key, row.observed_generation, kept)
                continue
            engine.remove(name, namespace)
            gone = engine.status(name, namespace).state is State.ABSENT
        except BreakwaterError as problem:
            if problem.retryable:
                raise
            _note(node, row.key, row.observed_generation, FAILED, problem.detail)
            continue
        if gone:
            _told(node, row.key, row.observed_generation, {"state": ABSENT})
        else:
            left.append(row.key)
    if left:
        raise Unavailable(say("{releases} still says goodbye", releases=", ".join(left)[:200]))


def unwished(node: Node, engine: Engine) -> list[str]:
    """Return `namespace/name` of the releases of a direct node's runtime that no deployment is about."""
    # The releases first: one that comes meanwhile is then wished for already.
    found = engine.releases()
    known = set(node.deployments.not_removed().values_list("namespace", "name"))
    return [f"{namespace}/{name}" for namespace, name in found if (namespace, name) not in known][:MOST]


def keep_unwished(node: Node, engine: Engine) -> None:
    """Write down the orphans of a direct node, as an agent would report them; a runtime that hides them tells none."""
    try:
        found = unwished(node, engine)
    except BreakwaterError:
        return
    _store(node, "node", "self", 0, {"unwished": found})


@reports.handles(KIND)
def hear(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
    """Take in what an agent says of an orphan: when it is gone, or stays for a reason, the wish has been fulfilled."""
    asked = DesiredObject.objects.live().filter(node=node, kind=KIND, key=key, generation=observed_generation)
    if status.get("state") in _OVER and asked.exists():
        _told(node, key, observed_generation, status)
        edge.delete(node, KIND, key)


def _told(node: Node, key: str, generation: int, status: Mapping[str, Any]) -> None:
    _note(node, key, generation, str(status["state"]), str(status.get("message", "")))
    action = "node.orphan_removed" if status["state"] == ABSENT else "node.orphan_kept"
    audit.record(SYSTEM, action, node, release=key)


def _held(node: Node, namespace: str, name: str) -> bool:
    where = Q(node=node)
    if node.engine == "kubernetes":
        # Two nodes may be one cluster, whoever registered them, and each takes the other's releases for orphans.
        where |= Q(node__engine="kubernetes")
    held = node.deployments.model._default_manager.filter(where, namespace=namespace, name=name)
    return bool(held.not_removed().exists())


def _note(node: Node, key: str, generation: int, state: str, message: str = "") -> None:
    _store(node, KIND, key, generation, {"state": state, "message": message[:500]})


def _store(node: Node, kind: str, key: str, generation: int, status: Mapping[str, Any]) -> None:
    ReportedObject.objects.update_or_create(
        node=node,
        kind=kind,
        key=key,
        defaults={"status": dict(status), "observed_generation": generation, "reported_at": timezone.now()},
    )


def _named(status: Any) -> list[str]:
    """Return the names in a node's report that can be names of releases; a node's word is not trusted to have our shape."""
    listed = status.get("unwished") if isinstance(status, dict) else None
    if not isinstance(listed, list):
        return []
    return sorted({each for each in listed[:MOST] if isinstance(each, str) and re.fullmatch(_RELEASE, each)})


#: A namespace and a release, as Kubernetes and Helm name them.
_RELEASE = r"[a-z0-9][a-z0-9.-]{0,62}/[a-z0-9][a-z0-9.-]{0,52}"
