"""Nodes over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import Invalid
from core.http import ApiView, organisation_for, paginated
from core.words import say
from mecm.edge import services as edge
from mecm.edge.models import ReportedObject
from mecm.nodes import geo, orphans, services
from mecm.nodes.models import Node
from mecm.nodes.serializers import (
    EnrolmentTokenOut,
    KubeconfigIn,
    MepIn,
    MepStateOut,
    NodeChange,
    NodeIn,
    NodeOut,
    NodePage,
    OperationRef,
    OrphanOut,
)

_EMPTY_MEP: dict[str, list[Any]] = {
    "apps": [],
    "services": [],
    "subscriptions": [],
    "dns_rules": [],
    "traffic_rules": [],
}


class NodesView(ApiView):
    """The nodes that the actor may see."""

    permission_required = {"GET": "nodes.read", "POST": "nodes.write"}

    @extend_schema(
        operation_id="nodes_list",
        parameters=[
            OpenApiParameter("organisation", str, description="slug or id; all of yours when it is left out"),
            OpenApiParameter("q", str, description="part of the name"),
            OpenApiParameter("engine", str),
            OpenApiParameter("link", str, enum=["agent", "direct"]),
            OpenApiParameter("state", str, enum=["new", "enrolled", "online", "offline"]),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=NodePage,
    )
    def get(self, request: Request) -> Response:
        """List nodes."""
        rows = Node.objects.visible_to(self.actor)
        if request.GET.get("organisation"):
            rows = rows.filter(organisation=organisation_for(request, "nodes.read"))
        for field in ("engine", "link"):
            if request.GET.get(field):
                rows = rows.filter(**{field: _plain(request.GET[field], field)})
        if request.GET.get("q"):
            rows = rows.filter(name__icontains=_plain(request.GET["q"]))
        if request.GET.get("state"):
            rows = rows.in_state(request.GET["state"])
        return paginated(self, _shown(rows), lambda page: NodeOut(page, many=True).data)

    @extend_schema(request=NodeIn, responses={201: NodeOut})
    def post(self, request: Request) -> Response:
        """Register a node."""
        wanted = NodeIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        organisation = organisation_for(request, self.permission)
        facts = {key: value for key, value in wanted.validated_data.items() if key != "organisation"}
        node = services.register(actor=self.actor, organisation=organisation, **facts)
        return Response(_out(node.pk), status.HTTP_201_CREATED)


class NodeView(ApiView):
    """One node."""

    permission_required = {"GET": "nodes.read", "PATCH": "nodes.write", "DELETE": "nodes.write"}

    @extend_schema(responses=NodeOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the node; secrets are never part of the answer."""
        return Response(NodeOut(access.get(_shown(Node.objects.all()), self.actor, self.permission, pk)).data)

    @extend_schema(request=NodeChange, responses=NodeOut)
    def patch(self, request: Request, pk: UUID) -> Response:
        """Change name, labels, coordinates or capacity (null: as reported)."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        wanted = NodeChange(data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        services.change(node, actor=self.actor, **wanted.validated_data)
        return Response(_out(pk))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Forget the node; 409 while deployments hold a place on it."""
        services.remove(access.get(Node.objects.all(), self.actor, self.permission, pk), actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class KubeconfigView(ApiView):
    """The way to a direct node's cluster. It goes in and never comes out."""

    permission_required = "nodes.write"
    parser_classes = [JSONParser]

    @extend_schema(request=KubeconfigIn, responses={202: OperationRef})
    def put(self, request: Request, pk: UUID) -> Response:
        """Import a kubeconfig; a test of the connection follows as an operation."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        wanted = KubeconfigIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        operation = services.import_kubeconfig(node, wanted.validated_data["kubeconfig"], actor=self.actor)
        return Response({"operation": str(operation.pk)}, status.HTTP_202_ACCEPTED)


class ProbeView(ApiView):
    """A test of the connection to a direct node."""

    permission_required = "nodes.write"

    @extend_schema(request=None, responses={202: OperationRef})
    def post(self, request: Request, pk: UUID) -> Response:
        """Ask the cluster for its version and capacity now."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        operation = services.probe(node, actor=self.actor)
        return Response({"operation": str(operation.pk)}, status.HTTP_202_ACCEPTED)


class MepView(ApiView):
    """The edge platform of a node."""

    permission_required = {"GET": "mep.read", "PUT": "nodes.write"}

    @extend_schema(responses=MepStateOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return services, applications, rules and subscriptions as the MEP last reported them."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        row = ReportedObject.objects.filter(node=node, kind="mep", key="state").first()
        told = row.status if row is not None and isinstance(row.status, dict) else {}
        return Response({"reported_at": row.reported_at if row else None, **_EMPTY_MEP, **told})

    @extend_schema(request=MepIn, responses={204: None})
    def put(self, request: Request, pk: UUID) -> Response:
        """Say where the MEP of a direct node is managed (Mm5)."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        wanted = MepIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.set_mep(node, actor=self.actor, **wanted.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)


class EnrolmentTokensView(ApiView):
    """Join strings, by which an edge machine becomes this node."""

    permission_required = "nodes.write"

    @extend_schema(request=None, responses={201: EnrolmentTokenOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Make a join string: good for one machine and one hour, shown this once."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        join, expires_at = edge.join_string(node, actor=self.actor)
        return Response({"join": join, "expires_at": expires_at}, status.HTTP_201_CREATED)


class OrphansView(ApiView):
    """Releases in the node's runtime that no wish is about."""

    permission_required = "nodes.read"

    @extend_schema(responses=OrphanOut(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the orphans as the node last told, and what became of their removal."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        return Response(OrphanOut(orphans.of(node), many=True).data)


class OrphanView(ApiView):
    """One release in the node's runtime that no wish is about."""

    permission_required = "nodes.write"

    @extend_schema(responses={202: OrphanOut})
    def delete(self, request: Request, pk: UUID, namespace: str, name: str) -> Response:
        """Ask the node to end and remove the release; `state` is `removed` once the node has said so."""
        node = access.get(Node.objects.all(), self.actor, self.permission, pk)
        found = orphans.remove(node, namespace, name, actor=self.actor)
        return Response(OrphanOut(found).data, status.HTTP_202_ACCEPTED)


class GeoNodesView(ApiView):
    """Nodes for the map."""

    permission_required = "nodes.read"

    @extend_schema(
        parameters=[OpenApiParameter("organisation", str)],
        responses={(200, geo.MEDIA_TYPE): OpenApiTypes.OBJECT, 304: OpenApiResponse(description="unchanged")},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the nodes with coordinates as GeoJSON; `If-None-Match` answers 304 while nothing changed."""
        rows = Node.objects.visible_to(self.actor)
        if request.GET.get("organisation"):
            rows = rows.filter(organisation=organisation_for(request, "nodes.read"))
        body, etag = geo.encode(geo.collection(rows))
        known = parse_etags(request.headers.get("If-None-Match", ""))
        # RFC 9110, 13.1.2: weak comparison.
        fresh = "*" in known or etag in {each.removeprefix("W/") for each in known}
        response = HttpResponseNotModified() if fresh else HttpResponse(body, content_type=geo.MEDIA_TYPE)
        response["ETag"] = etag
        response["Cache-Control"] = "private, no-cache"
        return response


def _shown(rows: QuerySet[Node]) -> QuerySet[Node]:
    return rows.select_related("organisation").with_load().defer("mep_ca")  # type: ignore[attr-defined,no-any-return]


def _out(pk: UUID) -> dict[str, Any]:
    data: dict[str, Any] = NodeOut(_shown(Node.objects.all()).get(pk=pk)).data
    return data


def _plain(text: str, field: str = "q") -> str:
    if "\x00" in text:
        raise Invalid(say("{field} must hold no NUL", field=field), field=field)
    return text
