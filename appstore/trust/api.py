"""Trust over HTTP: lists, policies, publishers, the store's authority, and what a package's signature is worth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages import api as packages
from appstore.packages.models import Package
from appstore.trust import authority, proofs, publishers, services, signings, trustlists
from appstore.trust.judging import Judgement
from appstore.trust.models import (
    LEAST,
    Anchor,
    Authority,
    Crl,
    Distrust,
    PublisherClaim,
    SignerCertificate,
    TrustPolicy,
)
from appstore.trust.standing import State
from core.accounts import access
from core.accounts import services as accounts
from core.accounts.models import Organisation
from core.errors import Denied, Missing
from core.http import ApiView, organisation_for, paginated
from core.operations.api import OperationOut
from core.words import say

READ = "packages.read"
_WHOSE = OpenApiParameter(
    "organisation", OpenApiTypes.STR, description="slug or id; else the session's or the only one"
)


class AnchorOut(serializers.ModelSerializer[Anchor]):
    """A certificate that is trusted."""

    counts = serializers.BooleanField()

    class Meta:
        model = Anchor
        fields = [
            "id", "name", "purpose", "fingerprint", "subject", "is_authority", "not_before", "not_after", "note", "added_by",
            "created_at", "expires_at", "revoked_at", "revoked_reason", "counts",
        ]  # fmt: skip


class AnchorIn(serializers.Serializer[Any]):
    """Certificates to trust."""

    certificate = serializers.CharField(max_length=256 << 10, help_text="one or more certificates in PEM")
    name = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    purpose = serializers.ChoiceField(Anchor.Purpose.choices, default="publisher")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    note = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class ExpiryIn(serializers.Serializer[Any]):
    """When an anchor ends."""

    expires_at = serializers.DateTimeField(allow_null=True)


class ReasonIn(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500)


class CrlOut(serializers.ModelSerializer[Crl]):
    """The revocation list of an authority."""

    late = serializers.BooleanField()

    class Meta:
        model = Crl
        fields = [
            "id", "issuer", "issuer_fingerprint", "number", "entries", "this_update", "next_update", "late", "added_by",
            "created_at",
        ]  # fmt: skip


class CrlIn(serializers.Serializer[Any]):
    """A revocation list in PEM; certificates between its authority and an anchor may stand beside it."""

    crl = serializers.CharField(max_length=2 << 20)


class DistrustOut(serializers.ModelSerializer[Distrust]):
    """A certificate that does not count here."""

    class Meta:
        model = Distrust
        fields = ["id", "fingerprint", "subject", "reason", "added_by", "created_at"]


class DistrustIn(serializers.Serializer[Any]):
    """A certificate that shall not count here."""

    fingerprint = serializers.CharField(max_length=128)
    reason = serializers.CharField(max_length=500)


class PolicyOut(serializers.ModelSerializer[TrustPolicy]):
    """What an organisation demands of signatures."""

    class Meta:
        model = TrustPolicy
        fields = [
            "publish_least", "deploy_least", "import_least", "inherits", "strict_revocation", "domain_proofs", "version",
        ]  # fmt: skip


class PolicyIn(serializers.Serializer[Any]):
    """Changes of a policy; what is not given stays."""

    publish_least = serializers.ChoiceField(LEAST, required=False)
    deploy_least = serializers.ChoiceField(LEAST, required=False)
    import_least = serializers.ChoiceField(LEAST, required=False)
    inherits = serializers.BooleanField(required=False)
    strict_revocation = serializers.BooleanField(required=False)
    domain_proofs = serializers.BooleanField(required=False)


class ClaimOut(serializers.ModelSerializer[PublisherClaim]):
    """That an organisation is a publisher, and how it proves it."""

    state = serializers.CharField(source="shown")
    prove = serializers.SerializerMethodField()

    class Meta:
        model = PublisherClaim
        fields = [
            "id", "provider", "method", "domain", "state", "problem", "challenge", "prove", "certificate_subject",
            "certificate_fingerprint", "created_at", "verified_at", "checked_at", "expires_at",
        ]  # fmt: skip

    def get_prove(self, claim: PublisherClaim) -> str:
        """What is to be signed, or the line that is to stand on the domain."""
        if claim.method == PublisherClaim.Method.KEY:
            return publishers.challenge_text(claim).decode()
        return proofs.line_of(claim.challenge)


class ClaimIn(serializers.Serializer[Any]):
    """A publisher that one is."""

    provider = serializers.CharField(max_length=128)
    method = serializers.ChoiceField(PublisherClaim.Method.choices)
    domain = serializers.CharField(max_length=253, required=False, default="", allow_blank=True)


class ProofIn(serializers.Serializer[Any]):
    """A proof by key: a detached CMS in PEM, or a certificate whose key lies here. Nothing for a domain."""

    signature = serializers.CharField(max_length=64 << 10, required=False, default="", allow_blank=True)
    certificate = serializers.UUIDField(required=False, allow_null=True, default=None)


class SignerOut(serializers.ModelSerializer[SignerCertificate]):
    """A certificate that this store issued."""

    usable = serializers.BooleanField()
    organisation = packages.OrganisationRef()

    class Meta:
        model = SignerCertificate
        fields = [
            "id", "organisation", "subject", "serial", "fingerprint", "pem", "issued_by", "created_at", "not_after",
            "revoked_at", "revoked_reason", "usable",
        ]  # fmt: skip


class SignerIn(serializers.Serializer[Any]):
    """For whom a certificate is wanted. Without a request the key is made and kept here, sealed."""

    for_organisation = serializers.CharField(max_length=64, help_text="slug or id")
    csr = serializers.CharField(max_length=32 << 10, required=False, default="", allow_blank=True)
    name = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)


class AuthorityOut(serializers.ModelSerializer[Authority]):
    """The authority of this store."""

    class Meta:
        model = Authority
        fields = ["id", "name", "pem", "crl_number", "created_at"]


class StepOut(serializers.Serializer[Any]):
    """One certificate on the way to the anchor."""

    subject = serializers.CharField()
    issuer = serializers.CharField()
    fingerprint = serializers.CharField()
    not_before = serializers.CharField()
    not_after = serializers.CharField()


class StandingOut(serializers.Serializer[Any]):
    """What the trust list of an organisation says of a package, and why."""

    state = serializers.ChoiceField([str(state) for state in State])
    reason = serializers.CharField()
    remedy = serializers.CharField()
    signer = serializers.CharField()
    fingerprint = serializers.CharField()
    anchor = serializers.CharField()
    publisher = serializers.CharField()
    signed_at = serializers.CharField(help_text="by a trusted timestamp; empty without one")
    claimed_at = serializers.CharField(help_text="when the signer says that it signed; nobody vouches for that")
    checked_at = serializers.CharField()
    notes = serializers.ListField(child=serializers.CharField())
    path = StepOut(many=True)


class SignIn(serializers.Serializer[Any]):
    """With which certificate a package is to be signed."""

    certificate = serializers.UUIDField()


def standing_of(package: Package, organisation: Any) -> dict[str, Any]:
    """Return the standing of a package with its grounds, as JSON values."""
    found: Judgement = services.judgement(package, organisation)
    publisher = services.trusted_publishers([package]).get(package.pk, "")
    return {
        **found.standing.as_dict(),
        "publisher": publisher,
        "remedy": found.remedy,
        "claimed_at": found.claimed_at,
        "notes": list(found.notes),
        "path": [asdict(step) for step in found.path],
    }


def _valid(serializer: Any) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class _View(ApiView):
    permission_required = {
        "GET": READ, "POST": services.MANAGE, "PUT": services.MANAGE, "PATCH": services.MANAGE, "DELETE": services.MANAGE,
    }  # fmt: skip

    def whose(self) -> Organisation:
        """Return the organisation that the request is about."""
        return organisation_for(self.request, self.permission)


class PolicyView(_View):
    """The policy of an organisation."""

    @extend_schema(operation_id="trust_policy", parameters=[_WHOSE], responses=PolicyOut)
    def get(self, request: Request) -> Response:
        """Return what the organisation demands of signatures; the store's policy holds beside it."""
        return Response(PolicyOut(trustlists.policies(self.whose().pk).own).data)

    @extend_schema(operation_id="trust_policy_change", parameters=[_WHOSE], request=PolicyIn, responses=PolicyOut)
    def patch(self, request: Request) -> Response:
        """Change the policy."""
        wanted = _valid(PolicyIn(data=request.data))
        return Response(PolicyOut(services.set_policy(self.whose(), actor=self.actor, **wanted)).data)


class AnchorsView(_View):
    """The anchors of an organisation."""

    @extend_schema(operation_id="trust_anchors", parameters=[_WHOSE], responses=AnchorOut(many=True))
    def get(self, request: Request) -> Response:
        """List whom the organisation trusts, also those that ended."""
        return paginated(
            self, Anchor.objects.filter(organisation=self.whose()), lambda rows: AnchorOut(rows, many=True).data
        )

    @extend_schema(
        operation_id="trust_anchor_add", parameters=[_WHOSE], request=AnchorIn, responses={201: AnchorOut(many=True)}
    )
    def post(self, request: Request) -> Response:
        """Trust one or more certificates."""
        wanted = _valid(AnchorIn(data=request.data))
        made = services.add_anchors(self.whose(), actor=self.actor, text=wanted.pop("certificate"), **wanted)
        return Response(AnchorOut(made, many=True).data, 201)


class AnchorView(_View):
    """One anchor."""

    @extend_schema(operation_id="trust_anchor_expire", request=ExpiryIn, responses=AnchorOut)
    def patch(self, request: Request, pk: Any) -> Response:
        """Say when it ends."""
        anchor = access.get(Anchor.objects.select_related("organisation"), self.actor, services.MANAGE, pk)
        wanted = _valid(ExpiryIn(data=request.data))
        return Response(AnchorOut(services.expire(anchor, actor=self.actor, at=wanted["expires_at"])).data)


class AnchorRevokeView(_View):
    """The end of an anchor."""

    @extend_schema(operation_id="trust_anchor_revoke", request=ReasonIn, responses=AnchorOut)
    def post(self, request: Request, pk: Any) -> Response:
        """Trust it no more, with a reason."""
        anchor = access.get(Anchor.objects.select_related("organisation"), self.actor, services.MANAGE, pk)
        wanted = _valid(ReasonIn(data=request.data))
        return Response(AnchorOut(services.revoke(anchor, actor=self.actor, reason=wanted["reason"])).data)


class ExportView(_View):
    """The trust list as one file."""

    @extend_schema(
        operation_id="trust_export", parameters=[_WHOSE], responses={(200, "application/x-pem-file"): OpenApiTypes.STR}
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the anchors that count now, in PEM."""
        whose = self.whose()
        name = f'attachment; filename="{whose.slug}-trust.pem"'
        return HttpResponse(
            services.export(whose), content_type="application/x-pem-file", headers={"Content-Disposition": name}
        )


class CrlsView(_View):
    """The revocation lists of an organisation."""

    @extend_schema(operation_id="trust_crls", parameters=[_WHOSE], responses=CrlOut(many=True))
    def get(self, request: Request) -> Response:
        """List the revocation lists."""
        return paginated(self, Crl.objects.filter(organisation=self.whose()), lambda rows: CrlOut(rows, many=True).data)

    @extend_schema(operation_id="trust_crl_add", parameters=[_WHOSE], request=CrlIn, responses={201: CrlOut})
    def post(self, request: Request) -> Response:
        """Take a newer revocation list."""
        wanted = _valid(CrlIn(data=request.data))
        made = services.add_crl(self.whose(), actor=self.actor, content=wanted["crl"].encode())
        return Response(CrlOut(made).data, 201)


class DistrustsView(_View):
    """The certificates that an organisation distrusts."""

    @extend_schema(operation_id="trust_distrusts", parameters=[_WHOSE], responses=DistrustOut(many=True))
    def get(self, request: Request) -> Response:
        """List them."""
        return paginated(
            self, Distrust.objects.filter(organisation=self.whose()), lambda rows: DistrustOut(rows, many=True).data
        )

    @extend_schema(operation_id="trust_distrust", parameters=[_WHOSE], request=DistrustIn, responses={201: DistrustOut})
    def post(self, request: Request) -> Response:
        """Distrust a certificate, whoever else trusts it."""
        wanted = _valid(DistrustIn(data=request.data))
        return Response(DistrustOut(services.distrust(self.whose(), actor=self.actor, **wanted)).data, 201)


class DistrustView(_View):
    """One certificate that is distrusted."""

    @extend_schema(operation_id="trust_again", responses={204: None})
    def delete(self, request: Request, pk: Any) -> Response:
        """Take it off the list."""
        row = access.get(Distrust.objects.select_related("organisation"), self.actor, services.MANAGE, pk)
        services.trust_again(row, actor=self.actor)
        return Response(status=204)


class PublishersView(_View):
    """Which publishers an organisation is."""

    @extend_schema(operation_id="publishers", parameters=[_WHOSE], responses=ClaimOut(many=True))
    def get(self, request: Request) -> Response:
        """List the claims and proofs."""
        rows = PublisherClaim.objects.filter(organisation=self.whose()).select_related("organisation")
        return paginated(self, rows, lambda found: ClaimOut(found, many=True).data)

    @extend_schema(operation_id="publisher_claim", parameters=[_WHOSE], request=ClaimIn, responses={201: ClaimOut})
    def post(self, request: Request) -> Response:
        """Begin to prove to be a publisher."""
        wanted = _valid(ClaimIn(data=request.data))
        return Response(ClaimOut(publishers.claim(self.whose(), actor=self.actor, **wanted)).data, 201)


class _ClaimView(_View):
    def claim(self, pk: Any) -> PublisherClaim:
        """Return a claim of one's own organisation."""
        return access.get(PublisherClaim.objects.select_related("organisation"), self.actor, services.MANAGE, pk)


class ProveView(_ClaimView):
    """A proof."""

    @extend_schema(operation_id="publisher_prove", request=ProofIn, responses=ClaimOut)
    def post(self, request: Request, pk: Any) -> Response:
        """Prove it: send the signature, name the certificate, or have the domain looked at."""
        claim, wanted = self.claim(pk), _valid(ProofIn(data=request.data))
        if claim.method != PublisherClaim.Method.KEY:
            done = publishers.prove_by_domain(claim, actor=self.actor)
        elif wanted["certificate"]:
            own = access.get(SignerCertificate.objects.all(), self.actor, services.MANAGE, wanted["certificate"])
            done = publishers.prove_here(claim, own, actor=self.actor)
        else:
            done = publishers.prove_by_key(claim, actor=self.actor, signature=wanted["signature"])
        return Response(ClaimOut(done).data)


class ConfirmView(_ClaimView):
    """What who runs the store says of a proved domain."""

    @extend_schema(operation_id="publisher_confirm", request=None, responses=ClaimOut)
    def post(self, request: Request, pk: Any) -> Response:
        """Say that the proved domain stands for this name."""
        return Response(ClaimOut(publishers.confirm(publishers.visible(pk, self.actor), actor=self.actor)).data)


class WithdrawClaimView(_ClaimView):
    """The end of a claim."""

    @extend_schema(operation_id="publisher_withdraw", request=None, responses=ClaimOut)
    def post(self, request: Request, pk: Any) -> Response:
        """Give the name back."""
        return Response(ClaimOut(publishers.withdraw(publishers.visible(pk, self.actor), actor=self.actor)).data)


class AuthorityView(_View):
    """The store's own authority."""

    @extend_schema(operation_id="authority", responses=AuthorityOut)
    def get(self, request: Request) -> Response:
        """Return the authority with its certificate."""
        return Response(AuthorityOut(authority.present()).data)

    @extend_schema(operation_id="authority_create", request=None, responses={201: AuthorityOut})
    def post(self, request: Request) -> Response:
        """Make the authority; only who runs the store may."""
        return Response(AuthorityOut(authority.create(actor=self.actor)).data, 201)


class AuthorityCrlView(_View):
    """The revocation list of the store's authority."""

    @extend_schema(operation_id="authority_crl", responses={(200, "application/x-pem-file"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """Return the list that holds now, in PEM."""
        return HttpResponse(authority.crl_pem(authority.present()), content_type="application/x-pem-file")

    @extend_schema(operation_id="authority_crl_refresh", request=None, responses=CrlOut)
    def post(self, request: Request) -> Response:
        """Publish it anew."""
        return Response(CrlOut(authority.refresh(actor=self.actor)).data)


class SignersView(_View):
    """Certificates that the store's authority issued."""

    @extend_schema(operation_id="signer_certificates", responses=SignerOut(many=True))
    def get(self, request: Request) -> Response:
        """List those of one's organisations; who runs the store sees all."""
        rows = SignerCertificate.objects.select_related("organisation")
        if not self.actor.may(services.MANAGE, accounts.operator().pk):
            rows = access.scoped(rows, self.actor, READ)
        return paginated(self, rows, lambda found: SignerOut(found, many=True).data)

    @extend_schema(operation_id="signer_certificate_issue", request=SignerIn, responses={201: SignerOut})
    def post(self, request: Request) -> Response:
        """Issue a certificate to an organisation; only who runs the store may."""
        wanted = _valid(SignerIn(data=request.data))
        if not self.actor.may(services.MANAGE, accounts.operator().pk):
            raise Denied(say("Certificates of the store are issued by who runs it."))
        made = authority.issue(
            organisation_named(wanted["for_organisation"]), actor=self.actor, csr=wanted["csr"], name=wanted["name"]
        )
        return Response(SignerOut(made).data, 201)


def organisation_named(named: str) -> Organisation:
    """Return an organisation by slug; for who runs the store."""
    found = Organisation.objects.filter(slug=named).first()
    if found is None:
        raise Missing(say("There is no organisation {named}.", named=repr(named[:60])))
    return found


class SignerRevokeView(_View):
    """The end of a certificate."""

    @extend_schema(operation_id="signer_certificate_revoke", request=ReasonIn, responses=SignerOut)
    def post(self, request: Request, pk: Any) -> Response:
        """Revoke it and publish the list: the organisation itself may, and who runs the store."""
        row = authority.visible(pk, self.actor)
        wanted = _valid(ReasonIn(data=request.data))
        return Response(SignerOut(authority.revoke(row, actor=self.actor, reason=wanted["reason"])).data)


class PackageTrustView(_View):
    """What the signature of a package is worth."""

    @extend_schema(operation_id="package_trust", parameters=[_WHOSE], responses=StandingOut)
    def get(self, request: Request, pk: Any) -> Response:
        """Return its standing by the trust list of one's organisation, with the grounds."""
        package = packages.visible(self.actor, pk)
        return Response(StandingOut(standing_of(package, self.whose())).data)


class PackageSignView(ApiView):
    """Signing a package with a certificate of its organisation."""

    permission_required = "packages.write"

    @extend_schema(operation_id="package_sign", request=SignIn, responses={202: OperationOut})
    def post(self, request: Request, pk: Any) -> Response:
        """Ask for a signed copy; it becomes a new package."""
        package = access.get(packages.rows(), self.actor, "packages.write", pk)
        wanted = _valid(SignIn(data=request.data))
        own = access.get(SignerCertificate.objects.all(), self.actor, "packages.write", wanted["certificate"])
        _, operation = signings.request(package, own, actor=self.actor)
        return Response(OperationOut(operation).data, 202)
