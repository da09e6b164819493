"""Sessions over HTTP."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts.access import Actor
from core.accounts.models import Organisation, Role
from core.errors import Denied, Missing
from core.http import ApiView, paginated
from core.sign_in import invitations, services
from core.sign_in.models import Invitation, Session
from core.words import say


class SessionOut(serializers.ModelSerializer[Session]):
    id = serializers.UUIDField(source="ref")
    current = serializers.SerializerMethodField()

    class Meta:
        model = Session
        fields = ["id", "device", "address", "how", "strong", "began_at", "seen_at", "current"]

    def get_current(self, row: Session) -> bool:
        """Return whether it is the session that asks."""
        return bool(row.session_key == self.context["key"])


def _may_look_after_accounts(actor: Actor) -> None:
    """Pass unless it is a token that was made for something else; sessions tell where a person is."""
    if actor.token is not None and actor.token.scopes and "accounts.manage" not in actor.token.scopes:
        raise Denied(say("This needs a token with the scope 'accounts.manage'."))


class SessionsView(ApiView):
    """Where one is signed in."""

    @extend_schema(responses=SessionOut(many=True))
    def get(self, request: Request) -> Response:
        """List one's open sessions, the one used last first."""
        _may_look_after_accounts(self.actor)
        rows = Session.objects.open().filter(user=self.actor.user)
        context = {"key": request._request.session.session_key}
        return paginated(self, rows, lambda page: SessionOut(page, many=True, context=context).data)


class OneSessionView(ApiView):
    """One open session."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, ref: Any) -> Response:
        """End a session of one's own, or of a member of an organisation whose accounts one manages."""
        row = services.managed(self.actor, ref)
        _may_look_after_accounts(self.actor)
        services.revoke(row, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=Role.choices)
    email = serializers.EmailField(required=False, default="", allow_blank=True)


class InvitationOut(serializers.ModelSerializer[Invitation]):
    invited_by = serializers.CharField(source="invited_by.username", default=None)

    class Meta:
        model = Invitation
        fields = ["id", "role", "email", "state", "invited_by", "created_at", "expires_at"]


class InvitationMade(InvitationOut):
    link = serializers.CharField(read_only=True, help_text="what the invited opens, shown this once")
    sent = serializers.BooleanField(read_only=True, help_text="whether an e-mail went out")

    class Meta(InvitationOut.Meta):
        fields = [*InvitationOut.Meta.fields, "link", "sent"]


class InvitationsView(ApiView):
    """Who was invited to an organisation."""

    permission_required = "accounts.manage"

    @extend_schema(responses=InvitationOut(many=True))
    def get(self, request: Request, pk: Any) -> Response:
        """List the invitations of an organisation, newest first."""
        self.actor.require(self.permission, pk)
        rows = Invitation.objects.filter(organisation_id=pk).select_related("invited_by")
        return paginated(self, rows, lambda page: InvitationOut(page, many=True).data)

    @extend_schema(request=InvitationIn, responses={201: InvitationMade})
    def post(self, request: Request, pk: Any) -> Response:
        """Invite somebody; the answer is the only time that the link is shown."""
        self.actor.require(self.permission, pk)
        wanted = InvitationIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        made = invitations.invite(Organisation.objects.get(pk=pk), actor=self.actor, **wanted.validated_data)
        body = {**InvitationOut(made.invitation).data, "link": made.link, "sent": made.sent}
        return Response(body, status.HTTP_201_CREATED)


class InvitationView(ApiView):
    """One invitation."""

    permission_required = "accounts.manage"

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: Any, invitation: Any) -> Response:
        """Withdraw an invitation: its link opens nothing any more."""
        self.actor.require(self.permission, pk)
        row = Invitation.objects.select_related("organisation").filter(organisation_id=pk, pk=invitation).first()
        if row is None:
            raise Missing(say("There is no such invitation."))
        invitations.withdraw(row, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)
