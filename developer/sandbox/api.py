"""Test deployments over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages.models import Package
from core.accounts import access
from core.errors import BreakwaterError
from core.http import ApiView, organisation_for, paginated, problem_response, request_actor, sse
from core.live.hub import Topic
from developer.sandbox import services
from developer.sandbox.models import TestDeployment
from mecm.nodes.models import Node
from mecm.trials.sandbox import Provider


class SandboxNodeOut(serializers.Serializer[Any]):
    """A node on which packages may be tried."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    engine = serializers.CharField()
    simulated = serializers.BooleanField()
    state = serializers.CharField()
    free = serializers.BooleanField()


class TestIn(serializers.Serializer[Any]):
    """What is tried where, and how long."""

    package = serializers.UUIDField()
    node = serializers.UUIDField()
    minutes = serializers.IntegerField(default=15)
    values = serializers.DictField(default=dict)
    organisation = serializers.CharField(required=False)


class ProlongIn(serializers.Serializer[Any]):
    """How long from now."""

    minutes = serializers.IntegerField(default=15)


class TestRow(serializers.ModelSerializer[TestDeployment]):
    """A test deployment in a list."""

    organisation = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    package = serializers.UUIDField(source="trial.package_id")
    package_name = serializers.CharField(source="trial.package")
    node = serializers.UUIDField(source="trial.node_id")
    node_name = serializers.CharField(source="trial.node.name")
    namespace = serializers.CharField(source="trial.namespace")
    state = serializers.CharField()

    class Meta:
        model = TestDeployment
        fields = [
            "id", "organisation", "package", "package_name", "node", "node_name", "namespace", "state", "started_at",
            "ends_at", "ended_at", "seen_at", "problem",
        ]  # fmt: skip


class TestOut(TestRow):
    """A test deployment with what the node said last: workloads, log, and what Mp1 knows of it."""

    status = serializers.SerializerMethodField()
    mep = serializers.SerializerMethodField()
    logs = serializers.SerializerMethodField()

    class Meta(TestRow.Meta):
        fields = [*TestRow.Meta.fields, "values", "status", "mep", "logs"]

    def get_status(self, test: TestDeployment) -> dict[str, Any]:
        """State, workloads with their pods, endpoints, restarts."""
        return dict(test.seen.get("state") or {})

    def get_mep(self, test: TestDeployment) -> dict[str, Any]:
        """Services, subscriptions, DNS and traffic rules on Mp1."""
        return dict(test.seen.get("mep") or {})

    def get_logs(self, test: TestDeployment) -> list[str]:
        """The last lines, each with its container."""
        return list(test.seen.get("logs") or [])


def rows() -> QuerySet[TestDeployment]:
    """Test deployments with what their answers need."""
    return TestDeployment.objects.select_related("organisation", "trial__package", "trial__node")


class SandboxView(ApiView):
    """What all views of test deployments need."""

    permission_required = "certification.run"

    def _test(self, pk: UUID) -> TestDeployment:
        return access.get(rows(), self.actor, self.permission, pk)


class NodesView(SandboxView):
    """The sandboxes."""

    @extend_schema(
        responses=SandboxNodeOut(many=True), parameters=[OpenApiParameter("organisation", description="slug or id")]
    )
    def get(self, request: Request) -> Response:
        """List the nodes of an organisation on which packages may be tried; `free` when nobody does."""
        organisation = organisation_for(request, self.permission)
        return Response(SandboxNodeOut(Provider().nodes(organisation.pk), many=True).data)


class TestsView(SandboxView):
    """Test deployments, and a new one."""

    @extend_schema(responses=TestRow(many=True))
    def get(self, request: Request) -> Response:
        """List the test deployments of one's organisations, newest first."""
        mine = access.scoped(rows(), self.actor, self.permission)
        return paginated(self, mine, lambda page: TestRow(page, many=True).data)

    @extend_schema(
        request=TestIn,
        responses={
            201: TestOut,
            409: OpenApiResponse(description="not checked, or too many of them"),
            503: OpenApiResponse(description="the sandbox is taken, or does not answer"),
        },
    )
    def post(self, request: Request) -> Response:
        """Put a checked package on a sandbox for some minutes."""
        said = TestIn(data=request.data)
        said.is_valid(raise_exception=True)
        wanted = said.validated_data
        organisation = organisation_for(request, self.permission)
        made = services.start(
            actor=self.actor,
            organisation=organisation,
            node=access.get(Node.objects.all(), self.actor, self.permission, wanted["node"]),
            package=access.get(Package.objects.all(), self.actor, self.permission, wanted["package"]),
            minutes=wanted["minutes"],
            values=wanted["values"],
        )
        return Response(TestOut(self._test(made.pk)).data, 201)


class TestView(SandboxView):
    """One test deployment."""

    @extend_schema(responses=TestOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Tell how it goes; while somebody asks, the node is asked every few seconds."""
        test = self._test(pk)
        services.watch(test)
        return Response(TestOut(test).data)

    @extend_schema(responses={202: TestOut})
    def delete(self, request: Request, pk: UUID) -> Response:
        """End it: everything is removed from the node."""
        return Response(TestOut(services.end(self._test(pk), actor=self.actor)).data, 202)


class ProlongView(SandboxView):
    """More time."""

    @extend_schema(request=ProlongIn, responses=TestOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Have it end so many minutes from now."""
        test = self._test(pk)
        said = ProlongIn(data=request.data)
        said.is_valid(raise_exception=True)
        minutes = said.validated_data["minutes"]
        return Response(TestOut(services.prolong(test, minutes=minutes, actor=self.actor)).data)


def stream(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Follow a test deployment as server-sent events, until it has ended."""
    try:
        actor = request_actor(request)
        access.get(TestDeployment.objects.all(), actor, "certification.run", pk)
    except BreakwaterError as error:
        return problem_response(error, request)

    def look() -> dict[str, Any] | None:
        test = rows().filter(pk=pk).first()
        if test is None:
            return None
        services.watch(test)
        return {"state": test.state, "looks": test.looks, "finished": test.state == "ended"}

    return sse(request, Topic("sandbox", pk, look, every=1.0), actor)
