"""Alarms and figures over HTTP."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Q
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import Invalid
from core.http import AnyAccept, ApiView, organisation_for, paginated, sse
from core.live.hub import Topic
from core.words import say
from mecm.fleet import figures, services
from mecm.fleet.causes import SOURCES
from mecm.fleet.models import Alarm, AlarmEvent, AlarmQuerySet, Resolution, Severity
from mecm.nodes.models import Node

#: How long a sample of a fleet stands for.
OF_FLEETS = [str(Resolution.MINUTE), str(Resolution.HOUR)]
#: Which alarms a list shows.
SHOWN = ("standing", "open", "acknowledged", "cleared", "all")


class AlarmOut(serializers.ModelSerializer[Alarm]):
    """One alarm."""

    organisation = serializers.UUIDField(source="organisation_id")
    node = serializers.UUIDField(source="node_id", allow_null=True)
    state = serializers.CharField()

    class Meta:
        model = Alarm
        fields = [
            "id", "organisation", "source_kind", "source_id", "source_name", "cause", "node", "severity", "state",
            "text", "advice", "times", "raised_at", "changed_at", "cleared_at", "acknowledged_at", "acknowledged_by",
            "note",
        ]  # fmt: skip


class EventOut(serializers.ModelSerializer[AlarmEvent]):
    """What happened to an alarm."""

    class Meta:
        model = AlarmEvent
        fields = ["at", "what", "by", "severity", "text"]


class HistoryOut(serializers.Serializer[Any]):
    """What happened to an alarm, and the earlier times of the same trouble."""

    events = EventOut(many=True)
    earlier = AlarmOut(many=True)


class AcknowledgeIn(serializers.Serializer[Any]):
    """Somebody looks after it."""

    note = serializers.CharField(
        max_length=services.LONGEST_NOTE, required=False, allow_blank=True, default="", help_text="what is being done"
    )


class AcknowledgeManyIn(AcknowledgeIn):
    """Somebody looks after these."""

    alarms = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=services.MOST_AT_ONCE, help_text="ids"
    )


class DoneOut(serializers.Serializer[Any]):
    """How many alarms nobody had acknowledged before."""

    acknowledged = serializers.IntegerField()


class SeriesOut(serializers.Serializer[Any]):
    """Figures by column: the n-th value of each series is that of the n-th moment; null is "not known"."""

    resolution = serializers.ChoiceField(Resolution.choices)
    at = serializers.ListField(child=serializers.IntegerField(), help_text="seconds since 1970 (UTC)")
    series = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


def sought(rows: AlarmQuerySet, given: Any) -> AlarmQuerySet:
    """Return the alarms that the parameters of a list name; `Invalid` names a parameter that is wrong."""
    show = given.get("show") or "standing"
    if show not in SHOWN:
        raise _wrong("show", say("must be one of {shown}", shown=", ".join(SHOWN)))
    if show == "cleared":
        rows = rows.exclude(cleared_at=None)
    elif show != "all":
        rows = rows.standing()
    if show in ("open", "acknowledged"):
        rows = rows.filter(acknowledged_at__isnull=show == "open")
    if severity := given.get("severity"):
        if severity not in Severity.values:
            raise _wrong("severity", say("must be one of {values}", values=", ".join(Severity.values)))
        rows = rows.filter(severity=severity)
    if source := given.get("source"):
        if source not in SOURCES:
            raise _wrong("source", say("must be one of {sources}", sources=", ".join(SOURCES)))
        rows = rows.filter(source_kind=source)
    if node := given.get("node"):
        try:
            rows = rows.filter(node=UUID(node))
        except ValueError:
            raise _wrong("node", say("must be the id of a node")) from None
    if words := str(given.get("q", "")).replace("\x00", "").strip()[:200]:
        rows = rows.filter(Q(text__icontains=words) | Q(source_name__icontains=words) | Q(cause__icontains=words))
    return rows.order_by("-cleared_at", "id") if show == "cleared" else rows.worst_first()


class AlarmsView(ApiView):
    """The alarms of one's organisations."""

    permission_required = "nodes.read"

    @extend_schema(
        operation_id="alarms_list",
        responses=AlarmOut(many=True),
        parameters=[
            OpenApiParameter("show", enum=SHOWN, description="which ones; `standing` when it is not given"),
            OpenApiParameter("severity", enum=Severity.values),
            OpenApiParameter("source", enum=list(SOURCES)),
            OpenApiParameter("node", OpenApiTypes.UUID),
            OpenApiParameter("q", description="words in the text, the cause or the name of the source"),
            OpenApiParameter("page", OpenApiTypes.INT),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        """List alarms, the worst first; cleared ones by when they were cleared."""
        rows = sought(Alarm.objects.visible_to(self.actor), request.GET)
        return paginated(self, rows, lambda page: AlarmOut(page, many=True).data)


class AlarmView(ApiView):
    """One alarm."""

    permission_required = "nodes.read"

    @extend_schema(responses=AlarmOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return it."""
        return Response(AlarmOut(access.get(Alarm.objects.all(), self.actor, self.permission, pk)).data)


class HistoryView(ApiView):
    """What was before."""

    permission_required = "nodes.read"

    @extend_schema(responses=HistoryOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return what happened to the alarm, and up to fifty earlier times of the same trouble."""
        alarm = access.get(Alarm.objects.all(), self.actor, self.permission, pk)
        return Response(
            {
                "events": EventOut(alarm.events.all()[:200], many=True).data,  # type: ignore[attr-defined]
                "earlier": AlarmOut(services.earlier(alarm), many=True).data,
            }
        )


class AcknowledgeView(ApiView):
    """Look after an alarm."""

    permission_required = "nodes.write"

    @extend_schema(request=AcknowledgeIn, responses=AlarmOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Acknowledge it, with a note; 409 when it was cleared."""
        alarm = access.get(Alarm.objects.all(), self.actor, self.permission, pk)
        given = AcknowledgeIn(data=request.data)
        given.is_valid(raise_exception=True)
        services.acknowledge([alarm], actor=self.actor, note=given.validated_data["note"])
        return Response(AlarmOut(alarm).data)


class AcknowledgeManyView(ApiView):
    """Look after several alarms."""

    permission_required = "nodes.write"

    @extend_schema(operation_id="alarms_acknowledge_many", request=AcknowledgeManyIn, responses=DoneOut)
    def post(self, request: Request) -> Response:
        """Acknowledge them with one note; those that were cleared, or are not yours to acknowledge, stay as they are."""
        given = AcknowledgeManyIn(data=request.data)
        given.is_valid(raise_exception=True)
        rows = access.scoped(Alarm.objects.all(), self.actor, self.permission).filter(
            pk__in=given.validated_data["alarms"]
        )
        done = services.acknowledge(list(rows), actor=self.actor, note=given.validated_data["note"]) if rows else 0
        return Response({"acknowledged": done})


class StreamView(ApiView):
    """Alarms, live."""

    permission_required = "nodes.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
        description="Server-sent events: a new state each time that an alarm is raised, changed or cleared",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Send a message each time that the alarms of one's organisations change."""
        mine = frozenset(self.actor.organisations("nodes.read"))
        return sse(request, Topic("alarms", mine, lambda: snapshot(mine)), self.actor)


class NodeStreamView(ApiView):
    """One node, live."""

    permission_required = "nodes.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
        description="Server-sent events: another `state` each time that something about the node changes",
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Send a message each time that the node, its link, its platform, or what runs or is done there changes."""
        node = access.get(Node.objects.only("pk", "organisation_id"), self.actor, self.permission, pk)
        return sse(request, Topic("node", node.pk), self.actor)


class FleetStreamView(ApiView):
    """The fleet of one organisation, live."""

    permission_required = "nodes.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        parameters=[OpenApiParameter("organisation", description="slug or id; the session's choice if not given")],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
        description="Server-sent events: another `state` each time that the numbers of the fleet change",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Send a message each time that the numbers of nodes, deployments, alarms or work of an organisation change."""
        organisation = organisation_for(request, self.permission)
        return sse(request, Topic("fleet", organisation.pk), self.actor)


def snapshot(organisations: Collection[UUID]) -> dict[str, Any]:
    """Return what a page about alarms hears of, in one query."""
    seen = Alarm.objects.filter(organisation__in=organisations).aggregate(
        standing=Count("pk", filter=Q(cleared_at=None)),
        open=Count("pk", filter=Q(cleared_at=None, acknowledged_at=None)),
        changed=Max("changed_at"),
    )
    return {
        "state": f"{seen['standing']} {seen['open']} {seen['changed']}",
        "standing": seen["standing"],
        "open": seen["open"],
    }


_SPAN = [
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="a day (minutes) or 30 days (hours) ago if not given"),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="now if it is not given"),
]


class FiguresView(ApiView):
    """Figures over time."""

    permission_required = "nodes.read"

    @extend_schema(
        responses=SeriesOut,
        parameters=[
            OpenApiParameter("organisation", description="slug or id; the session's choice if it is not given"),
            OpenApiParameter("resolution", enum=OF_FLEETS),
            OpenApiParameter("metrics", description="names, separated by commas; all if it is not given"),
            *_SPAN,
        ],
    )
    def get(self, request: Request) -> Response:
        """Return the figures of one organisation by column."""
        organisation = organisation_for(request, self.permission)
        resolution = request.GET.get("resolution") or Resolution.MINUTE
        if resolution not in OF_FLEETS:
            raise _wrong("resolution", say("must be one of {of_fleets}", of_fleets=", ".join(OF_FLEETS)))
        metrics = [name for name in request.GET.get("metrics", "").split(",") if name] or list(figures.METRICS)
        if unknown := [name for name in metrics if name not in figures.METRICS]:
            raise _wrong(
                "metrics",
                say(
                    "there is no figure {unknown}; there are {metrics}",
                    unknown=repr(unknown[0][:60]),
                    metrics=", ".join(figures.METRICS),
                ),
            )
        since, until = span(request.GET, timedelta(days=1) if resolution == Resolution.MINUTE else timedelta(days=30))
        return Response(
            figures.series(organisation.pk, resolution=resolution, since=since, until=until, metrics=metrics)
        )


class NodeFiguresView(ApiView):
    """Figures of one node over time."""

    permission_required = "nodes.read"

    @extend_schema(
        responses=SeriesOut,
        parameters=[OpenApiParameter("resolution", enum=[Resolution.FIVE, Resolution.HOUR]), *_SPAN],
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Return one node by column: its hours of the last two weeks, or every five minutes of the last 26 hours."""
        resolution = request.GET.get("resolution") or Resolution.HOUR
        if resolution not in (Resolution.FIVE, Resolution.HOUR):
            raise _wrong("resolution", say("must be {five} or {hour}", five=Resolution.FIVE, hour=Resolution.HOUR))
        node = access.get(Node.objects.only("pk", "organisation_id"), self.actor, self.permission, pk)
        since, until = span(request.GET, timedelta(days=7))
        return Response(figures.node_series(node.pk, since=since, until=until, resolution=resolution))


def span(given: Any, usual: timedelta) -> tuple[datetime, datetime]:
    """Return the time that the parameters name; `Invalid` names the one that is wrong."""
    until = _moment(given, "until") or timezone.now()
    since = _moment(given, "since") or until - usual
    if since >= until:
        raise _wrong("since", say("must be before the end"))
    return since, until


def _moment(given: Any, name: str) -> datetime | None:
    if not given.get(name):
        return None
    try:
        found = datetime.fromisoformat(given[name])
        return found if timezone.is_aware(found) else timezone.make_aware(found)
    except (ValueError, OverflowError):
        raise _wrong(name, say("must be a time as 2026-03-01T12:00:00Z")) from None


def _wrong(field: str, detail: str) -> Invalid:
    return Invalid(f"{field}: {detail}", errors=[{"field": field, "detail": detail}])
