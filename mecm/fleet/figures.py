"""The fleet's figures over time: taken once a minute, rolled up by the hour, forgotten in the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils import timezone

from core.accounts.models import Organisation
from core.operations.models import Operation
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.fleet.models import Alarm, NodeSample, Resolution, Sample, Severity
from mecm.nodes.models import Node, silence_limit

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
#: Minutes are kept for as long as one looks at a day, hours as the setting says, nodes' hours for two weeks.
MINUTES_KEPT, NODES_KEPT = timedelta(hours=26), timedelta(days=14)
#: Times from wish to reality are those of the last hour, the newest so many of all tenants.
APPLIED_WITHIN, MOST_APPLIED = HOUR, 20_000
#: As many points as one answer holds.
MOST_POINTS = 3000

#: name -> (words, unit, how an hour is made of minutes)
METRICS: dict[str, tuple[str, str, str]] = {
    "nodes.online": ("nodes online", "nodes", "mean"),
    "nodes.offline": ("nodes offline", "nodes", "max"),
    "nodes.degraded": ("nodes online with an alarm", "nodes", "max"),
    "nodes.waiting": ("nodes that never came", "nodes", "mean"),
    **{
        f"deployments.{state}": (f"deployments {state}", "deployments", "max" if state == "failed" else "mean")
        for state in ("ready", "progressing", "pending", "failed", "removing")
    },
    **{f"alarms.{severity}": (f"{severity} alarms", "alarms", "max") for severity in Severity.values},
    "operations.failed": ("failures of long work", "failures", "sum"),
    "apply.p50": ("from wish to reality, median", "seconds", "mean"),
    "apply.p95": ("from wish to reality, 95 of 100", "seconds", "max"),
}
#: What is null rather than 0 when nothing was seen.
_SPANS = ("apply.p50", "apply.p95")
NODE_COLUMNS = (
    "online", "heard", "silence", "deployments", "not_ready", "failed", "cpu_millis", "cpu_taken", "memory_bytes",
    "memory_taken",
)  # fmt: skip


def take(now: datetime | None = None) -> int:
    """Write the present minute of every organisation; twice is once. Returns how many organisations there are.

    The number of queries does not grow with nodes, deployments or organisations.
    """
    now = now or timezone.now()
    at = now.replace(second=0, microsecond=0)
    made: dict[UUID, dict[str, float | None]] = {
        pk: {name: None if name in _SPANS else 0 for name in METRICS}
        for pk in Organisation.objects.values_list("pk", flat=True)
    }
    for organisation, figures in _now(now, at):
        if organisation in made:
            made[organisation].update(figures)
    _write(Resolution.MINUTE, {(pk, at): figures for pk, figures in made.items()})
    return len(made)


def roll_up(now: datetime | None = None) -> int:
    """Make hours of the minutes of the hours that are over, and forget what is old; returns how many rows were made."""
    now = now or timezone.now()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    done = Sample.objects.filter(resolution=Resolution.HOUR).aggregate(models.Max("at"))["at__max"]
    since = max(done + HOUR if done else this_hour - MINUTES_KEPT, this_hour - MINUTES_KEPT)
    hours: dict[tuple[UUID, datetime], list[dict[str, Any]]] = defaultdict(list)
    if since < this_hour:
        rows = Sample.objects.filter(resolution=Resolution.MINUTE, at__gte=since, at__lt=this_hour)
        for organisation, at, figures in rows.values_list("organisation_id", "at", "figures").iterator(2000):
            hours[organisation, at.replace(minute=0)].append(figures)
    _write(Resolution.HOUR, {key: whole(figures) for key, figures in hours.items()})
    _insert_nodes(now, Resolution.HOUR, this_hour)
    _roll_up_nodes(this_hour)
    keep = timedelta(days=settings.FIGURES_KEEP_DAYS)
    Sample.objects.filter(resolution=Resolution.MINUTE, at__lt=now - MINUTES_KEPT).delete()
    Sample.objects.filter(resolution=Resolution.HOUR, at__lt=now - keep).delete()
    NodeSample.objects.filter(resolution=Resolution.FIVE, at__lt=now - MINUTES_KEPT).delete()
    NodeSample.objects.filter(at__lt=now - NODES_KEPT).delete()
    return len(hours)


def whole(minutes: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return the figures of an hour: of what is bad the worst minute, of what is counted the sum, else the mean."""
    made: dict[str, float | None] = {}
    for name, (_, _, how) in METRICS.items():
        seen = [figures[name] for figures in minutes if figures.get(name) is not None]
        if not seen:
            made[name] = None
        elif how == "mean":
            made[name] = round(sum(seen) / len(seen), 3)
        else:
            made[name] = max(seen) if how == "max" else sum(seen)
    return made


def series(
    organisation_id: UUID,
    *,
    resolution: str,
    since: datetime,
    until: datetime,
    metrics: Iterable[str] = METRICS,
) -> dict[str, Any]:
    """Return the figures by column, in one query: `at` in seconds since 1970, and a list for each metric."""
    wanted = list(metrics)
    rows = list(
        Sample.objects.filter(organisation=organisation_id, resolution=resolution, at__gte=since, at__lt=until)
        .order_by("at")
        .values_list("at", "figures")[:MOST_POINTS]
    )
    return {
        "resolution": resolution,
        "at": [int(at.timestamp()) for at, _ in rows],
        "series": {name: [figures.get(name) for _, figures in rows] for name in wanted},
    }


def node_series(
    node_id: UUID, *, since: datetime, until: datetime, resolution: str = Resolution.HOUR
) -> dict[str, Any]:
    """Return one node by column, in one query: its hours, or its moments every five minutes (of the last 26 hours)."""
    rows = list(
        NodeSample.objects.filter(node=node_id, resolution=resolution, at__gte=since, at__lt=until)
        .order_by("at")
        .values_list("at", *NODE_COLUMNS)[:MOST_POINTS]
    )
    return {
        "resolution": resolution,
        "at": [int(at.timestamp()) for at, *_ in rows],
        "series": {name: [row[place] for row in rows] for place, name in enumerate(NODE_COLUMNS, start=1)},
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that so many of all do not pass (nearest rank); None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _now(now: datetime, at: datetime) -> Iterable[tuple[UUID, dict[str, Any]]]:
    """Yield figures of organisations; seven queries."""
    limit = now - silence_limit()
    online = Q(last_seen_at__gte=limit)
    troubled = Q(Exists(Alarm.objects.standing().filter(node=OuterRef("pk"))))
    nodes = Node.objects.order_by().values("organisation_id")
    for row in nodes.annotate(
        online=Count("pk", filter=online),
        offline=Count("pk", filter=Q(last_seen_at__lt=limit)),
        waiting=Count("pk", filter=Q(last_seen_at=None)),
        degraded=Count("pk", filter=online & troubled),
    ):
        counted = {f"nodes.{name}": count for name, count in row.items() if name != "organisation_id"}
        yield row["organisation_id"], counted
    yield from _counted(Deployment.objects.ordinary().present(), "state", "deployments")
    yield from _counted(Alarm.objects.standing(), "severity", "alarms")
    failed = Operation.objects.filter(state=Operation.State.FAILED, finished_at__gte=at - MINUTE, finished_at__lt=at)
    for organisation, count in failed.order_by().values_list("organisation_id").annotate(Count("pk")):
        if organisation is not None:
            yield organisation, {"operations.failed": count}
    yield from _spans(now)


def _counted(rows: models.QuerySet[Any], column: str, name: str) -> Iterable[tuple[UUID, dict[str, Any]]]:
    for row in rows.order_by().values("organisation_id", column).annotate(count=Count("pk")):
        if f"{name}.{row[column]}" in METRICS:
            yield row["organisation_id"], {f"{name}.{row[column]}": row["count"]}


def _spans(now: datetime) -> Iterable[tuple[UUID, dict[str, Any]]]:
    settled = DeploymentRevision.objects.filter(
        outcome=DeploymentRevision.Outcome.READY, settled_at__gte=now - APPLIED_WITHIN
    ).exclude(deployment__namespace__startswith="trial-")
    took: dict[UUID, list[float]] = defaultdict(list)
    rows = settled.order_by("-settled_at").values_list("deployment__organisation_id", "created_at", "settled_at")
    for organisation, asked, done in rows[:MOST_APPLIED]:
        assert done is not None
        took[organisation].append(round((done - asked).total_seconds(), 3))
    for organisation, values in took.items():
        yield organisation, {"apply.p50": percentile(values, 0.5), "apply.p95": percentile(values, 0.95)}


def _write(resolution: str, rows: dict[tuple[UUID, datetime], dict[str, Any]]) -> None:
    Sample.objects.bulk_create(
        (
            Sample(organisation_id=organisation, resolution=resolution, at=at, figures=figures)
            for (organisation, at), figures in rows.items()
        ),
        batch_size=500,
        update_conflicts=True,
        unique_fields=["organisation", "resolution", "at"],
        update_fields=["figures"],
    )


def take_nodes(now: datetime | None = None) -> bool:
    """Write how every node is, unless that was done in these minutes; returns whether it was done now. Two statements."""
    now = now or timezone.now()
    every = node_minutes()
    at = now.replace(minute=now.minute - now.minute % every, second=0, microsecond=0)
    if NodeSample.objects.filter(resolution=Resolution.FIVE, at=at).exists():
        return False
    _insert_nodes(now, Resolution.FIVE, at)
    return True


def node_minutes() -> int:
    """Return how many minutes there are between two samples of a node."""
    return min(max(settings.NODE_FIGURES_MINUTES, 5), 60)


def _insert_nodes(now: datetime, resolution: str, at: datetime) -> None:
    """Write a row of every node in one statement: with 10,000 nodes no row passes through this process."""
    nodes, deployments, samples = _tables(Node, Deployment, NodeSample)
    columns = ", ".join(("node_id", "resolution", "at", *NODE_COLUMNS))
    present, limit = _moment(now), _moment(now - silence_limit())
    seconds = (
        "CAST((julianday(%s) - julianday(n.last_seen_at)) * 86400 AS INTEGER)"
        if connection.vendor == "sqlite"
        else "CAST(EXTRACT(EPOCH FROM (%s - n.last_seen_at)) AS INTEGER)"
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {samples} ({columns})
            SELECT n.id, %s, %s, n.last_seen_at >= %s, CASE WHEN n.last_seen_at >= %s THEN 100 ELSE 0 END,
                   CASE WHEN n.last_seen_at > %s THEN 0 ELSE {seconds} END,
                   COALESCE(d.held, 0), COALESCE(d.unready, 0), COALESCE(d.failed, 0),
                   n.cpu_millis, COALESCE(d.cpu, 0), n.memory_bytes, COALESCE(d.memory, 0)
            FROM {nodes} n LEFT JOIN (
                SELECT node_id, COUNT(*) AS held, SUM(CASE WHEN state = 'ready' THEN 0 ELSE 1 END) AS unready,
                       SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END) AS failed,
                       SUM(cpu_millis) AS cpu, SUM(memory_bytes) AS memory
                FROM {deployments} WHERE state NOT IN ('removed', 'abandoned') GROUP BY node_id
            ) d ON d.node_id = n.id
            WHERE n.last_seen_at IS NOT NULL
            ON CONFLICT (node_id, resolution, at) DO NOTHING
            """,  # noqa: S608 - names of our own tables
            [resolution, _moment(at), limit, limit, present, present],
        )


def _moment(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment.astimezone(UTC))


def _roll_up_nodes(this_hour: datetime) -> None:
    """Make hours of the moments of the last two hours that are over: of what is bad the worst, else the mean.

    An older hour was made by an earlier run, or its moments are not worth a longer look.
    """
    (samples,) = _tables(NodeSample)
    columns = ("node_id", "resolution", "at", *NODE_COLUMNS)
    kept = ", ".join(f"{name} = excluded.{name}" for name in NODE_COLUMNS)
    with transaction.atomic(), connection.cursor() as cursor:
        for hour in (this_hour - 2 * HOUR, this_hour - HOUR):
            cursor.execute(
                f"""
                INSERT INTO {samples} ({", ".join(columns)})
                SELECT node_id, %s, %s, AVG(heard) >= 50, CAST(ROUND(AVG(heard)) AS INTEGER), MAX(silence),
                       MAX(deployments), MAX(not_ready), MAX(failed), MAX(cpu_millis), CAST(ROUND(AVG(cpu_taken)) AS BIGINT),
                       MAX(memory_bytes), CAST(ROUND(AVG(memory_taken)) AS BIGINT)
                FROM {samples} WHERE resolution = %s AND at >= %s AND at < %s GROUP BY node_id
                ON CONFLICT (node_id, resolution, at) DO UPDATE SET {kept}
                """,  # noqa: S608 - names of our own tables
                [Resolution.HOUR, _moment(hour), Resolution.FIVE, _moment(hour), _moment(hour + HOUR)],
            )


def _tables(*kinds: type[models.Model]) -> list[str]:
    return [connection.ops.quote_name(kind._meta.db_table) for kind in kinds]
