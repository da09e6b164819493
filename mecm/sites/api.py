"""Sites and the map's data over HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, OpenApiTypes, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import Denied
from core.http import AnyAccept, ApiView, event_stream, organisation_for, paginated
from core.live.guard import Pass
from core.live.hub import hub
from core.words import say
from mecm.nodes.models import Node
from mecm.sites import geojson, live, services
from mecm.sites.models import WIDEST, Site, SiteLink

#: Seconds between two looks of a stream, and its life: when it ends, the browser comes back and is checked anew.
LOOK, LIFE = 0.5, 600.0


class SiteOut(serializers.ModelSerializer[Site]):
    """A site."""

    organisation = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)

    class Meta:
        model = Site
        fields = [
            "id", "organisation", "name", "kind", "labels", "latitude", "longitude", "radius_m", "area", "created_at",
            "updated_at",
        ]  # fmt: skip


class SitePage(serializers.Serializer[Any]):
    """One page of sites."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = SiteOut(many=True)


class SiteChange(serializers.Serializer[Any]):
    """What may be said of a site."""

    name = serializers.CharField(max_length=80)
    kind = serializers.ChoiceField(Site.Kind.choices, default=Site.Kind.EDGE)
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False)
    radius_m = serializers.IntegerField(min_value=1, max_value=WIDEST, allow_null=True, required=False)
    area = serializers.JSONField(allow_null=True, required=False, help_text="GeoJSON Polygon or MultiPolygon")
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)


class SiteIn(SiteChange):
    """A new site."""

    organisation = serializers.CharField(required=False, help_text="slug or id")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A site is somewhere: at a position, or where its area is."""
        if not attrs.get("area") and ("latitude" not in attrs or "longitude" not in attrs):
            raise serializers.ValidationError({"latitude": say("Give a position or an area.")})
        return attrs


class SiteNodesIn(serializers.Serializer[Any]):
    """A node to place."""

    node = serializers.UUIDField()


class LinkOut(serializers.ModelSerializer[SiteLink]):
    """A link between two sites."""

    class Meta:
        model = SiteLink
        fields = ["id", "source", "target", "state", "note", "told_at"]


class LinkIn(serializers.Serializer[Any]):
    """A new link from this site."""

    target = serializers.UUIDField()
    state = serializers.ChoiceField(SiteLink.State.choices, default=SiteLink.State.UNKNOWN)
    note = serializers.CharField(max_length=200, allow_blank=True, default="")


class LinkChange(serializers.Serializer[Any]):
    """How a link is now."""

    state = serializers.ChoiceField(SiteLink.State.choices)
    note = serializers.CharField(max_length=200, allow_blank=True, required=False)


class ImportedOut(serializers.Serializer[Any]):
    """What an import did."""

    made = serializers.IntegerField()
    changed = serializers.IntegerField()
    links = serializers.IntegerField()


class SitesView(ApiView):
    """The sites that the actor may see."""

    permission_required = {"GET": "nodes.read", "POST": "nodes.write"}

    @extend_schema(
        operation_id="sites_list",
        parameters=[
            OpenApiParameter("organisation", str, description="slug or id; all of yours when it is left out"),
            OpenApiParameter("kind", str, enum=Site.Kind.values),
            OpenApiParameter("q", str, description="part of the name"),
            OpenApiParameter("page", int),
            OpenApiParameter("page_size", int),
        ],
        responses=SitePage,
    )
    def get(self, request: Request) -> Response:
        """List sites."""
        rows = Site.objects.visible_to(self.actor).select_related("organisation")
        if request.GET.get("organisation"):
            rows = rows.filter(organisation=organisation_for(request, "nodes.read"))
        if request.GET.get("kind") in Site.Kind.values:
            rows = rows.filter(kind=request.GET["kind"])
        if words := request.GET.get("q", "").replace("\x00", "").strip()[:200]:
            rows = rows.filter(name__icontains=words)
        return paginated(self, rows, lambda page: SiteOut(page, many=True).data)

    @extend_schema(request=SiteIn, responses={201: SiteOut})
    def post(self, request: Request) -> Response:
        """Add a site."""
        wanted = SiteIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        organisation = organisation_for(request, self.permission)
        facts = {key: value for key, value in wanted.validated_data.items() if key != "organisation"}
        site = services.add_site(actor=self.actor, organisation=organisation, **facts)
        return Response(SiteOut(site).data, status.HTTP_201_CREATED)


class SiteView(ApiView):
    """One site."""

    permission_required = {"GET": "nodes.read", "PATCH": "nodes.write", "DELETE": "nodes.write"}

    def _site(self, pk: UUID) -> Site:
        return access.get(Site.objects.select_related("organisation"), self.actor, self.permission, pk)

    @extend_schema(responses=SiteOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the site."""
        return Response(SiteOut(self._site(pk)).data)

    @extend_schema(request=SiteChange, responses=SiteOut)
    def patch(self, request: Request, pk: UUID) -> Response:
        """Change the site."""
        site = self._site(pk)
        wanted = SiteChange(data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        services.change_site(site, actor=self.actor, **wanted.validated_data)
        return Response(SiteOut(self._site(pk)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Forget the site; its nodes stay."""
        services.remove_site(self._site(pk), actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SiteNodesView(ApiView):
    """The nodes of a site."""

    permission_required = "nodes.write"

    @extend_schema(request=SiteNodesIn, responses={204: None})
    def post(self, request: Request, pk: UUID) -> Response:
        """Say that a node stands here; it leaves the site where it stood."""
        site = access.get(Site.objects.all(), self.actor, self.permission, pk)
        wanted = SiteNodesIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        node = access.get(Node.objects.all(), self.actor, self.permission, wanted.validated_data["node"])
        services.place_node(node, site, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SiteLinksView(ApiView):
    """Where traffic goes from a site."""

    permission_required = {"GET": "nodes.read", "POST": "nodes.write"}

    @extend_schema(responses=LinkOut(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the links from and to this site."""
        site = access.get(Site.objects.all(), self.actor, self.permission, pk)
        links = SiteLink.objects.filter(source=site) | SiteLink.objects.filter(target=site)
        return Response(LinkOut(links, many=True).data)

    @extend_schema(request=LinkIn, responses={201: LinkOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Connect the site to another one."""
        site = access.get(Site.objects.all(), self.actor, self.permission, pk)
        wanted = LinkIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = dict(wanted.validated_data)
        target = access.get(Site.objects.all(), self.actor, self.permission, given.pop("target"))
        link = services.connect(site, target, actor=self.actor, **given)
        return Response(LinkOut(link).data, status.HTTP_201_CREATED)


class LinkView(ApiView):
    """One link: a monitoring system tells its state here."""

    permission_required = "nodes.write"

    @extend_schema(request=LinkChange, responses=LinkOut)
    def patch(self, request: Request, pk: UUID) -> Response:
        """Say how the link is."""
        link = access.get(SiteLink.objects.select_related("source"), self.actor, self.permission, pk)
        wanted = LinkChange(data=request.data)
        wanted.is_valid(raise_exception=True)
        return Response(LinkOut(services.tell_link(link, actor=self.actor, **wanted.validated_data)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Forget the link."""
        link = access.get(SiteLink.objects.select_related("source"), self.actor, self.permission, pk)
        services.disconnect(link, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MapSitesView(ApiView):
    """Sites and links as GeoJSON."""

    permission_required = {"GET": "nodes.read", "POST": "nodes.write"}

    @extend_schema(
        parameters=[OpenApiParameter("organisation", str)],
        responses={(200, geojson.MEDIA_TYPE): OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the sites and links that the actor may see; `POST` takes the same document in."""
        sites = Site.objects.visible_to(self.actor)
        links = access.scoped(SiteLink.objects.all(), self.actor, "nodes.read")
        if request.GET.get("organisation"):
            organisation = organisation_for(request, "nodes.read")
            sites, links = sites.filter(organisation=organisation), links.filter(organisation=organisation)
        body = msgspec.json.encode(geojson.collection(sites, links))
        return HttpResponse(body, content_type=geojson.MEDIA_TYPE)

    @extend_schema(
        parameters=[OpenApiParameter("organisation", str)], request=OpenApiTypes.OBJECT, responses=ImportedOut
    )
    def post(self, request: Request) -> Response:
        """Make or change the sites and links of a GeoJSON FeatureCollection: all of them, or none."""
        organisation = organisation_for(request, self.permission)
        done = services.take_in(request.data, actor=self.actor, organisation=organisation)
        return Response(ImportedOut(done).data)


class MapNodesView(ApiView):
    """All nodes for the map, in columns."""

    permission_required = "nodes.read"

    @extend_schema(
        parameters=[OpenApiParameter("since", str, description="`version` of the answer that one has")],
        responses={200: OpenApiTypes.OBJECT, 304: OpenApiResponse(description="unchanged")},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return every node that the actor sees, or with `since` what changed (`gone`: those that went).

        The answer to a version that is too old, or another process's, is the whole again: it has `states`.
        """
        scope = _scope(self.actor)
        live.picture.refresh()
        if since := request.GET.get("since"):
            changes = live.picture.since(scope, since)
            if changes is not None:
                return _private(HttpResponse(changes, content_type="application/json"))
        whole = live.picture.whole(scope)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        etag = f'"{whole.tag}{"-gz" if packed else ""}"'
        known = parse_etags(request.headers.get("If-None-Match", ""))
        # RFC 9110, 13.1.2: weak comparison.
        if "*" in known or etag in {each.removeprefix("W/") for each in known}:
            answer: HttpResponseBase = HttpResponseNotModified()
        else:
            answer = HttpResponse(whole.packed if packed else whole.plain, content_type="application/json")
            if packed:
                answer["Content-Encoding"] = "gzip"
        answer["ETag"] = etag
        return _private(answer)


class MapStreamView(ApiView):
    """Changes of nodes, live."""

    permission_required = "nodes.read"
    content_negotiation_class = AnyAccept

    @extend_schema(
        parameters=[OpenApiParameter("since", str, description="`version` of the answer that one has")],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
        description="Server-sent events with what changed; the event `again` says to read everything anew",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Send what changed, each time something did."""
        scope = _scope(self.actor)
        since = request.headers.get("Last-Event-ID") or request.GET.get("since", "")
        return event_stream(follow(scope, since, Pass.of(request, self.actor)))


async def follow(
    scope: live.Scope,
    since: str,
    by: Pass | None = None,
    *,
    look: float = LOOK,
    life: float = LIFE,
    picture: live.Picture = live.picture,
) -> AsyncIterator[bytes]:
    """Yield server-sent events with what changed after `since`, until who came in `by` may not listen any more.

    However many streams are open, one of them reads for all: whoever finds that it is time.
    """
    yield b"retry: 2000\n\n"
    # Streams that were opened together shall not all end together.
    left, quiet = life * random.uniform(0.8, 1.2), 0.0  # noqa: S311
    with hub().guarded(by) as listener:
        while left > 0 and not listener.gone:
            if picture.due:
                await sync_to_async(_refresh, thread_sensitive=False)(picture)
            now = picture.tag(scope)
            if now != since:
                changes = picture.since(scope, since)
                # What one has is too old: reading everything is cheaper, and may be answered from a cache.
                event = b"event: again\ndata: {}\n\n" if changes is None else b"data: " + changes + b"\n\n"
                yield b"id: " + now.encode() + b"\n" + event
                since, quiet = now, 0.0
            elif quiet >= 15:
                quiet = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(look)
            left, quiet = left - look, quiet + look


def _refresh(picture: live.Picture) -> None:
    close_old_connections()
    try:
        picture.refresh()
    finally:
        close_old_connections()


def _scope(actor: access.Actor) -> live.Scope:
    scope = live.Scope.of(actor)
    if not scope.nodes:
        raise Denied(say("Your roles do not show you nodes."))
    return scope


def _private(answer: HttpResponseBase) -> HttpResponseBase:
    answer["Cache-Control"] = "private, no-cache"
    patch_vary_headers(answer, ["Accept-Encoding", "Authorization", "Cookie"])
    return answer
