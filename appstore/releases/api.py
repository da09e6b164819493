"""Reviews, the rules of the store about releases, and recalls over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages.api import OrganisationRef, PackageOut, answer
from appstore.packages.life import stands
from appstore.packages.life_api import MayReasonIn, ReasonIn, successor_of
from appstore.packages.models import Package
from appstore.releases import reviewing, services
from appstore.releases.models import Recall, RecalledPackage, ReleasePolicy, Review
from core import recalls
from core.errors import Invalid, Missing
from core.frames import canonical
from core.http import ApiView, paginated
from core.words import say


class PackageRef(serializers.ModelSerializer[Package]):
    """A package by name."""

    class Meta:
        model = Package
        fields = ["id", "name", "provider", "version", "state", "sha256"]


class ReasonOut(serializers.Serializer[Any]):
    """Why somebody should look."""

    code = serializers.CharField()
    words = serializers.CharField()
    store = serializers.BooleanField()


class ReviewOut(serializers.ModelSerializer[Review]):
    """A review."""

    package = PackageRef()
    previous = PackageRef(allow_null=True)
    organisation = OrganisationRef()
    reasons = ReasonOut(many=True)
    submitted_by = serializers.StringRelatedField[Any](allow_null=True)
    decided_by = serializers.StringRelatedField[Any](allow_null=True)

    class Meta:
        model = Review
        fields = [
            "id", "package", "previous", "organisation", "reasons", "by_store", "state", "submitted_by", "submitted_at",
            "decided_by", "decided_at", "decision",
        ]  # fmt: skip


class PolicyOut(serializers.ModelSerializer[ReleasePolicy]):
    """The rules of the store about releases."""

    freeze_days = serializers.IntegerField(min_value=0, max_value=3650)

    class Meta:
        model = ReleasePolicy
        fields = ["review", "freeze_days"]


class RecalledOut(serializers.ModelSerializer[RecalledPackage]):
    """One package of a recall."""

    class Meta:
        model = RecalledPackage
        fields = ["package", "sha256", "by_bytes", "app_d_id", "name", "provider", "version"]


class RecallOut(serializers.ModelSerializer[Recall]):
    """A recall."""

    packages = RecalledOut(many=True)
    organisation = OrganisationRef()

    class Meta:
        model = Recall
        fields = [
            "id", "organisation", "reason", "severity", "advice", "action", "serial", "origin", "origin_ref",
            "issued_by", "issued_at", "lifted_by", "lifted_at", "lift_reason", "packages",
        ]  # fmt: skip


class RecallIn(serializers.Serializer[Any]):
    """What is recalled, and why."""

    packages = serializers.ListField(child=serializers.UUIDField(), required=False, default=list, max_length=500)
    digests = serializers.ListField(
        child=serializers.CharField(max_length=80), required=False, default=list, max_length=500
    )
    reason = serializers.CharField(max_length=500)
    severity = serializers.ChoiceField(recalls.SEVERITIES, default="high")
    advice = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
    action = serializers.ChoiceField(recalls.ACTIONS, default=recalls.STOP)
    successor = serializers.UUIDField(required=False, allow_null=True, default=None)


class ReviewsView(ApiView):
    """The reviews that one may see."""

    permission_required = "packages.read"

    @extend_schema(
        responses=ReviewOut(many=True),
        parameters=[
            OpenApiParameter("state", enum=Review.State.values),
            OpenApiParameter("page", OpenApiTypes.INT),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
    )
    def get(self, request: Request) -> Response:
        """List reviews, newest first."""
        found = review_rows().visible_to(self.actor)  # type: ignore[attr-defined]
        if state := request.GET.get("state"):
            if state not in Review.State.values:
                raise Invalid(say("state must be one of {values}", values=", ".join(Review.State.values)))
            found = found.filter(state=state)
        return paginated(self, found, lambda page: ReviewOut(page, many=True).data)


class ReviewView(ApiView):
    """One review."""

    permission_required = "packages.read"

    @extend_schema(responses=ReviewOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return it with its reasons and how it was decided."""
        return Response(ReviewOut(visible_review(self.actor, pk)).data)


class _Decision(ApiView):
    """One way to end a review."""

    permission_required = "packages.read"
    form: ClassVar[type[serializers.Serializer[Any]]] = MayReasonIn
    deed: ClassVar[Callable[..., Package]]

    def post(self, request: Request, pk: UUID) -> Response:
        """Decide, and return the package as it is then."""
        review = visible_review(self.actor, pk)
        said = self.form(data=request.data)
        said.is_valid(raise_exception=True)
        return answer(type(self).deed(review, actor=self.actor, **said.validated_data), self.actor)


@extend_schema(request=MayReasonIn, responses=PackageOut)
class ApproveView(_Decision):
    """Publish the package; 403 for who uploaded or submitted it."""

    deed = staticmethod(reviewing.approve)


@extend_schema(request=ReasonIn, responses=PackageOut)
class DeclineView(_Decision):
    """Send the package back to its publisher, with a reason."""

    form, deed = ReasonIn, staticmethod(reviewing.decline)


@extend_schema(request=MayReasonIn, responses=PackageOut)
class RetractView(_Decision):
    """Take one's package back before it was decided."""

    deed = staticmethod(reviewing.retract)


class PolicyView(ApiView):
    """The rules of this store about releases."""

    permission_required = {"GET": "packages.read", "PUT": "trust.manage"}

    @extend_schema(responses=PolicyOut)
    def get(self, request: Request) -> Response:
        """Return the rules; everybody who publishes here may know them."""
        return Response(PolicyOut(reviewing.policy()).data)

    @extend_schema(request=PolicyOut, responses=PolicyOut)
    def put(self, request: Request) -> Response:
        """Change the rules; for the organisation that runs the store."""
        wanted = PolicyOut(data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        given, present = wanted.validated_data, reviewing.policy()
        rules = reviewing.set_policy(
            actor=self.actor,
            review=given.get("review", present.review),
            freeze_days=given.get("freeze_days", present.freeze_days),
        )
        return Response(PolicyOut(rules).data)


class RecallListView(ApiView):
    """The signed recall list, for everybody: edge nodes, partner stores, and whoever keeps a copy."""

    public = True

    @extend_schema(
        operation_id="recall_list",
        responses={200: OpenApiTypes.OBJECT, 304: OpenApiResponse(description="as the ETag that was sent")},
        auth=[],
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the newest list as a DSSE envelope; ask again with its ETag, which costs almost nothing."""
        body = canonical(services.recall_list())
        etag = quote_etag(hashlib.sha256(body).hexdigest()[:32])
        known = request.headers.get("If-None-Match", "")
        if etag in [each.strip().removeprefix("W/") for each in known.split(",")]:
            response = HttpResponse(status=304)
        else:
            response = HttpResponse(body, content_type="application/json")
        response["ETag"] = etag
        response["Cache-Control"] = "public, no-cache"
        return response

    @extend_schema(operation_id="recall_issue", request=RecallIn, responses={201: RecallOut})
    def post(self, request: Request) -> Response:
        """Recall releases, or any package with one of these digests."""
        wanted = RecallIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = dict(wanted.validated_data)
        made = services.recall(
            recallable(self.actor, given.pop("packages")),
            actor=self.actor,
            successor=successor_of(self.actor, given.pop("successor")),
            **given,
        )
        return Response(RecallOut(made).data, 201)


class RecallView(ApiView):
    """One recall."""

    permission_required = "packages.recall"

    @extend_schema(responses=RecallOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return it with its packages."""
        return Response(RecallOut(services.get(pk, self.actor)).data)


class LiftView(ApiView):
    """The end of a recall."""

    permission_required = "packages.recall"

    @extend_schema(request=ReasonIn, responses=RecallOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Say that it holds no more, with a reason; nodes start again what they stopped."""
        found = services.get(pk, self.actor)
        said = ReasonIn(data=request.data)
        said.is_valid(raise_exception=True)
        return Response(RecallOut(services.lift(found, actor=self.actor, reason=said.validated_data["reason"])).data)


def review_rows() -> Any:
    """Reviews with what their answers need."""
    rows = Review.objects.select_related("package", "previous", "organisation", "submitted_by", "decided_by")
    return rows.defer(*(f"{each}__{heavy}" for each in ("package", "previous") for heavy in ("descriptor", "findings")))


def visible_review(actor: Any, pk: Any) -> Review:
    """Return a review that the actor may see; `Missing` otherwise."""
    found: Review | None = review_rows().visible_to(actor).filter(pk=pk).first()
    if found is None:
        raise Missing(say("There is no such review, or you may not see it."))
    return found


def recallable(actor: Any, pks: list[UUID]) -> list[Package]:
    """Return the packages of these ids if the actor may recall each; `Missing` or `Denied` otherwise."""
    found = list(Package.objects.filter(pk__in=pks))
    if len(found) != len(set(pks)):
        raise Missing(say("There is no such package, or you may not see it."))
    for package in found:
        stands(actor, "packages.recall", package)
    return found
