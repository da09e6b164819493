"""Rollouts over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages.models import Package
from core.accounts import access
from core.errors import Invalid, Missing
from core.http import AnyAccept, ApiView, organisation_for, paginated, sse
from core.live.hub import Topic, watches
from core.words import say
from mecm.rollouts import downloads, services
from mecm.rollouts.deciding import Counts
from mecm.rollouts.models import Event, Place, Rollout
from mecm.rollouts.planning import Sketch
from mecm.rollouts.serializers import (
    AbortIn,
    CountsOut,
    EventOut,
    PlaceOut,
    PlannedOut,
    RolloutBrief,
    RolloutIn,
    RolloutOut,
    SketchOut,
    WhatIn,
)

#: What a preview shows; the numbers are of all.
SHOWN = 200

HEAVY = (
    "node__kubeconfig", "node__mep_token", "node__mep_ca", "node__facts", "node__labels",
    "deployment__values", "deployment__workloads", "deployment__endpoints",
)  # fmt: skip


class RolloutsView(ApiView):
    """The rollouts that the actor may see."""

    permission_required = {"GET": "deployments.read", "POST": "deployments.write"}

    @extend_schema(
        operation_id="rollouts_list",
        parameters=[
            OpenApiParameter("organisation", str, description="slug or id; all of yours when it is left out"),
            OpenApiParameter("state", str, enum=Rollout.State.values),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=RolloutBrief(many=True),
    )
    def get(self, request: Request) -> Response:
        """List rollouts, newest first."""
        rows = shown(Rollout.objects.visible_to(self.actor))
        if request.GET.get("organisation"):
            rows = rows.filter(organisation=organisation_for(request, "deployments.read"))
        if wanted := request.GET.get("state"):
            rows = rows.filter(state=_text(wanted, "state"))
        return paginated(self, rows, lambda page: RolloutBrief(page, many=True).data)

    @extend_schema(
        request=RolloutIn,
        responses={201: RolloutOut, 200: OpenApiResponse(SketchOut, "the plan, with `dry_run`")},
    )
    def post(self, request: Request) -> Response:
        """Write a plan down, and start it with `start`; with `dry_run` only tell it."""
        wanted = RolloutIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = dict(wanted.validated_data)
        begin, dry = asked.pop("start"), asked.pop("dry_run")
        what = _what(self, request, asked)
        if dry:
            return _told(services.plan(actor=self.actor, **what))
        rules = ("title", "max_parallel", "pause", "stop_over", "stop_percent", "node_timeout", "on_stop")
        made = services.create(actor=self.actor, **what, **{rule: asked[rule] for rule in rules})
        if begin:
            services.start(made, actor=self.actor)
        return Response(RolloutOut(shown(Rollout.objects.filter(pk=made.pk)).get()).data, status.HTTP_201_CREATED)


class PlanView(ApiView):
    """A plan, without writing it down."""

    permission_required = "deployments.write"

    @extend_schema(operation_id="rollouts_sketch", request=WhatIn, responses=SketchOut)
    def post(self, request: Request) -> Response:
        """Say for each chosen node what would be done in which wave, and every reason why not."""
        wanted = WhatIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        return _told(services.plan(actor=self.actor, **_what(self, request, wanted.validated_data)))


class RolloutView(ApiView):
    """One rollout."""

    permission_required = "deployments.read"

    @extend_schema(responses=RolloutOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the rollout with how far each wave is."""
        return Response(RolloutOut(_found(self, pk)).data)


class PlacesView(ApiView):
    """The nodes of a rollout."""

    permission_required = "deployments.read"

    @extend_schema(
        operation_id="rollouts_places_list",
        parameters=[
            OpenApiParameter("state", str, enum=Place.State.values),
            OpenApiParameter("action", str, enum=Place.Action.values),
            OpenApiParameter("wave", int),
            OpenApiParameter("q", str, description="part of the node's name"),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=PlaceOut(many=True),
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """List each node with what is done there and what became of it, in the order of the waves."""
        rows = filtered(_found(self, pk), request.GET)
        return paginated(self, rows, lambda page: PlaceOut(page, many=True).data)


class EventsView(ApiView):
    """The history of a rollout."""

    permission_required = "deployments.read"

    @extend_schema(operation_id="rollouts_events_list", responses=EventOut(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """List what happened to it as a whole, newest first."""
        rows = Event.objects.filter(rollout=_found(self, pk))
        return paginated(self, rows, lambda page: EventOut(page, many=True).data)


class _Verb(ApiView):
    permission_required = "deployments.write"

    def turn(self, pk: UUID, verb: Callable[..., Rollout], **given: Any) -> Response:
        found = verb(_found(self, pk), actor=self.actor, **given)
        return Response(RolloutOut(found).data, status.HTTP_202_ACCEPTED)


class PlanAgainView(_Verb):
    """The plan anew."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Judge the nodes anew, before it has begun."""
        return self.turn(pk, services.plan_again)


class StartView(_Verb):
    """The beginning."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Begin with the first wave."""
        return self.turn(pk, services.start)


class PauseView(_Verb):
    """A halt."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Begin nothing new; what is under way goes on."""
        return self.turn(pk, services.pause)


class ResumeView(_Verb):
    """The way on."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Go on after a pause, with the next wave, or in spite of the failures that stopped it."""
        return self.turn(pk, services.resume)


class AbortView(_Verb):
    """The end before its time."""

    @extend_schema(request=AbortIn, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """End it; what it has changed stays, or goes back with `rollback`."""
        _found(self, pk)
        wanted = AbortIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        return self.turn(pk, services.abort, rollback=wanted.validated_data["rollback"])


class RollbackView(_Verb):
    """The way back."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Bring back what it has changed, also after its end."""
        return self.turn(pk, services.roll_back)


class RetryView(_Verb):
    """Another try."""

    @extend_schema(request=None, responses={202: RolloutOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Try again where it failed."""
        return self.turn(pk, services.retry)


class CsvView(ApiView):
    """The nodes of a rollout as a table for a spreadsheet."""

    permission_required = "deployments.read"
    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Return every node (or those that the filters of the list choose) as CSV."""
        rollout = _found(self, pk)
        return downloads.as_file(
            downloads.as_csv(filtered(rollout, request.GET)), "text/csv; charset=utf-8", rollout, "csv"
        )


class JsonView(ApiView):
    """The nodes of a rollout as a document."""

    permission_required = "deployments.read"

    @extend_schema(responses=PlaceOut(many=True))
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Return every node (or those that the filters of the list choose) as one JSON array."""
        rollout = _found(self, pk)
        return downloads.as_file(downloads.as_json(filtered(rollout, request.GET)), "application/json", rollout, "json")


class StreamView(ApiView):
    """A rollout, live."""

    permission_required = "deployments.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR}, description="Server-sent events: state and counts"
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Send state and counts each time they change."""
        _found(self, pk)
        return sse(self.request, Topic("rollout", pk, lambda: snapshot(pk)), self.actor)


@watches("rollout")
def marks(pks: Sequence[UUID]) -> dict[UUID, Hashable]:
    """Return a mark of each rollout that pages follow; two queries for all of them."""
    made: dict[UUID, list[Any]] = {}
    for pk, *row in Rollout.objects.filter(pk__in=pks).values_list("pk", "state", "goal", "wave", "why"):
        made[pk] = row
    places = Place.objects.filter(rollout__in=pks).order_by("rollout", "wave", "state", "excused")
    for pk, *row in places.values_list("rollout", "wave", "state", "excused").annotate(Count("pk")):
        made.setdefault(pk, []).append(tuple(row))
    return {pk: tuple(rows) for pk, rows in made.items()}


def snapshot(pk: UUID) -> dict[str, Any] | None:
    """Return what a page about a rollout hears of; three queries, however many nodes there are."""
    rollout = Rollout.objects.filter(pk=pk).first()
    if rollout is None:
        return None
    found = services.counts(rollout)
    return {
        "state": rollout.state,
        "wave": rollout.wave,
        "why": rollout.why,
        "counts": {str(wave): CountsOut(each).data for wave, each in found.items()},
    }


def total(counts: dict[int, Counts]) -> Counts:
    """Return the sum of all waves; where nothing is to be done is left out."""
    members = ("waiting", "going", "ready", "failed", "excused", "skipped", "returning", "returned", "stuck", "changed")
    return Counts(**{each: sum(getattr(of, each) for wave, of in counts.items() if wave) for each in members})


def filtered(rollout: Rollout, asked: Any) -> QuerySet[Place]:
    """Return the places that the query parameters choose; `Invalid` names one that is wrong."""
    rows = Place.objects.filter(rollout=rollout).select_related("node", "deployment").defer(*HEAVY)
    for field, known in (("state", Place.State.values), ("action", Place.Action.values)):
        if wanted := asked.get(field):
            if wanted not in known:
                raise Invalid(say("{field} must be one of {known}", field=field, known=", ".join(known)), field=field)
            rows = rows.filter(**{field: wanted})
    if wave := asked.get("wave"):
        if not (wave.isdecimal() and wave.isascii() and len(wave) < 6):
            raise Invalid(say("wave must be a number"), field="wave")
        rows = rows.filter(wave=int(wave))
    if words := asked.get("q"):
        rows = rows.filter(node__name__icontains=_text(words, "q"))
    return rows


def shown(rows: QuerySet[Rollout]) -> QuerySet[Rollout]:
    """Return rollouts with what their JSON and their pages need."""
    heavy = ("package__descriptor", "package__findings", "package__signature", "package__description")
    return rows.select_related("organisation", "package").defer(*heavy)


def _found(view: ApiView, pk: UUID) -> Rollout:
    return access.get(shown(Rollout.objects.all()), view.actor, view.permission, pk)


def _what(view: ApiView, request: Request, asked: Any) -> dict[str, Any]:
    organisation = organisation_for(request, "deployments.write")
    package = Package.objects.visible_to(view.actor).filter(pk=asked["package"]).first()
    if package is None:
        raise Missing(say("There is no such package, or you may not see it."))
    members = ("name", "target", "values", "waves")
    return {"organisation": organisation, "package": package, **{each: asked[each] for each in members}}


def _told(sketch: Sketch) -> Response:
    first = sketch.places[:SHOWN]
    return Response(
        {
            "counts": dict(sketch.counts),
            "waves": list(sketch.waves),
            "shown": len(first),
            "total": len(sketch.places),
            "results": PlannedOut(first, many=True).data,
        }
    )


def _text(text: str, field: str) -> str:
    if "\x00" in text:
        raise Invalid(say("{field} must hold no NUL", field=field), field=field)
    return text[:200]
