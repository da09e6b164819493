"""What is inside a package, over HTTP."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.contents import comparing, media, sbom, services
from appstore.contents.models import Contents
from appstore.contents.showing import picture_url, readme_html
from appstore.packages import blobs
from appstore.packages.api import visible
from appstore.packages.models import Package
from core.errors import Missing
from core.http import AnyAccept, ApiView
from core.words import say

_TYPES = frozenset(media.TYPES.values())


class PermissionOut(serializers.Serializer[Any]):
    """One thing that the chart asks for."""

    code = serializers.CharField()
    severity = serializers.ChoiceField(["high", "medium", "low"])
    place = serializers.CharField()
    words = serializers.CharField()
    value = serializers.CharField()


class ImageFactOut(serializers.Serializer[Any]):
    """One image that the chart runs or the package carries."""

    reference = serializers.CharField()
    digest = serializers.CharField()
    pinned = serializers.BooleanField()
    carried = serializers.BooleanField()
    size = serializers.IntegerField()
    architecture = serializers.CharField()
    used_by = serializers.ListField(child=serializers.CharField())
    image_id = serializers.CharField()


class ChangeOut(serializers.Serializer[Any]):
    """One line of the changelog."""

    kind = serializers.ChoiceField(["security", "added", "changed", "deprecated", "removed", "fixed"])
    text = serializers.CharField()


class PictureOut(serializers.Serializer[Any]):
    """One picture of the package, and where it is served."""

    kind = serializers.ChoiceField(["icon", "screenshot", "readme"])
    name = serializers.CharField()
    title = serializers.CharField()
    content_type = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    size = serializers.IntegerField()
    url = serializers.CharField()


class ContentsOut(serializers.Serializer[Any]):
    """The facts about the inside of a package; the components are counted here and listed in the bill of materials."""

    package = serializers.UUIDField()
    sha256 = serializers.CharField()
    made_at = serializers.DateTimeField()
    permissions = PermissionOut(many=True)
    images = ImageFactOut(many=True)
    licences = serializers.ListField(child=serializers.CharField())
    changes = ChangeOut(many=True)
    keywords = serializers.ListField(child=serializers.CharField())
    category = serializers.CharField()
    maintainers = serializers.ListField(child=serializers.CharField())
    objects = serializers.ListField(child=serializers.DictField())
    ports = serializers.ListField(child=serializers.DictField())
    problems = serializers.ListField(child=serializers.CharField())
    rendered = serializers.BooleanField(help_text="whether what the chart asks for could be found out", default=True)
    parts = serializers.DictField(child=serializers.CharField())
    components = serializers.DictField(child=serializers.IntegerField(), help_text="how many of each kind")
    pictures = PictureOut(many=True)
    sbom_sha256 = serializers.CharField()
    sbom_size = serializers.IntegerField()


class StepOut(serializers.Serializer[Any]):
    """One difference."""

    what = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    severity = serializers.CharField()


class TopicOut(serializers.Serializer[Any]):
    """What came, went and changed in one topic."""

    added = StepOut(many=True)
    removed = StepOut(many=True)
    changed = StepOut(many=True)


DifferenceOut: Any = type(
    "DifferenceOut",
    (serializers.Serializer,),
    {
        "__doc__": "What differs from the release before.",
        "previous": serializers.CharField(),
        "needs_review": serializers.BooleanField(),
        "reasons": serializers.ListField(child=serializers.CharField()),
        "parts": serializers.ListField(child=serializers.CharField()),
        **{topic: TopicOut() for topic in comparing.TOPICS},
    },
)


class ReadmeOut(serializers.Serializer[Any]):
    """The README as it was written, and as harmless HTML."""

    markdown = serializers.CharField()
    html = serializers.CharField()
    plain = serializers.BooleanField(help_text="whether it is shown as it is")


def contents_for(view: ApiView, pk: UUID) -> Contents:
    """Return the contents of a package that the actor may see; `Missing` while nobody has looked inside."""
    package = visible(view.actor, pk, Package.objects.all())
    contents = services.of(package)
    if contents is None:
        raise Missing(say("Nobody has looked into this package yet; a worker does so after its check."))
    contents.package = package
    return contents


class ContentsView(ApiView):
    """The facts about the inside of a package."""

    permission_required = "packages.read"

    @extend_schema(responses=ContentsOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return what is inside; 404 until a worker has looked."""
        contents = contents_for(self, pk)
        facts = {**contents.facts}
        facts["components"] = Counter(str(each.get("kind")) for each in facts.pop("components", []))
        pictures = [{**p, "url": picture_url(pk, p["name"])} for p in contents.pictures]
        row = {n: getattr(contents, n) for n in ("sha256", "made_at", "sbom_sha256", "sbom_size")}
        return Response(ContentsOut({**facts, **row, "package": pk, "pictures": pictures}).data)


class SbomView(ApiView):
    """The bill of materials."""

    permission_required = "packages.read"
    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, sbom.MEDIA_TYPE): OpenApiTypes.OBJECT})
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Download it as CycloneDX 1.6 JSON."""
        contents = contents_for(self, pk)
        name = f"{contents.package.name or 'package'}-{contents.package.version}.cdx.json".replace("/", "_")
        kind = f"{sbom.MEDIA_TYPE}; version={sbom.SPECIFICATION}"
        return _file(request, contents.sbom_sha256, kind, attachment=name)


class ValuesSchemaView(ApiView):
    """The schema of the chart's values."""

    permission_required = "packages.read"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the JSON schema; 404 when the chart has none."""
        schema = contents_for(self, pk).values_schema
        if schema is None:
            raise Missing(say("The chart of this package has no values schema."))
        return Response(schema)


class DifferenceView(ApiView):
    """What differs from the release before."""

    permission_required = "packages.read"

    @extend_schema(responses=DifferenceOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Compare with the release before, as far as one may see it; 404 when there is none."""
        package = visible(self.actor, pk, Package.objects.all())
        found = services.difference(package, actor=self.actor)
        if found is None:
            raise Missing(say("There is no release before this one that it can be compared with."))
        return Response(DifferenceOut(found.as_dict()).data)


class ReadmeView(ApiView):
    """The README."""

    permission_required = "packages.read"

    @extend_schema(responses=ReadmeOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the text and harmless HTML of it; 404 when there is none."""
        contents = contents_for(self, pk)
        if not contents.readme:
            raise Missing(say("This package has no README."))
        return Response({"markdown": contents.readme, "html": readme_html(contents), "plain": contents.readme_plain})


class IconView(ApiView):
    """The icon."""

    permission_required = "packages.read"
    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Return the icon as PNG, JPEG or WebP; 404 when the package brings none."""
        icons = contents_for(self, pk).pictures_of("icon")
        if not icons:
            raise Missing(say("This package has no icon."))
        return _picture(request, icons[0])


class MediaView(ApiView):
    """One picture of the package."""

    permission_required = "packages.read"
    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, "image/png"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID, name: str) -> HttpResponseBase:
        """Return a picture that was found in the package, under the name that `contents` tells."""
        found = next((each for each in contents_for(self, pk).pictures if each["name"] == name), None)
        if found is None:
            raise Missing(say("There is no such picture in this package."))
        return _picture(request, found)


def _picture(request: Request, picture: dict[str, Any]) -> HttpResponseBase:
    # The type is one of ours, never the author's.
    kind = picture["content_type"] if picture["content_type"] in _TYPES else "application/octet-stream"
    response = _file(request, picture["sha256"], kind)
    # Opened by itself it is a document of our site, so it may do nothing.
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _file(request: Request, sha256: str, content_type: str, attachment: str = "") -> HttpResponseBase:
    etag = quote_etag(sha256)
    headers = {"ETag": etag, "X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304, headers=headers)
    path = blobs.path_of(sha256)
    if not path.exists():
        raise Missing(say("This file is no longer in the store."))
    response = FileResponse(
        path.open("rb"), as_attachment=bool(attachment), filename=attachment, content_type=content_type
    )
    for name, value in headers.items():
        response[name] = value
    return response
