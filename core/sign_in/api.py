"""Sessions over HTTP."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Denied
from core.http import ApiView, paginated
from core.sign_in import services
from core.sign_in.models import Session


class SessionOut(serializers.ModelSerializer[Session]):
    id = serializers.UUIDField(source="ref")
    current = serializers.SerializerMethodField()

    class Meta:
        model = Session
        fields = ["id", "device", "address", "how", "strong", "began_at", "seen_at", "current"]

    def get_current(self, row: Session) -> bool:
        """Return whether it is the session that asks."""
        return bool(row.session_key == self.context["key"])


class SessionsView(ApiView):
    """Where one is signed in."""

    @extend_schema(responses=SessionOut(many=True))
    def get(self, request: Request) -> Response:
        """List one's open sessions, the one used last first."""
        rows = Session.objects.open().filter(user=self.actor.user)
        context = {"key": request._request.session.session_key}
        return paginated(self, rows, lambda page: SessionOut(page, many=True, context=context).data)


class OneSessionView(ApiView):
    """One open session."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, ref: Any) -> Response:
        """End a session of one's own, or of a member of an organisation whose accounts one manages."""
        row = services.managed(self.actor, ref)
        if (
            self.actor.token is not None
            and self.actor.token.scopes
            and "accounts.manage" not in self.actor.token.scopes
        ):
            raise Denied("This needs a token with the scope 'accounts.manage'.")
        services.revoke(row, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)
