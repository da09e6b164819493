"""What open pages about nodes, deployments, alarms and the fleet hear of: marks that change when a page would.

Each function asks for everything that anybody looks at, in a number of queries that grows neither with pages nor with things.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from core.live.hub import watches
from core.operations.models import Operation
from mecm.deployments.models import Deployment
from mecm.edge.models import NodeSync, ReportedObject
from mecm.fleet.models import Alarm
from mecm.nodes.models import Node, silence_limit

#: A node says that it is alive every few seconds; a page shows it again when so many seconds have passed.
SEEN_EVERY = 15


@watches("deployment")
def deployments(pks: Sequence[UUID]) -> dict[UUID, Hashable]:
    """Return marks of deployments: what was wished and reported, whether the node is there, and the work on it."""
    limit = timezone.now() - silence_limit()
    work: dict[str, list[Any]] = defaultdict(list)
    targets = [f"deployment:{pk}" for pk in pks]
    running = Operation.objects.unfinished().filter(target__in=targets).exclude(kind="deployment.observe")
    for target, *row in running.order_by("pk").values_list("target", "pk", "kind", "state", "note"):
        work[target].append(tuple(row))
    rows = Deployment.objects.filter(pk__in=pks).values_list(
        "pk", "updated_at", "reported_at", "generation", "observed_generation", "state", "reason", "wish",
        "package__state", "node__last_seen_at",
    )  # fmt: skip
    return {pk: (*row, _there(seen, limit), *work[f"deployment:{pk}"]) for pk, *row, seen in rows}


@watches("node")
def nodes(pks: Sequence[UUID]) -> dict[UUID, Hashable]:
    """Return marks of nodes: the node, its link, its platform, what runs there, and the work on it; five queries."""
    limit = timezone.now() - silence_limit()
    made: dict[UUID, list[Any]] = {}
    own = (
        "updated_at", "enrolled_at", "agent_version", "engine_version", "cpu_millis", "memory_bytes", "storage_bytes",
        "simulated", "last_seen_at",
    )  # fmt: skip
    for pk, *row, seen in Node.objects.filter(pk__in=pks).values_list("pk", *own):
        made[pk] = [*row, _there(seen, limit), int(seen.timestamp()) // SEEN_EVERY if seen else None]
    parts: list[Any] = [
        NodeSync.objects.filter(pk__in=pks).values_list("pk", "last_rev", "acked_rev", "hub"),
        ReportedObject.objects.filter(node__in=pks, kind="mep", key="state").values_list("node", "reported_at"),
        Deployment.objects.present()
        .filter(node__in=pks)
        .order_by("pk")
        .values_list("node", "pk", "state", "reason", "package", "package__state", "cpu_millis", "memory_bytes"),
    ]
    for part in parts:
        for pk, *row in part:
            if pk in made:
                made[pk].append(tuple(row))
    targets = {f"node:{pk}": pk for pk in made}
    work = Operation.objects.filter(target__in=targets).order_by("target").values_list("target")
    for target, *row in work.annotate(Count("pk"), Sum("percent"), Max("started_at"), Max("finished_at")):
        made[targets[target]].append(tuple(row))
    return {pk: tuple(row) for pk, row in made.items()}


@watches("alarms")
def alarms(scopes: Sequence[frozenset[UUID]]) -> dict[frozenset[UUID], Hashable]:
    """Return marks of the alarms of sets of organisations, in one query for all of them."""
    found = _alarms({each for scope in scopes for each in scope})
    return {scope: tuple(sorted((str(each), found.get(each)) for each in scope)) for scope in scopes}


@watches("fleet")
def fleet(organisations: Sequence[UUID]) -> dict[UUID, Hashable]:
    """Return marks of whole fleets: how many nodes, deployments, alarms and works are in which state; four queries."""
    now = timezone.now()
    limit = now - silence_limit()
    made: dict[UUID, list[Any]] = {pk: [each] for pk, each in _alarms(set(organisations)).items()}
    node_rows = (
        Node.objects.filter(organisation__in=organisations)
        .order_by("organisation")
        .values_list("organisation")
        .annotate(Count("pk"), Count("last_seen_at"), online=Count("pk", filter=Q(last_seen_at__gte=limit)))
    )
    present = Deployment.objects.ordinary().present().filter(organisation__in=organisations)
    recent = Q(state=Operation.State.FAILED, finished_at__gte=now - timedelta(days=1))
    unfinished = Q(state__in=[Operation.State.PENDING, Operation.State.RUNNING])
    work = Operation.objects.filter(unfinished | recent, organisation_id__in=organisations)
    parts: list[Any] = [
        node_rows,
        present.order_by("organisation", "state").values_list("organisation", "state").annotate(Count("pk")),
        work.order_by("organisation_id", "state")
        .values_list("organisation_id", "state")
        .annotate(Count("pk"), Max("created_at"), Sum("percent")),
    ]
    for part in parts:
        for pk, *row in part:
            made.setdefault(pk, []).append(tuple(row))
    return {pk: tuple(made.get(pk, ())) for pk in organisations}


def _alarms(organisations: set[UUID]) -> dict[UUID, Any]:
    rows = Alarm.objects.filter(organisation__in=organisations).order_by("organisation").values_list("organisation")
    standing = Q(cleared_at=None)
    return {
        pk: tuple(row)
        for pk, *row in rows.annotate(
            stands=Count("pk", filter=standing),
            new=Count("pk", filter=standing & Q(acknowledged_at=None)),
            changed=Max("changed_at"),
        )
    }


def _there(seen: datetime | None, limit: datetime) -> bool:
    return seen is not None and seen >= limit
