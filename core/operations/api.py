"""Operations over HTTP."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access
from core.errors import BreakwaterError, Invalid
from core.http import ApiView, paginated, problem_response, request_actor, sse
from core.live.hub import Topic
from core.operations import services
from core.operations.models import Operation
from core.words import say


class OperationOut(serializers.ModelSerializer[Operation]):
    """An operation as people see it."""

    class Meta:
        model = Operation
        fields = [
            "id", "kind", "target", "state", "percent", "note", "attempts", "cancel_requested", "problem",
            "requested_by", "created_at", "started_at", "finished_at",
        ]  # fmt: skip


class OperationsView(ApiView):
    """The long work of one's organisations."""

    permission_required = "operations.read"

    @extend_schema(
        responses=OperationOut(many=True),
        parameters=[OpenApiParameter("state"), OpenApiParameter("kind"), OpenApiParameter("target")],
    )
    def get(self, request: Request) -> Response:
        """List operations, newest first."""
        rows = access.scoped(Operation.objects.all(), self.actor, self.permission)
        for name in ("state", "kind", "target"):
            if wanted := request.GET.get(name):
                if "\x00" in wanted:
                    raise Invalid(say("{name} must hold no NUL", name=name), field=name)
                rows = rows.filter(**{name: wanted})
        return paginated(self, rows, lambda page: OperationOut(page, many=True).data)


class OperationView(ApiView):
    """One operation."""

    permission_required = "operations.read"

    @extend_schema(responses=OperationOut)
    def get(self, request: Request, pk: Any) -> Response:
        """Return its state, progress and problem."""
        return Response(OperationOut(access.get(Operation.objects.all(), self.actor, self.permission, pk)).data)


class CancelView(ApiView):
    """Stop an operation."""

    permission_required = "operations.write"

    @extend_schema(request=None, responses={202: OperationOut})
    def post(self, request: Request, pk: Any) -> Response:
        """Cancel pending work at once, running work as soon as it looks; 409 when it is over."""
        operation = access.get(Operation.objects.all(), self.actor, self.permission, pk)
        return Response(OperationOut(services.cancel(operation, actor=self.actor)).data, 202)


class RetryView(ApiView):
    """Ask again."""

    permission_required = "operations.write"

    @extend_schema(request=None, responses={202: OperationOut})
    def post(self, request: Request, pk: Any) -> Response:
        """Request failed or cancelled work again; the answer is the new operation."""
        operation = access.get(Operation.objects.all(), self.actor, self.permission, pk)
        return Response(OperationOut(services.retry(operation, actor=self.actor)).data, 202)


def stream(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Follow one operation as server-sent events until it is over."""
    try:
        actor = request_actor(request)
        access.get(Operation.objects.all(), actor, "operations.read", pk)
    except BreakwaterError as error:
        return problem_response(error, request)

    def look() -> dict[str, Any] | None:
        operation = Operation.objects.filter(pk=pk).first()
        return None if operation is None else {**OperationOut(operation).data, "finished": operation.finished}

    return sse(request, Topic("operation", pk, look), actor)
