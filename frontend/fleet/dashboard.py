"""The fleet at one glance: what is there, what is wrong, what is under way, and how it was."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, CharField, Count, F, IntegerField, Min, Q, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from core.accounts.models import Organisation
from core.errors import Denied
from core.operations.models import Operation
from frontend import live, tenancy
from frontend.fleet import panels
from frontend.page import page
from mecm.deployments.models import Deployment
from mecm.fleet.models import RANKS, Alarm, Resolution, Sample, Severity
from mecm.nodes.models import Node, silence_limit

#: What is drawn: title, what one reads off, and the lines with their words and looks.
CHARTS: list[dict[str, Any]] = [
    {
        "name": "nodes",
        "title": gettext_lazy("Nodes"),
        "unit": "",
        "lines": [
            ("nodes.online", gettext_lazy("online"), "ok"),
            ("nodes.offline", gettext_lazy("offline"), "bad"),
            ("nodes.degraded", gettext_lazy("online with an alarm"), "warn"),
        ],
    },
    {
        "name": "deployments",
        "title": gettext_lazy("Deployments"),
        "unit": "",
        "lines": [
            ("deployments.ready", gettext_lazy("ready"), "ok"),
            ("deployments.progressing", gettext_lazy("in progress"), "info"),
            ("deployments.failed", gettext_lazy("failed"), "bad"),
        ],
    },
    {
        "name": "alarms",
        "title": gettext_lazy("Alarms"),
        "unit": "",
        "lines": [
            ("alarms.critical", gettext_lazy("critical"), "bad"),
            ("alarms.major", gettext_lazy("major"), "warn"),
            ("alarms.minor", gettext_lazy("minor"), "info"),
            ("alarms.warning", gettext_lazy("warning"), "quiet"),
        ],
    },
    {
        "name": "apply",
        "title": gettext_lazy("From wish to reality"),
        "unit": gettext_lazy("seconds"),
        "lines": [
            ("apply.p50", gettext_lazy("half of all within"), "ok"),
            ("apply.p95", gettext_lazy("95 of 100 within"), "warn"),
        ],
    },
]
SPANS = [("day", gettext_lazy("24 hours")), ("month", gettext_lazy("30 days"))]
#: Rows of each list.
SHOWN = 8


@require_GET
@page
def fleet_page(request: HttpRequest) -> HttpResponse:
    """Show the fleet of the current organisation; six queries of our own, however large it is."""
    organisation = tenancy.current(request)
    if organisation is None or not tenancy.actor_of(request).may("nodes.read", organisation.pk):
        raise Denied(_("Your roles do not show you nodes of this organisation."))
    if request.htmx:  # type: ignore[attr-defined]
        return live.answer(request, "frontend/fleet/fleet_live.html", (organisation.pk,), lambda: _live(organisation))
    context = {"section": "fleet", **_live(organisation)}
    span = "month" if request.GET.get("span") == "month" else "day"
    context |= {
        "span": span,
        "spans": SPANS,
        "charts": CHARTS,
        "table": _table(organisation, span),
        "panels": panels.of(request, organisation),
    }
    return render(request, "frontend/fleet/fleet.html", context)


def _live(organisation: Organisation) -> dict[str, Any]:
    now = timezone.now()
    limit = now - silence_limit()
    nodes, states = _counted(organisation, limit)
    alarms = {
        severity: {"count": count, "open": open_ones}
        for severity, count, open_ones in Alarm.objects.standing()
        .filter(organisation=organisation)
        .order_by()
        .values_list("severity")
        .annotate(count=Count("pk"), open=Count("pk", filter=Q(acknowledged_at=None)))
    }
    recent = Q(state=Operation.State.FAILED, finished_at__gte=now - timedelta(days=1))
    unfinished = Q(state__in=[Operation.State.PENDING, Operation.State.RUNNING])
    work = Operation.objects.filter(unfinished | recent, organisation_id=organisation.pk)
    return {
        "nodes": {**nodes, "total": sum(nodes.values())},
        "deployments": {
            "total": sum(states.values()),
            "ready": states.get("ready", 0),
            "failed": states.get("failed", 0),
            "moving": sum(states.get(state, 0) for state in ("pending", "progressing", "removing")),
        },
        "alarms": [{"severity": severity, **alarms.get(severity, {"count": 0})} for severity in Severity.values],
        "alarm_count": sum(each["count"] for each in alarms.values()),
        "alarms_open": sum(each["open"] for each in alarms.values()),
        "worst": list(_worst(organisation)),
        "work": list(work.order_by("-created_at")[:SHOWN]),
    }


def _counted(organisation: Organisation, limit: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many nodes are how, and how many deployments are in which state, in one query."""
    seen = Case(
        When(last_seen_at__gte=limit, then=Value("online")),
        When(last_seen_at__lt=limit, then=Value("offline")),
        default=Value("waiting"),
        output_field=CharField(),
    )
    nodes = Node.objects.filter(organisation=organisation).order_by().annotate(of=Value("node"), word=seen)
    held = Deployment.objects.ordinary().present().filter(organisation=organisation).order_by()
    held = held.annotate(of=Value("deployment"), word=F("state"))
    counted = [rows.values_list("of", "word").annotate(number=Count("pk")) for rows in (nodes, held)]
    found: dict[str, dict[str, int]] = {"node": {"online": 0, "offline": 0, "waiting": 0}, "deployment": {}}
    for of, word, number in counted[0].union(counted[1], all=True):
        found[of][word] = number
    return found["node"], found["deployment"]


def _worst(organisation: Organisation) -> Any:
    ranks = [When(alarms__severity=name, then=Value(rank)) for name, rank in RANKS.items()]
    rows = (
        Node.objects.filter(organisation=organisation, alarms__cleared_at=None, alarms__isnull=False)
        .annotate(rank=Min(Case(*ranks, output_field=IntegerField())), troubles=Count("alarms"))
        .order_by("rank", "-troubles", "name")
        .only("pk", "name", "last_seen_at", "enrolled_at")[:SHOWN]
    )
    names = list(RANKS)
    for node in rows:
        node.severity = names[node.rank]  # type: ignore[attr-defined]
        yield node


def _table(organisation: Organisation, span: str) -> list[dict[str, Any]]:
    """Return the figures in numbers, the newest first: the hours of a day, or one hour of every day of a month."""
    now = timezone.now()
    since = now - timedelta(days=30 if span == "month" else 1)
    hours = Q(resolution=Resolution.HOUR, at__gte=since)
    if span == "month":
        hours &= Q(at__hour=12)
    latest = Q(resolution=Resolution.MINUTE, at__gte=now - timedelta(minutes=3))
    rows = Sample.objects.filter(hours | latest, organisation=organisation).order_by("-at")
    made: list[dict[str, Any]] = []
    for row in rows[:80]:
        if row.resolution == Resolution.MINUTE and made:
            continue  # of the minutes only the newest
        made.append(
            {
                "at": row.at,
                "now": row.resolution == Resolution.MINUTE,
                "values": [row.figures.get(name) for chart in CHARTS for name, _, _ in chart["lines"]],
            }
        )
    return made
