"""Reviews, notices and webhooks over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.catalog import apps_of, notices, reviews, webhooks
from appstore.catalog.models import Delivery, Notice, Review, Webhook
from core.accounts import access
from core.errors import Missing
from core.http import ApiView, organisation_for, paginated
from core.words import say


class ReviewOut(serializers.ModelSerializer[Review]):
    """A review; `hidden_reason` is told to its author's organisation and to moderators, who alone see hidden ones."""

    organisation = serializers.CharField(source="organisation.name")

    class Meta:
        model = Review
        fields = [
            "id", "organisation", "rating", "title", "text", "version", "created_at", "changed_at", "answer", "answered_at",
            "hidden_at", "hidden_reason",
        ]  # fmt: skip


class ReviewIn(serializers.Serializer[Any]):
    """What an organisation says of an application."""

    organisation = serializers.CharField(required=False, help_text="slug or id; default: one's only or first")
    rating = serializers.IntegerField(min_value=1, max_value=5)
    title = serializers.CharField(max_length=120, required=False, allow_blank=True, default="")
    text = serializers.CharField(max_length=reviews.MOST_TEXT, required=False, allow_blank=True, default="")


class TextIn(serializers.Serializer[Any]):
    """An answer; an empty one takes it away."""

    text = serializers.CharField(max_length=reviews.MOST_TEXT, allow_blank=True)


class ReasonIn(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=300, allow_blank=True, required=False, default="")


class NoticeOut(serializers.ModelSerializer[Notice]):
    """One thing that somebody was told."""

    class Meta:
        model = Notice
        fields = ["id", "kind", "text", "url", "created_at", "read_at"]


class WebhookIn(serializers.Serializer[Any]):
    """An address and the events that are sent to it."""

    organisation = serializers.CharField(required=False, help_text="slug or id; default: one's only or first")
    name = serializers.CharField(max_length=80)
    url = serializers.CharField(max_length=500)
    events = serializers.ListField(child=serializers.ChoiceField(list(notices.EVENTS)), min_length=1, max_length=20)
    everything = serializers.BooleanField(default=False, help_text="all public releases, not only one's own")
    active = serializers.BooleanField(default=True)


class WebhookOut(serializers.ModelSerializer[Webhook]):
    """A webhook. `secret` is there once, in the answer that made it."""

    secret = serializers.SerializerMethodField()

    class Meta:
        model = Webhook
        fields = ["id", "name", "url", "events", "everything", "active", "created_at", "secret"]

    def get_secret(self, webhook: Webhook) -> str | None:
        """The secret, in the answer that made the webhook only."""
        return self.context.get("secret")


class DeliveryOut(serializers.ModelSerializer[Delivery]):
    """One event on its way, or what came of it."""

    class Meta:
        model = Delivery
        fields = [
            "id", "event", "state", "attempts", "status", "note", "milliseconds", "created_at", "finished_at", "body",
        ]  # fmt: skip


class ReviewsView(ApiView):
    """What organisations say of an application."""

    permission_required = {"GET": "packages.read", "PUT": "feedback.write"}

    @extend_schema(
        operation_id="catalogue_reviews",
        responses=ReviewOut(many=True),
        parameters=[OpenApiParameter("page", OpenApiTypes.INT)],
    )
    def get(self, request: Request, app: int) -> Response:
        """List the reviews that one may see, the latest first."""
        rows = reviews.of_app(self.actor, apps_of.get(self.actor, app))
        return paginated(self, rows, lambda page: ReviewOut(page, many=True).data)

    @extend_schema(operation_id="catalogue_review_write", request=ReviewIn, responses=ReviewOut)
    def put(self, request: Request, app: int) -> Response:
        """Write one's organisation's review, or rewrite it; 409 for an own application and for one never deployed."""
        found = apps_of.get(self.actor, app)
        said = ReviewIn(data=request.data)
        said.is_valid(raise_exception=True)
        facts = {name: said.validated_data[name] for name in ("rating", "title", "text")}
        organisation = organisation_for(request, self.permission)
        review = reviews.write(found, actor=self.actor, organisation=organisation, **facts)
        return Response(ReviewOut(review).data)


def review_of(view: ApiView, pk: UUID) -> Review:
    """Return a review that the asker may see, else `Missing`."""
    found = Review.objects.select_related("app", "organisation").filter(pk=pk).first()
    if found is None:
        raise Missing(say("There is no such review, or you may not see it."))
    return reviews.seen(view.actor, found)


class ReviewView(ApiView):
    """One review."""

    permission_required = "feedback.write"

    @extend_schema(operation_id="catalogue_review_take_back", responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Take back the review of one's organisation."""
        reviews.take_back(review_of(self, pk), actor=self.actor)
        return Response(status=204)


class AnswerView(ApiView):
    """The answer to a review."""

    permission_required = "feedback.write"

    @extend_schema(operation_id="catalogue_review_answer", request=TextIn, responses=ReviewOut)
    def put(self, request: Request, pk: UUID) -> Response:
        """Answer in the name of the application's organisation."""
        review = review_of(self, pk)
        said = TextIn(data=request.data)
        said.is_valid(raise_exception=True)
        return Response(ReviewOut(reviews.answer(review, actor=self.actor, text=said.validated_data["text"])).data)


class ReviewDeedView(ApiView):
    """Report, hide or restore a review."""

    permission_required = "packages.read"

    @extend_schema(
        request=ReasonIn,
        responses=ReviewOut,
    )
    def post(self, request: Request, pk: UUID, deed: str) -> Response:
        """Report it to the moderators; or, as one of them, hide it with a reason, or restore it."""
        review = review_of(self, pk)
        said = ReasonIn(data=request.data)
        said.is_valid(raise_exception=True)
        reason = said.validated_data["reason"]
        if deed == "report":
            review = reviews.report(review, actor=self.actor, reason=reason)
        elif deed == "hide":
            review = reviews.hide(review, actor=self.actor, reason=reason)
        else:
            review = reviews.restore(review, actor=self.actor)
        return Response(ReviewOut(review).data)


class NoticesView(ApiView):
    """One's own notices."""

    permission_required = "packages.read"

    @extend_schema(
        operation_id="catalogue_notices",
        responses=NoticeOut(many=True),
        parameters=[OpenApiParameter("page", OpenApiTypes.INT)],
    )
    def get(self, request: Request) -> Response:
        """List them, newest first."""
        return paginated(self, notices.of(self.actor), lambda page: NoticeOut(page, many=True).data)

    @extend_schema(operation_id="catalogue_notices_read", request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Mark all as read."""
        notices.mark_read(self.actor)
        return Response(status=204)


class WebhooksView(ApiView):
    """The webhooks of one's organisations."""

    permission_required = "accounts.manage"

    @extend_schema(
        operation_id="webhooks_list",
        responses=WebhookOut(many=True),
        parameters=[OpenApiParameter("page", OpenApiTypes.INT)],
    )
    def get(self, request: Request) -> Response:
        """List them."""
        rows: QuerySet[Webhook] = access.scoped(Webhook.objects.all(), self.actor, self.permission)
        return paginated(self, rows, lambda page: WebhookOut(page, many=True).data)

    @extend_schema(operation_id="webhooks_create", request=WebhookIn, responses={201: WebhookOut})
    def post(self, request: Request) -> Response:
        """Make one; the answer has its secret, this once."""
        organisation = organisation_for(request, self.permission)
        said = WebhookIn(data=request.data)
        said.is_valid(raise_exception=True)
        facts = {name: said.validated_data[name] for name in ("name", "url", "events", "everything")}
        webhook, secret = webhooks.create(organisation, actor=self.actor, **facts)
        return Response(WebhookOut(webhook, context={"secret": secret}).data, 201)


class WebhookView(ApiView):
    """One webhook."""

    permission_required = "accounts.manage"

    @extend_schema(operation_id="webhooks_get", responses=WebhookOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return it, without its secret."""
        return Response(WebhookOut(access.get(Webhook.objects.all(), self.actor, self.permission, pk)).data)

    @extend_schema(operation_id="webhooks_change", request=WebhookIn, responses=WebhookOut)
    def put(self, request: Request, pk: UUID) -> Response:
        """Change it; its secret stays."""
        webhook = access.get(Webhook.objects.all(), self.actor, self.permission, pk)
        said = WebhookIn(data=request.data)
        said.is_valid(raise_exception=True)
        facts = {name: said.validated_data[name] for name in ("name", "url", "events", "everything", "active")}
        return Response(WebhookOut(webhooks.change(webhook, actor=self.actor, **facts)).data)

    @extend_schema(operation_id="webhooks_remove", responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Forget it and its log."""
        webhooks.remove(access.get(Webhook.objects.all(), self.actor, self.permission, pk), actor=self.actor)
        return Response(status=204)


class PingView(ApiView):
    """A test of a webhook."""

    permission_required = "accounts.manage"

    @extend_schema(operation_id="webhooks_ping", request=None, responses={202: DeliveryOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Send a test event; the log tells what came of it."""
        webhook = access.get(Webhook.objects.all(), self.actor, self.permission, pk)
        return Response(DeliveryOut(webhooks.ping(webhook, actor=self.actor)).data, 202)


class DeliveriesView(ApiView):
    """The log of a webhook."""

    permission_required = "accounts.manage"

    @extend_schema(
        operation_id="webhooks_deliveries",
        responses=DeliveryOut(many=True),
        parameters=[OpenApiParameter("page", OpenApiTypes.INT)],
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """List its deliveries, newest first."""
        webhook = access.get(Webhook.objects.all(), self.actor, self.permission, pk)
        return paginated(self, webhook.deliveries.all(), lambda page: DeliveryOut(page, many=True).data)
