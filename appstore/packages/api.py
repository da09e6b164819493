"""Packages over HTTP."""

from __future__ import annotations

import base64
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages import blobs, formats, life, services, states, uploads
from appstore.packages.models import Package, ReleaseEvent
from core.accounts import access
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Invalid, Missing
from core.findings import Level
from core.http import ApiView, organisation_for, paginated, problem_response, request_actor, sse
from core.live.hub import Topic
from core.operations.api import OperationOut
from core.operations.models import Operation
from core.words import say

_LEVELS = [str(level) for level in Level]
#: What states were called before.
_OLD_STATES = {"withdrawn": states.YANKED}


class OrganisationRef(serializers.ModelSerializer[Organisation]):
    """The organisation that owns a package."""

    class Meta:
        model = Organisation
        fields = ["id", "slug", "name"]


class FindingOut(serializers.Serializer[Any]):
    """One problem of a package, with its place and a way out."""

    level = serializers.ChoiceField(_LEVELS)
    code = serializers.CharField(default="")
    place = serializers.CharField(default="")
    message = serializers.CharField(default="")
    remedy = serializers.CharField(default="")


class FindingCounts(serializers.Serializer[Any]):
    """How many findings there are of each level."""

    error = serializers.IntegerField()
    warning = serializers.IntegerField()
    info = serializers.IntegerField()


class PackageRow(serializers.ModelSerializer[Package]):
    """A package in a list."""

    organisation = OrganisationRef()
    counts = serializers.SerializerMethodField()
    withdrawn_at = serializers.SerializerMethodField()

    class Meta:
        model = Package
        fields = [
            "id", "organisation", "filename", "sha256", "size", "format", "state", "name", "provider", "version",
            "app_d_id", "description", "compute", "counts", "visibility", "origin", "state_at", "state_reason",
            "successor", "created_at", "checked_at", "published_at", "withdrawn_at",
        ]  # fmt: skip

    @extend_schema(responses=FindingCounts)
    def get_counts(self, package: Package) -> dict[str, int]:
        """Count the findings by level."""
        return counts_of(package)

    def get_withdrawn_at(self, package: Package) -> datetime | None:
        """Deprecated: when it was yanked; `state_at` says it for every state."""
        return package.state_at if package.state == states.YANKED else None


class PackageOut(PackageRow):
    """A package with all that is known about it."""

    findings = FindingOut(many=True)
    withdrawn_reason = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField()

    class Meta(PackageRow.Meta):
        fields = [
            *PackageRow.Meta.fields, "descriptor", "findings", "signature", "chart_sha256", "images",
            "notes", "withdrawn_reason", "operation",
        ]  # fmt: skip

    def get_operation(self, package: Package) -> UUID | None:
        """The check that is under way or was the last; only members of the organisation are told."""
        return self.context.get("operation")

    def get_withdrawn_reason(self, package: Package) -> str:
        """Deprecated: why it was yanked; `state_reason` says it for every state."""
        return package.state_reason if package.state == states.YANKED else ""


class PublishIn(serializers.Serializer[Any]):
    """Who shall see the release."""

    visibility = serializers.ChoiceField(Package.Visibility.choices, required=False)


class EventOut(serializers.ModelSerializer[ReleaseEvent]):
    """One deed in the life of a package."""

    class Meta:
        model = ReleaseEvent
        fields = ["deed", "before", "after", "reason", "actor", "facts", "at"]


def counts_of(package: Package) -> dict[str, int]:
    """Return how many findings of each level a package has."""
    return {level: sum(f.get("level") == level for f in package.findings) for level in _LEVELS}


def rows() -> QuerySet[Package]:
    """Packages with what their answers need."""
    return Package.objects.select_related("organisation")


def answer(package: Package, actor: access.Actor, status: int = 200) -> Response:
    """Return the whole package; its last operation only to members."""
    mine = actor.may("packages.read", package.organisation_id)
    about = Operation.objects.filter(target=services.target_of(package)).order_by("-created_at")
    operation = about.values_list("pk", flat=True).first() if mine else None
    return Response(PackageOut(package, context={"operation": operation}).data, status)


def visible(actor: access.Actor, pk: Any, queryset: QuerySet[Package] | None = None) -> Package:
    """Return a package that the actor may see: an own one, or a published one; reviewers of the store see more."""
    queryset = rows() if queryset is None else queryset
    found = queryset.visible_to(actor).filter(pk=pk).first()  # type: ignore[attr-defined]
    if found is None:
        found = queryset.within_reach_of(actor).filter(pk=pk).first()  # type: ignore[attr-defined]
    if found is None:
        raise Missing(say("There is no such object, or you may not see it."))
    return found  # type: ignore[no-any-return]


class _Negotiation(DefaultContentNegotiation):
    """Leaves `?format=` to us: it is the format of packages, not of answers."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


class PackagesView(ApiView):
    """The packages that one may see, and the door for new ones."""

    content_negotiation_class = _Negotiation
    permission_required = {"GET": "packages.read", "POST": "packages.write"}
    parser_classes = []  # the body of an upload is read by `uploads`, in pieces

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Keep the check against forged requests from reading an upload to look for its token in the form."""
        made: Any = super().initialize_request(request, *args, **kwargs)
        if request.method == "POST":
            # It finds an empty form and then looks at X-CSRFToken, which a browser's script sends.
            made._data = made._full_data = QueryDict()
            made._files = MultiValueDict()
        return made  # type: ignore[no-any-return]

    @extend_schema(
        responses=PackageRow(many=True),
        parameters=[
            OpenApiParameter("q", description="words in name, provider, description or file name"),
            OpenApiParameter("state", enum=[*states.STATES, *_OLD_STATES]),
            OpenApiParameter("format", description="short name of a package format"),
            OpenApiParameter("organisation", description="slug or id"),
            OpenApiParameter("page", OpenApiTypes.INT),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        """List packages, newest first: all of one's own organisations, and what others have published."""
        found = rows().visible_to(self.actor)  # type: ignore[attr-defined]
        wanted = request.GET
        if wanted.get("q"):
            found = found.matching(wanted["q"][:200].replace("\x00", " "))
        if wanted.get("state"):
            state = _OLD_STATES.get(wanted["state"], wanted["state"])
            if state not in states.STATES:
                raise Invalid(say("state must be one of {states}", states=", ".join(states.STATES)))
            found = found.filter(state=state)
        if wanted.get("format"):
            if wanted["format"] not in formats.registry.names():
                raise Invalid(say("format must be one of {names}", names=", ".join(formats.registry.names())))
            found = found.filter(format=wanted["format"])
        if wanted.get("organisation"):
            found = found.filter(organisation__in=_organisations(wanted["organisation"]))
        return paginated(self, found, lambda page: PackageRow(page, many=True).data)

    @extend_schema(
        request={
            "application/octet-stream": OpenApiTypes.BINARY,
            "multipart/form-data": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}},
        },
        parameters=[
            OpenApiParameter("filename", description="name of the file when the body is the file itself"),
            OpenApiParameter(
                "organisation", description="slug or id; default: one's only or first with the permission"
            ),
            OpenApiParameter("X-Content-SHA256", location="header", description="SHA-256 that the file must have"),
        ],
        responses={
            201: PackageOut,
            400: OpenApiResponse(description="empty, broken off, or another digest than told"),
            409: OpenApiResponse(description="the same bytes are here already; `package` is the id"),
            413: OpenApiResponse(description="larger than this store takes"),
        },
    )
    def post(self, request: Request) -> Response:
        """Upload a package and have it checked; the answer names the operation that does so."""
        plain = request._request
        organisation = organisation_for(plain, self.permission)
        expected = uploads.expected_digest(plain)
        uploads.check_length(plain)
        if uploads.is_question(plain):
            return Response(status=204)
        with uploads.received(plain) as (file, name):
            package = services.take_in(
                file, actor=self.actor, organisation=organisation, filename=name, expected=expected
            )
        response = answer(package, self.actor, 201)
        response["Location"] = f"/api/v1/packages/{package.pk}"
        return response


def _organisations(named: str) -> QuerySet[Organisation]:
    try:
        return Organisation.objects.filter(pk=UUID(named))
    except ValueError:
        return Organisation.objects.filter(slug=named.replace("\x00", " "))


class PackageView(ApiView):
    """One package."""

    permission_required = {"GET": "packages.read", "DELETE": "packages.write"}

    @extend_schema(responses=PackageOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return all that is known about it."""
        return answer(visible(self.actor, pk), self.actor)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Discard a package that never was published; 409 for a release."""
        services.discard(access.get(Package.objects.all(), self.actor, self.permission, pk), actor=self.actor)
        return Response(status=204)


class CheckView(ApiView):
    """Check a package again."""

    permission_required = "packages.write"

    @extend_schema(request=None, responses={202: OperationOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Ask for a check; the answer is the operation."""
        package = access.get(Package.objects.all(), self.actor, self.permission, pk)
        return Response(OperationOut(services.request_check(package, actor=self.actor)).data, 202)


class PublishView(ApiView):
    """Make a package a release."""

    permission_required = "packages.publish"

    @extend_schema(request=PublishIn, responses=PackageOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Publish a package that has passed its check; 409 when it has not, or when that version exists.

        Where somebody must look first, the state of the answer is `in-review`.
        """
        package = access.get(rows(), self.actor, self.permission, pk)
        said = PublishIn(data=request.data)
        said.is_valid(raise_exception=True)
        package = services.publish(package, actor=self.actor, visibility=said.validated_data.get("visibility", ""))
        return answer(package, self.actor)


class HistoryView(ApiView):
    """What was done to a package."""

    permission_required = "packages.read"

    @extend_schema(responses=EventOut(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """List the deeds, newest first; for members of its organisation, and of the one that runs the store."""
        package = visible(self.actor, pk, Package.objects.all())
        life.stands(self.actor, self.permission, package)
        return paginated(self, package.events.all(), lambda page: EventOut(page, many=True).data)


class ContentView(ApiView):
    """The package file itself."""

    permission_required = "packages.read"

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Download it; `Repr-Digest` (RFC 9530) tells its SHA-256."""
        package = visible(self.actor, pk, Package.objects.all())
        etag = quote_etag(package.sha256)
        if request.headers.get("If-None-Match") == etag:
            return HttpResponse(status=304, headers={"ETag": etag})
        path = blobs.path_of(package.sha256)
        if not path.exists():
            raise Missing(say("The file of this package is no longer in the store."))
        response = FileResponse(
            path.open("rb"), as_attachment=True, filename=package.filename, content_type="application/octet-stream"
        )
        response["ETag"] = etag
        response["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(package.sha256)).decode()}:"
        response["X-Content-Type-Options"] = "nosniff"
        return response


def stream(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Follow the state of a package and its check as server-sent events, until nothing is under way."""
    try:
        actor = request_actor(request)
        access.get(Package.objects.all(), actor, "packages.read", pk)
    except BreakwaterError as error:
        return problem_response(error, request)

    def look() -> dict[str, Any] | None:
        package = Package.objects.filter(pk=pk).defer("descriptor").first()
        if package is None:
            return None
        operation = Operation.objects.filter(target=services.target_of(package)).order_by("-created_at").first()
        return {
            "state": package.state,
            "name": package.name,
            "version": package.version,
            "counts": counts_of(package),
            "operation": OperationOut(operation).data if operation else None,
            "finished": operation is None or operation.finished,
        }

    return sse(request, Topic("package", pk, look), actor)
