"""Partners as administrators deal with them, over HTTP: meet, part, sync, agree. The pages call the same services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.federation import agreements, edgegallery, identity, meeting, services, sync
from appstore.federation.api import AgreementOut, PeerOut
from appstore.federation.models import Agreement, Peer
from appstore.federation.terms import Limits, Offer
from core.accounts import access
from core.errors import Missing
from core.http import ApiView
from core.operations.api import OperationOut
from core.words import say

_USUAL = Limits()


class LookIn(serializers.Serializer[Any]):
    """Where a store may be."""

    url = serializers.CharField(max_length=2000, help_text="its address, or an invitation of it")


class StoreOut(serializers.Serializer[Any]):
    """Who answers there."""

    store_id = serializers.CharField()
    fingerprint = serializers.CharField(help_text="to be compared with what its administrator tells you")
    name = serializers.CharField()
    url = serializers.CharField()


class MeetIn(LookIn):
    """A store whose fingerprint was compared by another way."""

    fingerprint = serializers.CharField(max_length=200)


class FingerprintIn(serializers.Serializer[Any]):
    """A fingerprint that was compared by another way."""

    fingerprint = serializers.CharField(max_length=200)


class WhyIn(serializers.Serializer[Any]):
    """Why; the partner reads it."""

    reason = serializers.CharField(max_length=500)


class LimitsIn(serializers.Serializer[Any]):
    """How much may be taken."""

    apps = serializers.IntegerField(min_value=1, default=_USUAL.apps)
    package_bytes = serializers.IntegerField(min_value=1, default=_USUAL.package_bytes)
    bytes_per_day = serializers.IntegerField(min_value=1, default=_USUAL.bytes_per_day)
    requests_per_minute = serializers.IntegerField(min_value=1, default=_USUAL.requests_per_minute)
    recommendations_per_day = serializers.IntegerField(min_value=0, default=_USUAL.recommendations_per_day)


class OfferIn(serializers.Serializer[Any]):
    """What goes one way; empty lists are no bound."""

    categories = serializers.ListField(child=serializers.CharField(max_length=100), default=list, max_length=100)
    licences = serializers.ListField(child=serializers.CharField(max_length=100), default=list, max_length=100)
    providers = serializers.ListField(child=serializers.CharField(max_length=200), default=list, max_length=100)
    certification = serializers.CharField(max_length=20, default="", allow_blank=True)
    signature = serializers.CharField(max_length=20, default="unsigned")
    limits = LimitsIn(required=False)


class ProposalIn(serializers.Serializer[Any]):
    """The next version of an agreement; a direction that is null does not happen."""

    out = OfferIn(required=False, allow_null=True, default=None)
    incoming = OfferIn(required=False, allow_null=True, default=None)
    expires = serializers.DateTimeField(required=False, allow_null=True, default=None)
    contact = serializers.CharField(max_length=200, default="", allow_blank=True)


class _ManageView(ApiView):
    """A view for who manages the partners of this store."""

    permission_required = "federation.manage"

    def peer(self, pk: UUID) -> Peer:
        """Return a partner that the actor manages."""
        return access.get(Peer.objects.select_related("organisation"), self.actor, self.permission, pk)

    def said(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """Return the body, checked."""
        wanted = kind(data=self.request.data)
        wanted.is_valid(raise_exception=True)
        return dict(wanted.validated_data)


class LookView(_ManageView):
    """Who is there?"""

    @extend_schema(operation_id="federation_look", request=LookIn, responses=StoreOut)
    def post(self, request: Request) -> Response:
        """Look which store answers at an address, for the comparison of fingerprints; nothing is written."""
        found = meeting.look(self.said(LookIn)["url"], actor=self.actor)
        fingerprint = identity.fingerprint(found.store_id)
        store = {"store_id": found.store_id, "fingerprint": fingerprint, "name": found.name, "url": found.url}
        return Response(StoreOut(store).data)


class MeetView(_ManageView):
    """The beginning of a partnership."""

    @extend_schema(operation_id="federation_meet", request=MeetIn, responses={201: PeerOut})
    def post(self, request: Request) -> Response:
        """Confirm a store by its fingerprint and introduce ourselves; it is a partner once it has confirmed us, too."""
        said = self.said(MeetIn)
        url, _ = identity.read_invitation(said["url"])
        return Response(PeerOut(meeting.introduce(url, fingerprint=said["fingerprint"], actor=self.actor)).data, 201)


class ConfirmView(_ManageView):
    """Our half of a partnership that the other store began."""

    @extend_schema(operation_id="federation_confirm", request=FingerprintIn, responses=PeerOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Confirm the fingerprint of a store that introduced itself."""
        peer = self.peer(pk)
        return Response(PeerOut(meeting.confirm(peer, actor=self.actor, **self.said(FingerprintIn))).data)


class _PartView(_ManageView):
    """A step apart, with a reason that the partner is told."""

    def part(self, deed: Callable[..., Peer], pk: UUID) -> Response:
        """Do it."""
        return Response(PeerOut(deed(self.peer(pk), actor=self.actor, **self.said(WhyIn))).data)


class RefuseView(_PartView):
    """No to a store."""

    @extend_schema(operation_id="federation_refuse", request=WhyIn, responses=PeerOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Refuse a store that introduced itself, or take our introduction back."""
        return self.part(meeting.refuse, pk)


class SuspendView(_PartView):
    """A pause."""

    @extend_schema(operation_id="federation_suspend", request=WhyIn, responses=PeerOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Set a partner aside at once, until it is resumed."""
        return self.part(meeting.suspend, pk)


class EndView(_PartView):
    """The end."""

    @extend_schema(operation_id="federation_end", request=WhyIn, responses=PeerOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Part for good."""
        return self.part(meeting.end, pk)


class ResumeView(_ManageView):
    """The way back."""

    @extend_schema(operation_id="federation_resume", request=None, responses=PeerOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Take a suspended partner up again."""
        return Response(PeerOut(meeting.resume(self.peer(pk), actor=self.actor)).data)


class SyncView(_ManageView):
    """What does it offer now?"""

    @extend_schema(operation_id="federation_sync", request=None, responses={202: OperationOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Look now what the partner offers; the answer is the operation."""
        peer = self.peer(pk)
        ask = edgegallery.request_list if peer.kind == edgegallery.KIND else sync.request_sync
        return Response(OperationOut(ask(peer, actor=self.actor)).data, 202)


class DeliverView(_ManageView):
    """What waits to be told."""

    @extend_schema(operation_id="federation_deliver", request=None, responses={202: OperationOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Try again to deliver the messages that wait; the answer is the operation."""
        return Response(OperationOut(services.request_delivery(self.peer(pk), actor=self.actor)).data, 202)


class ProposeView(_ManageView):
    """The next version of an agreement."""

    @extend_schema(operation_id="federation_propose", request=ProposalIn, responses={201: AgreementOut})
    def post(self, request: Request, pk: UUID) -> Response:
        """Sign the next version of the terms and send it to the partner."""
        peer, said = self.peer(pk), self.said(ProposalIn)
        made = agreements.propose(
            peer,
            out=_offer(said["out"]),
            incoming=_offer(said["incoming"]),
            expires=said["expires"],
            contact=said["contact"],
            actor=self.actor,
        )
        return Response(AgreementOut(made).data, 201)


class _VersionView(_ManageView):
    """One version of an agreement."""

    def version(self, pk: UUID, version: int) -> Agreement:
        """Return it."""
        rows = self.peer(pk).agreements.select_related("peer")
        found = rows.filter(version=version).first() if version < 1 << 31 else None
        if found is None:
            raise Missing(say("There is no such version of the agreement."))
        return found


class AcceptView(_VersionView):
    """Our signature."""

    @extend_schema(operation_id="federation_accept", request=None, responses=AgreementOut)
    def post(self, request: Request, pk: UUID, version: int) -> Response:
        """Sign what the partner proposed; it is in force."""
        return Response(AgreementOut(agreements.accept(self.version(pk, version), actor=self.actor)).data)


class DeclineView(_VersionView):
    """Our no."""

    @extend_schema(operation_id="federation_decline", request=WhyIn, responses=AgreementOut)
    def post(self, request: Request, pk: UUID, version: int) -> Response:
        """Decline what the partner proposed; it is told why."""
        found = self.version(pk, version)
        return Response(AgreementOut(agreements.decline(found, actor=self.actor, **self.said(WhyIn))).data)


class EndAgreementView(_VersionView):
    """The end of an agreement."""

    @extend_schema(operation_id="federation_end_agreement", request=WhyIn, responses=AgreementOut)
    def post(self, request: Request, pk: UUID, version: int) -> Response:
        """End the agreement; nothing is exchanged any more."""
        found = self.version(pk, version)
        return Response(AgreementOut(agreements.end(found, actor=self.actor, **self.said(WhyIn))).data)


def _offer(said: dict[str, Any] | None) -> Offer | None:
    if said is None:
        return None
    lists = {name: tuple(said[name]) for name in ("categories", "licences", "providers")}
    limits = Limits(**said["limits"]) if "limits" in said else Limits()
    return Offer(**lists, certification=said["certification"], signature=said["signature"], limits=limits)
