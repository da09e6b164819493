"""Deployments over HTTP."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages.models import Package
from core.accounts import access
from core.errors import Invalid, Missing
from core.http import AnyAccept, ApiView, organisation_for, paginated, sse
from core.live.hub import Topic
from core.operations.models import Operation
from core.words import say
from mecm.deployments import logs, placement, secret_values, services
from mecm.deployments.models import Deployment
from mecm.deployments.serializers import (
    DeploymentBrief,
    DeploymentChange,
    DeploymentIn,
    DeploymentOut,
    DeploymentPage,
    EventsOut,
    LogsOut,
    NodeRef,
    PlanIn,
    PlanOut,
    RevisionOut,
    RevisionPage,
    RollbackIn,
)
from mecm.nodes.models import Node

_ONLY_NAMED = "removed ones, and abandoned ones (given up), only when named"
_IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="the ETag that was read; 412 when it changed meanwhile"
)


class DeploymentsView(ApiView):
    """The deployments that the actor may see."""

    permission_required = {"GET": "deployments.read", "POST": "deployments.write"}

    @extend_schema(
        operation_id="deployments_list",
        parameters=[
            OpenApiParameter("organisation", str, description="slug or id; all of yours when it is left out"),
            OpenApiParameter("node", OpenApiTypes.UUID),
            OpenApiParameter("package", OpenApiTypes.UUID),
            OpenApiParameter("state", str, enum=Deployment.State.values, description=_ONLY_NAMED),
            OpenApiParameter("q", str, description="part of the name"),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=DeploymentPage,
    )
    def get(self, request: Request) -> Response:
        """List deployments, newest first; those removed or given up are left out unless `state` asks for them."""
        rows = Deployment.objects.visible_to(self.actor)
        if request.GET.get("organisation"):
            rows = rows.filter(organisation=organisation_for(request, "deployments.read"))
        for field in ("node", "package"):
            if request.GET.get(field):
                rows = rows.filter(**{f"{field}_id": _uuid(request.GET[field], field)})
        wanted = request.GET.get("state")
        rows = rows.filter(state=_text(wanted, "state")) if wanted else rows.present()
        if request.GET.get("q"):
            rows = rows.filter(name__icontains=_text(request.GET["q"], "q"))
        return paginated(self, _shown(rows), lambda page: DeploymentBrief(page, many=True).data)

    @extend_schema(
        request=DeploymentIn,
        responses={202: DeploymentOut, 409: OpenApiResponse(OpenApiTypes.OBJECT, "does not fit; `reasons` lists why")},
    )
    def post(self, request: Request) -> Response:
        """Wish that a published package runs on a node."""
        wanted = DeploymentIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        node = access.get(Node.objects.all(), self.actor, self.permission, asked["node"])
        # Named, or the node's own tenant where the actor may deploy: nobody is surprised by another's namespace.
        organisation = organisation_for(request, self.permission) if "organisation" in asked else node.organisation
        deployment = services.request(
            actor=self.actor,
            organisation=organisation,
            node=node,
            package=_package(self, asked["package"]),
            name=asked["name"],
            values=asked["values"],
        )
        return _accepted(deployment.pk)


class DeploymentView(ApiView):
    """One deployment."""

    permission_required = {"GET": "deployments.read", "PATCH": "deployments.write", "DELETE": "deployments.write"}

    @extend_schema(responses=DeploymentOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the deployment as it is known now."""
        deployment = access.get(_whole(Deployment.objects.all()), self.actor, self.permission, pk)
        return Response(DeploymentOut(deployment).data, headers={"ETag": _etag(deployment)})

    @extend_schema(request=DeploymentChange, parameters=[_IF_MATCH], responses={202: DeploymentOut})
    def patch(self, request: Request, pk: UUID) -> Response:
        """Upgrade: another release of the same application, other values, or both."""
        deployment = access.get(Deployment.objects.all(), self.actor, self.permission, pk)
        wanted = DeploymentChange(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        if not asked:
            raise Invalid(say("Give package or values, or both."))
        services.upgrade(
            deployment,
            actor=self.actor,
            package=_package(self, asked["package"]) if "package" in asked else None,
            values=asked.get("values"),
            expected=_expected(request),
        )
        return _accepted(pk)

    @extend_schema(responses={202: DeploymentOut})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Wish that the deployment goes; the application is asked to end first."""
        deployment = access.get(Deployment.objects.select_related("node"), self.actor, self.permission, pk)
        services.remove(deployment, actor=self.actor)
        return _accepted(pk)


class RollbackView(ApiView):
    """The way back."""

    permission_required = "deployments.write"

    @extend_schema(request=RollbackIn, parameters=[_IF_MATCH], responses={202: DeploymentOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Go back to an earlier generation's package and values, as a new generation."""
        deployment = access.get(Deployment.objects.all(), self.actor, self.permission, pk)
        wanted = RollbackIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.rollback(
            deployment, actor=self.actor, to=wanted.validated_data.get("revision"), expected=_expected(request)
        )
        return _accepted(pk)


class AbandonView(ApiView):
    """The way out of a removal that nobody confirms."""

    permission_required = "deployments.write"

    @extend_schema(
        request=None,
        responses={
            200: DeploymentOut,
            409: OpenApiResponse(OpenApiTypes.OBJECT, "not being removed, or its node is there"),
        },
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Give up a removal whose node is away: it may go on running there, and goes if the node ever comes back."""
        deployment = access.get(Deployment.objects.select_related("node"), self.actor, self.permission, pk)
        services.abandon(deployment, actor=self.actor)
        return Response(DeploymentOut(_whole(Deployment.objects.filter(pk=pk)).get()).data)


class RevisionsView(ApiView):
    """The generations of a deployment."""

    permission_required = "deployments.read"

    @extend_schema(operation_id="deployments_revisions_list", responses=RevisionPage)
    def get(self, request: Request, pk: UUID) -> Response:
        """List what was wished, by whom and how it ended, newest first."""
        deployment = access.get(_shown(Deployment.objects.all()), self.actor, self.permission, pk)
        rows = deployment.revisions.select_related("package", "requested_by")
        told = {"schemas": secret_values.schemas_for(deployment)}
        return paginated(self, rows, lambda page: RevisionOut(page, many=True, context=told).data)


class EventsView(ApiView):
    """What happened to a deployment."""

    permission_required = "deployments.read"

    @extend_schema(responses=EventsOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the events of its objects on the node, newest first."""
        return Response(logs.events(access.get(Deployment.objects.all(), self.actor, self.permission, pk)))


class LogsView(ApiView):
    """What a deployment's containers write."""

    permission_required = "deployments.read"

    @extend_schema(parameters=[OpenApiParameter("tail", int, description="at most 500")], responses=LogsOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the last lines; a node with an agent begins to send them now, so ask again in a moment."""
        rows = Deployment.objects.select_related("node")
        deployment = access.get(rows, self.actor, self.permission, pk)
        asked = request.GET.get("tail", "200")
        if not re.fullmatch(r"[0-9]{1,4}", asked):
            raise Invalid(say("tail must be a number of lines"), field="tail")
        return Response(logs.lines(deployment, tail=int(asked)))


class StreamView(ApiView):
    """A deployment, live."""

    permission_required = "deployments.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR}, description="Server-sent events of DeploymentOut"
    )
    def get(self, request: Request, pk: UUID) -> StreamingHttpResponse:
        """Send the deployment each time it changes, with the operation at work on it."""
        access.get(Deployment.objects.all(), self.actor, self.permission, pk)
        return sse(request, Topic("deployment", pk, lambda: snapshot(pk)), self.actor)


class PlanView(ApiView):
    """Placement, without doing anything."""

    permission_required = "deployments.write"

    @extend_schema(request=PlanIn, responses=PlanOut)
    def post(self, request: Request) -> Response:
        """Say for each node whether the package would fit, and every reason why not."""
        wanted = PlanIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        package = _package(self, asked["package"])
        organisation = organisation_for(request, self.permission)
        rows = access.scoped(Node.objects.all(), self.actor, self.permission)
        if "nodes" in asked:
            nodes = list(rows.filter(pk__in=asked["nodes"]))
            if len(nodes) != len(set(asked["nodes"])):
                raise Missing(say("There is no such node, or you may not deploy to it."))
        else:
            nodes = list(rows[:200])
        found = services.verdicts(nodes, package, organisation=organisation, name=asked["name"], values=asked["values"])
        results = [{"node": NodeRef(node).data, **placement.as_document(verdict)} for node, verdict in found]
        return Response({"fits": sum(each["fits"] for each in results), "results": results})


def snapshot(pk: UUID) -> dict[str, Any] | None:
    """Return what a page shows of a deployment; None when the row is gone. `finished` when nothing more will come."""
    deployment = _whole(Deployment.objects.filter(pk=pk)).first()
    if deployment is None:
        return None
    running = Operation.objects.unfinished().about(f"deployment:{pk}").exclude(kind="deployment.observe").first()
    operation = (
        {"id": str(running.pk), "kind": running.kind, "state": running.state, "note": running.note}
        if running is not None
        else None
    )
    gone = deployment.state == Deployment.State.REMOVED
    return {**DeploymentOut(deployment).data, "operation": operation, "finished": gone}


def _shown(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    secrets = ("node__kubeconfig", "node__mep_token", "node__mep_ca")
    heavy = ("package__descriptor", "package__findings", "package__signature", "package__description")
    return rows.select_related("organisation", "node", "package").defer(*secrets, *heavy)


def _whole(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """Return the rows with what only one that is shown alone tells."""
    return _shown(rows).select_related("abandoned_by").defer("abandoned_by__password")


def _package(view: ApiView, pk: UUID) -> Package:
    package = Package.objects.visible_to(view.actor).filter(pk=pk).first()
    if package is None:
        raise Missing(say("There is no such package, or you may not see it."))
    return package


def _accepted(pk: UUID) -> Response:
    deployment = _whole(Deployment.objects.filter(pk=pk)).get()
    return Response(DeploymentOut(deployment).data, status.HTTP_202_ACCEPTED, headers={"ETag": _etag(deployment)})


def _etag(deployment: Deployment) -> str:
    """Return the tag of the wish: reports do not change it, so that an editor is not disturbed by them."""
    return f'"{deployment.generation}"'


def _expected(request: Request) -> int | None:
    """Return the generation that `If-Match` names (RFC 9110, 13.1.1)."""
    given = request.headers.get("If-Match", "").strip()
    if given in ("", "*"):
        return None
    named = re.fullmatch(r'"([0-9]{1,9})"', given)
    # A tag that we never gave matches nothing.
    return int(named[1]) if named else -1


def _uuid(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(
            say("{field} must be a UUID", field=field), errors=[{"field": field, "detail": say("must be a UUID")}]
        ) from None


def _text(text: str, field: str) -> str:
    if "\x00" in text:
        raise Invalid(say("{field} must hold no NUL", field=field), field=field)
    return text
