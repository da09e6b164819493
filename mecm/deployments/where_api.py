"""Where a release could run, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages.models import Package
from core.errors import Invalid, Missing
from core.http import ApiView, Pagination, organisation_for
from core.words import say
from mecm.deployments import placement, where
from mecm.deployments.serializers import NodeRef, ReasonOut

#: What is known of the nodes of partner stores. Nothing that federation carries speaks of nodes (appstore.federation).
PARTNERS = say(
    "Partner stores do not tell which nodes they have or what is free on them; ask the question in their store."
)


class CodeCount(serializers.Serializer[Any]):
    """One kind of reason, and how many nodes it is about."""

    code = serializers.CharField()
    nodes = serializers.IntegerField()


class RunningOut(serializers.Serializer[Any]):
    """A deployment of the same application that is there already."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    version = serializers.CharField()
    state = serializers.CharField()


class PlaceOut(serializers.Serializer[Any]):
    """One node: whether it fits there, every reason against it, what to know, and what runs there."""

    node = NodeRef()
    organisation = serializers.CharField()
    fits = serializers.BooleanField()
    reasons = ReasonOut(many=True)
    remarks = ReasonOut(many=True)
    running = RunningOut(many=True)


class PartnersOut(serializers.Serializer[Any]):
    """What is known of the nodes of partner stores."""

    known = serializers.BooleanField()
    detail = serializers.CharField()


class WhereOut(serializers.Serializer[Any]):
    """A page of nodes, with numbers of all nodes that were judged."""

    count = serializers.IntegerField(help_text="nodes that the filters leave")
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    nodes = serializers.IntegerField(help_text="nodes that were judged")
    fits = serializers.IntegerField(help_text="on how many of them it fits")
    running = serializers.IntegerField(help_text="on how many of them the application runs already")
    refused = serializers.CharField(help_text="why the organisation may run it nowhere; empty when it may")
    reasons = CodeCount(many=True)
    remarks = CodeCount(many=True, help_text="of the nodes where it fits")
    partners = PartnersOut()
    results = PlaceOut(many=True)


class WhereView(ApiView):
    """Where a release could run."""

    permission_required = "deployments.write"

    @extend_schema(
        operation_id="packages_where_retrieve",
        parameters=[
            OpenApiParameter("organisation", str, description="who would run it: slug or id"),
            OpenApiParameter("q", str, description="part of a node's name"),
            OpenApiParameter("fits", OpenApiTypes.BOOL, description="only where it fits, or only where it does not"),
            OpenApiParameter("code", str, description="only nodes with this kind of reason or remark"),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=WhereOut,
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Judge every node that you may deploy to, with every reason why not; the best places come first."""
        package = Package.objects.visible_to(self.actor).filter(pk=pk).first()
        if package is None:
            raise Missing(say("There is no such package, or you may not see it."))
        organisation = organisation_for(request, self.permission)
        words = request.GET.get("q", "")
        if "\x00" in words:
            raise Invalid(say("q must hold no NUL"), field="q")
        found = where.could_run(package, actor=self.actor, organisation=organisation, words=words[:200])
        wanted = found.only(fits=_yes_or_no(request.GET.get("fits", "")), code=request.GET.get("code", ""))
        pages = Pagination()
        rows: Any = pages.paginate_queryset(wanted, request, view=self)  # type: ignore[arg-type]
        answer = pages.get_paginated_response([_told(place) for place in rows])
        listed = answer.data.pop("results")
        answer.data |= {
            "nodes": len(found.places),
            "fits": found.fits,
            "running": found.running,
            "refused": found.refused,
            "reasons": [{"code": code, "nodes": nodes} for code, nodes in found.reasons()],
            "remarks": [{"code": code, "nodes": nodes} for code, nodes in found.remarks()],
            "partners": {"known": False, "detail": PARTNERS},
            "results": listed,
        }
        return answer


def _told(place: where.Place) -> dict[str, Any]:
    return {
        "node": NodeRef(place.node).data,
        "organisation": place.node.organisation.slug,
        **placement.as_document(place.placement),
        "running": RunningOut(place.running, many=True).data,
    }


def _yes_or_no(text: str) -> bool | None:
    if text in ("", "true", "false"):
        return {"true": True, "false": False}.get(text)
    raise Invalid(say("fits must be true or false"), errors=[{"field": "fits", "detail": say("must be true or false")}])
