"""How far recalls got, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.releases.models import Recall
from core.accounts.access import Actor
from core.errors import Missing
from core.http import AnyAccept, ApiView, paginated, sse
from core.live.hub import Topic
from mecm.recalls import services
from mecm.recalls.progress import Standing
from mecm.recalls.services import Place, Report


class CountsOut(serializers.Serializer[Any]):
    """How many nodes are how far."""

    total = serializers.IntegerField()
    done = serializers.IntegerField()
    under_way = serializers.IntegerField()
    dark = serializers.IntegerField()


class PlaceOut(serializers.Serializer[Any]):
    """One deployment that a recall concerns."""

    deployment = serializers.UUIDField(source="target.deployment_id")
    name = serializers.CharField(source="target.deployment.name")
    organisation = serializers.CharField(source="target.organisation.slug")
    package = serializers.UUIDField(source="target.package_id")
    node = serializers.UUIDField(source="target.node_id")
    node_name = serializers.CharField(source="target.node.name")
    standing = serializers.ChoiceField([str(each) for each in Standing])
    what = serializers.CharField()
    dark_since = serializers.DateTimeField(allow_null=True)
    list_serial = serializers.IntegerField(source="serial")


class ProgressOut(serializers.Serializer[Any]):
    """How far a recall got."""

    recall = serializers.UUIDField(source="recall.pk")
    lifted = serializers.SerializerMethodField()
    words = serializers.CharField(source="counts")
    counts = CountsOut()
    places = PlaceOut(many=True)

    def get_lifted(self, report: Report) -> bool:
        """Whether it holds no more."""
        return report.recall.lifted_at is not None


class RecallRow(serializers.ModelSerializer[Recall]):
    """A recall in a list, with how far it got."""

    words = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField()
    packages = serializers.SerializerMethodField()

    class Meta:
        model = Recall
        fields = [
            "id", "reason", "severity", "advice", "action", "serial", "origin", "issued_at", "lifted_at", "packages",
            "counts", "words",
        ]  # fmt: skip

    def _report(self, recall: Recall) -> Report:
        found: Report = self.context["reports"][recall.pk]
        return found

    def get_words(self, recall: Recall) -> str:
        """The sum in words, as `2 of 3 done, 1 dark`."""
        return str(self._report(recall).counts)

    @extend_schema(responses=CountsOut)
    def get_counts(self, recall: Recall) -> Any:
        """The sum by node."""
        return CountsOut(self._report(recall).counts).data

    def get_packages(self, recall: Recall) -> list[str]:
        """The packages by name, or by digest."""
        return [str(each) for each in recall.packages.all()]


class RecallsView(ApiView):
    """The recalls that concern the actor."""

    permission_required = "packages.read"

    @extend_schema(
        operation_id="recalls_list",
        responses=RecallRow(many=True),
        parameters=[OpenApiParameter("page", OpenApiTypes.INT), OpenApiParameter("page_size", OpenApiTypes.INT)],
    )
    def get(self, request: Request) -> Response:
        """List recalls of one's own packages, and of those that one runs; all for those who recall for the store."""

        def rows(page: Any) -> Any:
            found = {report.recall.pk: report for report in services.reports(page, self.actor)}
            return RecallRow(page, many=True, context={"reports": found}).data

        return paginated(self, services.visible(self.actor), rows)


class ProgressView(ApiView):
    """How far one recall got."""

    permission_required = "packages.read"

    @extend_schema(responses=ProgressOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the sum by node, and each place that the actor may see."""
        (report,) = services.reports([services.get(pk, self.actor)], self.actor)
        return Response(ProgressOut(report).data)


class StreamView(ApiView):
    """How far one recall got, live."""

    permission_required = "packages.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR}, description="Server-sent events of the sum by node"
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Send the sum each time it changes."""
        services.get(pk, self.actor)
        actor = self.actor
        seen_by = frozenset((organisation, *sorted(roles)) for organisation, roles in actor.roles.items())
        token = actor.token.pk if actor.token else None
        return sse(request, Topic("recall", (pk, seen_by, token), lambda: snapshot(pk, actor), every=1.0), actor)


def snapshot(pk: UUID, actor: Actor) -> dict[str, Any] | None:
    """Return what a page about a recall hears of; None when it may not be seen any more."""
    try:
        (report,) = services.reports([services.get(pk, actor)], actor)
    except Missing:
        return None
    return {"state": str(report.counts), "seen": sorted(_mark(place) for place in report.places)}


def _mark(place: Place) -> str:
    return f"{place.target.deployment_id} {place.standing} {place.what}"
