"""What other stores call, and partners over our own API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.federation import answering, identity, meeting, services, wire
from appstore.federation.models import Agreement, Peer
from core.accounts import access
from core.http import ApiView, paginated


class PeerOut(serializers.ModelSerializer[Peer]):
    """A partner store."""

    fingerprint = serializers.SerializerMethodField()

    class Meta:
        model = Peer
        fields = [
            "id", "store_id", "fingerprint", "name", "url", "kind", "state", "confirmed_at", "they_confirmed_at",
            "answers_signed_at", "heard_at", "problem", "created_at",
        ]  # fmt: skip

    def get_fingerprint(self, peer: Peer) -> str:
        """Write the id for people."""
        return identity.fingerprint(peer.store_id)


class AgreementOut(serializers.ModelSerializer[Agreement]):
    """One version of an agreement, with both signatures (DSSE)."""

    class Meta:
        model = Agreement
        fields = [
            "id", "version", "state", "proposed_by_us", "terms", "digest", "our_signature", "their_signature", "reason",
            "expires_at", "created_at", "settled_at",
        ]  # fmt: skip


class MessageIn(serializers.Serializer[Any]):
    """A message of a partner store; the other members depend on its kind (see docs/federation.md)."""

    kind = serializers.CharField(max_length=40)


class IntroductionIn(serializers.Serializer[Any]):
    """A store introduces itself."""

    identity = serializers.JSONField(help_text="its identity document, a DSSE envelope")


class RotationIn(serializers.Serializer[Any]):
    """A store changes its key."""

    statement = serializers.JSONField(help_text="a DSSE envelope by the old key")


class IdentityView(ApiView):
    """Who this store is."""

    public = True

    @extend_schema(responses=OpenApiTypes.OBJECT, auth=[])
    def get(self, request: Request) -> Response:
        """Return the identity document: a DSSE envelope, signed by the key that it names."""
        return Response(identity.envelope(), headers={"Cache-Control": "no-cache"})


class IntroductionsView(answering.AnsweringView):
    """The door for stores that we do not know yet."""

    public = True
    authentication_classes = []  # the signature is the authentication

    @extend_schema(
        request=IntroductionIn,
        auth=[],
        responses={
            202: OpenApiResponse(description="it waits for our administrators"),
            409: OpenApiResponse(description="another key is known at that address"),
            429: OpenApiResponse(description="too many stores wait already"),
        },
    )
    def post(self, request: Request) -> Response:
        """Introduce a store, by a request that is signed with the key of its identity document."""
        wire.bounded_body(request._request)  # before it is parsed
        answering.begin_unproven(request._request)
        given = IntroductionIn(data=request.data)
        given.is_valid(raise_exception=True)
        peer = meeting.receive_introduction(request._request, given.validated_data["identity"])
        return Response({"state": peer.state}, 202)


class RotationsView(answering.AnsweringView):
    """The door for a partner that has changed its key."""

    public = True
    authentication_classes = []  # the statement is signed by the old key

    @extend_schema(request=RotationIn, auth=[], responses={204: None})
    def post(self, request: Request) -> Response:
        """Take a new key that the old one vouches for; 404 when no partner has that old key."""
        wire.bounded_body(request._request)  # before it is parsed
        answering.begin_unproven(request._request)
        given = RotationIn(data=request.data)
        given.is_valid(raise_exception=True)
        meeting.receive_rotation(given.validated_data["statement"], request._request)
        return Response(status=204)


class MessagesView(wire.PeerView):
    """The door for what partners tell us."""

    states = meeting.KNOWN
    agreed = False

    @extend_schema(request=MessageIn, auth=[], responses={204: None})
    def post(self, request: Request) -> Response:
        """Take one message; the request is signed with the store's key (RFC 9421)."""
        services.receive(self.peer, request.data)
        return Response(status=204)


class PeersView(ApiView):
    """The partners of this store."""

    permission_required = "federation.manage"

    @extend_schema(responses=PeerOut(many=True))
    def get(self, request: Request) -> Response:
        """List the partner stores, by name; only who manages them in the operator's organisation sees any."""
        rows = access.scoped(Peer.objects.all(), self.actor, self.permission)
        return paginated(self, rows, lambda page: PeerOut(page, many=True).data)


class PeerDetailView(ApiView):
    """One partner."""

    permission_required = "federation.manage"

    @extend_schema(responses=PeerOut)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return a partner store."""
        return Response(PeerOut(access.get(Peer.objects.all(), self.actor, self.permission, pk)).data)


class AgreementsView(ApiView):
    """What was agreed with a partner."""

    permission_required = "federation.manage"

    @extend_schema(responses=AgreementOut(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """List all versions of the agreement with a partner, newest first."""
        peer = access.get(Peer.objects.all(), self.actor, self.permission, pk)
        rows = peer.agreements.order_by("-version")
        return paginated(self, rows, lambda page: AgreementOut(page, many=True).data)
