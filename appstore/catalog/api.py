"""The catalogue over HTTP: search, applications, badges."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils.cache import patch_cache_control
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.catalog import apps_of, badges, notices, search
from appstore.catalog.models import App, Listing, Release
from core.accounts.access import Actor
from core.errors import Missing
from core.http import ApiView
from core.words import say


class AppRow(serializers.Serializer[Any]):
    """An application in its newest release that the asker may see."""

    app = serializers.IntegerField()
    name = serializers.CharField()
    provider = serializers.CharField()
    version = serializers.CharField()
    state = serializers.CharField()
    package = serializers.UUIDField(allow_null=True, help_text="the package when it is in this store")
    page = serializers.CharField(help_text="path of its page")
    description = serializers.CharField()
    category = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    architectures = serializers.ListField(child=serializers.CharField())
    services = serializers.ListField(child=serializers.CharField())
    licences = serializers.ListField(child=serializers.CharField())
    certification = serializers.CharField(help_text="the highest valid level, empty without one")
    signature = serializers.ChoiceField(["unsigned", "unknown", "trusted", "broken"])
    store = serializers.CharField(help_text="id of the store it comes from, empty for this one")
    store_name = serializers.CharField()
    visibility = serializers.CharField()
    published_at = serializers.DateTimeField()
    size = serializers.IntegerField()
    downloads = serializers.IntegerField()
    deployments = serializers.IntegerField()
    rating = serializers.FloatField(help_text="mean of 1 to 5, 0 without a rating")
    ratings = serializers.IntegerField()


class ReleaseRow(serializers.Serializer[Any]):
    """One release of an application."""

    version = serializers.CharField()
    state = serializers.CharField()
    package = serializers.UUIDField(allow_null=True)
    published_at = serializers.DateTimeField()
    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    changes = serializers.ListField(child=serializers.DictField(child=serializers.CharField()))
    downloads = serializers.IntegerField()


class AppOut(AppRow):
    """An application with its releases, newest first."""

    favourite = serializers.BooleanField()
    followed = serializers.BooleanField()
    releases = ReleaseRow(many=True)


class ChoiceOut(serializers.Serializer[Any]):
    """A value of a facet, and how many applications have it."""

    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF has an attribute of that name
    count = serializers.IntegerField()
    chosen = serializers.BooleanField()


class FacetOut(serializers.Serializer[Any]):
    """A facet, counted without its own choice; `left` values are not listed."""

    name = serializers.ChoiceField(list(search.FACETS))
    label = serializers.CharField()  # type: ignore[assignment]
    left = serializers.IntegerField()
    choices = ChoiceOut(many=True)


class CatalogueOut(serializers.Serializer[Any]):
    """One page of what was found."""

    count = serializers.IntegerField()
    page = serializers.IntegerField()
    pages = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    used = serializers.CharField(help_text="the words that the results match, when nothing matched those asked for")
    suggestion = serializers.CharField(help_text="words that may have been meant")
    some = serializers.BooleanField(help_text="the results have only some of the words")
    facets = FacetOut(many=True)
    results = AppRow(many=True)


def app_row(row: Listing | Release) -> dict[str, Any]:
    """Return an application as JSON, in the release of this listing or in this one."""
    release = row.release if isinstance(row, Listing) else row
    if release is None:
        raise Missing(say("There is no such application, or you may not see it."))
    app, data = release.app, release.data
    return {
        "app": app.pk,
        "name": app.name,
        "provider": app.provider,
        "version": release.version,
        "state": release.state,
        "package": release.package_id,
        "page": notices.address_of(release),
        "description": data.get("description", ""),
        "category": data.get("category", ""),
        "keywords": data.get("keywords", []),
        "architectures": data.get("architectures", []),
        "services": data.get("services", []),
        "licences": data.get("licences", []),
        "certification": data.get("certification", ""),
        "signature": data.get("signature", "unsigned"),
        "store": data.get("origin", ""),
        "store_name": data.get("origin_name", ""),
        "visibility": release.visibility,
        "published_at": release.published_at,
        "size": data.get("size", 0),
        "downloads": app.downloads,
        "deployments": app.deployments,
        "rating": app.rating,
        "ratings": app.rating_count,
    }


_FACET_PARAMETERS = [
    OpenApiParameter(facet, many=True, description=f"{label}; several are alternatives")
    for facet, label in search.FACETS.items()
]


class CatalogueView(ApiView):
    """The search of the store."""

    permission_required = "packages.read"

    @extend_schema(
        operation_id="catalogue_search",
        responses=CatalogueOut,
        parameters=[
            OpenApiParameter("q", description="words; each also finds words that begin with it"),
            *_FACET_PARAMETERS,
            OpenApiParameter("sort", enum=list(search.SORTS)),
            OpenApiParameter("page", OpenApiTypes.INT),
            OpenApiParameter("page_size", OpenApiTypes.INT, description=f"at most {search.MOST_PER_PAGE}"),
        ],
    )
    def get(self, request: Request) -> Response:
        """Search: all public applications and those of one's organisations, each in its newest release."""
        size = request.GET.get("page_size", "")
        query = search.Query.of(request.GET, int(size) if size.isascii() and size.isdigit() and len(size) < 6 else 24)
        found = search.search(query, self.actor, values=50)
        base = request.path
        extra = f"&page_size={query.size}" if size else ""
        # The answer is written as it is: a serializer for each of hundreds of values costs more than the search.
        return Response(
            {
                "count": found.total,
                "page": found.page,
                "pages": found.pages,
                "next": base + query.address(page=found.page + 1) + extra if found.page < found.pages else None,
                "previous": base + (query.address(page=found.page - 1) or "?") + extra if found.page > 1 else None,
                "used": found.used,
                "suggestion": found.suggestion,
                "some": found.some,
                "facets": [
                    {
                        "name": facet.name,
                        "label": facet.label,
                        "left": facet.left,
                        "choices": [
                            {"value": c.value, "label": c.label, "count": c.count, "chosen": c.chosen}
                            for c in facet.choices
                        ],
                    }
                    for facet in found.facets
                ],
                "results": [app_row(row) for row in found.rows],
            }
        )


def _whole(actor: Actor, app: App) -> dict[str, Any]:
    releases = apps_of.releases(actor, app)
    if not releases:
        raise Missing(say("There is no such application, or you may not see it."))
    about = apps_of.standing(actor, app)
    return {
        **app_row(releases[0]),
        "favourite": about.favourite,
        "followed": about.followed,
        "releases": [
            {
                "version": row.version,
                "state": row.state,
                "package": row.package_id,
                "published_at": row.published_at,
                "sha256": row.data.get("sha256", ""),
                "size": row.data.get("size", 0),
                "changes": apps_of.changes(row),
                "downloads": row.downloads,
            }
            for row in releases
        ],
    }


class AppView(ApiView):
    """One application."""

    permission_required = "packages.read"

    @extend_schema(operation_id="catalogue_app", responses=AppOut)
    def get(self, request: Request, app: int) -> Response:
        """Return an application with the releases that one may see, newest first."""
        return Response(_whole(self.actor, apps_of.get(self.actor, app)))


class NamedAppView(ApiView):
    """One application by its name."""

    permission_required = "packages.read"

    @extend_schema(operation_id="catalogue_app_by_name", responses=AppOut)
    def get(self, request: Request, organisation: str, provider: str, name: str) -> Response:
        """Return an application of an organisation of this store by provider and name."""
        return Response(_whole(self.actor, apps_of.named(self.actor, organisation, provider, name)))


class FavouriteView(ApiView):
    """One's favourite applications."""

    permission_required = "packages.read"

    @extend_schema(operation_id="catalogue_favour", request=None, responses={204: None})
    def put(self, request: Request, app: int) -> Response:
        """Make it a favourite."""
        notices.favour(self.actor, apps_of.get(self.actor, app))
        return Response(status=204)

    @extend_schema(operation_id="catalogue_unfavour", responses={204: None})
    def delete(self, request: Request, app: int) -> Response:
        """Make it no favourite."""
        notices.favour(self.actor, apps_of.get(self.actor, app), on=False)
        return Response(status=204)


class FollowView(ApiView):
    """What one wants to hear of."""

    permission_required = "packages.read"

    @extend_schema(operation_id="catalogue_follow", request=None, responses={204: None})
    def put(self, request: Request, app: int) -> Response:
        """Follow an application."""
        notices.follow(self.actor, app=apps_of.get(self.actor, app))
        return Response(status=204)

    @extend_schema(operation_id="catalogue_unfollow", responses={204: None})
    def delete(self, request: Request, app: int) -> Response:
        """Follow it no longer."""
        notices.follow(self.actor, app=apps_of.get(self.actor, app), on=False)
        return Response(status=204)


class BadgeView(ApiView):
    """Small pictures for READMEs: public, of public releases only."""

    public = True
    authentication_classes = []

    @extend_schema(
        operation_id="catalogue_badge",
        responses={(200, "image/svg+xml"): OpenApiTypes.STR},
        parameters=[OpenApiParameter("kind", location="path", enum=list(badges.KINDS))],
    )
    def get(self, request: Request, pk: UUID, kind: str) -> HttpResponse:
        """Return a badge of the newest public release of the application that a package belongs to."""
        text = badges.badge(pk, kind)
        etag = quote_etag(badges.mark(text))
        if request.headers.get("If-None-Match") == etag:
            response = HttpResponse(status=304)
        else:
            response = HttpResponse(text, content_type="image/svg+xml; charset=utf-8")
            # A picture that is opened by itself runs nothing.
            response["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
            response["X-Content-Type-Options"] = "nosniff"
        response["ETag"] = etag
        patch_cache_control(response, public=True, max_age=300)
        return response
