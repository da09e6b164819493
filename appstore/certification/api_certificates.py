"""What a certification ends with, over HTTP: certificates, their list of revocations, and the labs that count here."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.certification import issuing, revoking
from appstore.certification.certificates import moment
from appstore.certification.models import Certificate, SignedRevocations, TrustedLab
from appstore.keys import services as keys
from core.accounts import access
from core.errors import Invalid, Missing
from core.frames import canonical
from core.http import ApiView, organisation_for, paginated
from core.words import say


class ReasonIn(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500)


class LabIn(serializers.Serializer[Any]):
    """A lab to trust."""

    name = serializers.CharField(max_length=120)
    owner = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    public_pem = serializers.CharField(max_length=10_000)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class HeldOut(serializers.ModelSerializer[SignedRevocations]):
    """The list of a lab's revocations as it is held here."""

    stale = serializers.BooleanField(help_text="a newer list should have come by now; what it says stays in force")

    class Meta:
        model = SignedRevocations
        fields = ["serial", "issued_at", "expires_at", "stale"]


class LabOut(serializers.ModelSerializer[TrustedLab]):
    """A lab whose certificates count here."""

    revocations = HeldOut(source="held", allow_null=True, read_only=True)

    class Meta:
        model = TrustedLab
        fields = [
            "id",
            "name",
            "owner",
            "key_id",
            "public_pem",
            "added_at",
            "expires_at",
            "revoked_at",
            "revoked_reason",
            "revocations",
        ]


class CertificateOut(serializers.ModelSerializer[Certificate]):
    """A certificate: what it says, whether it counts, and the envelope itself."""

    standing = serializers.CharField()

    class Meta:
        model = Certificate
        fields = [
            "id", "sha256", "level", "levels", "lab", "lab_key", "standing", "not_before", "not_after", "revoked_at",
            "revoked_reason", "digest", "envelope",
        ]  # fmt: skip


class VerifyIn(serializers.Serializer[Any]):
    """A certificate to be judged; with the SHA-256 of a package it must be about that one."""

    envelope = serializers.DictField()
    sha256 = serializers.RegexField(r"^[0-9a-fA-F]{64}\Z", required=False, allow_blank=True, default="")


class VerifyOut(serializers.Serializer[Any]):
    """What the certificate is worth here, and why it is worth nothing."""

    valid = serializers.BooleanField()
    reason = serializers.CharField()
    level = serializers.CharField()
    lab = serializers.CharField()
    sha256 = serializers.CharField()
    valid_until = serializers.CharField()
    simulated = serializers.BooleanField()


class LabsView(ApiView):
    """The labs whose certificates count in this store."""

    permission_required = {"GET": "packages.read", "POST": "certification.manage"}

    @extend_schema(responses=LabOut(many=True))
    def get(self, request: Request) -> Response:
        """List trusted labs."""
        organisation_for(request, self.permission)
        return paginated(
            self, TrustedLab.objects.all(), lambda found: LabOut(revoking.with_lists(found), many=True).data
        )

    @extend_schema(request=LabIn, responses={201: LabOut})
    def post(self, request: Request) -> Response:
        """Trust a lab; for the operator of the store."""
        said = LabIn(data=request.data)
        said.is_valid(raise_exception=True)
        made = issuing.trust_lab(actor=self.actor, **said.validated_data)
        return Response(LabOut(made).data, status.HTTP_201_CREATED)


class DistrustView(ApiView):
    """Trust a lab no longer."""

    permission_required = "certification.manage"

    @extend_schema(request=ReasonIn, responses=LabOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Take the trust back, with a reason."""
        lab = access.get(TrustedLab.objects.all(), self.actor, self.permission, pk)
        return Response(LabOut(issuing.distrust_lab(lab, actor=self.actor, reason=_reason(request))).data)


class RevokeView(ApiView):
    """Take a certificate back."""

    permission_required = "certification.manage"

    @extend_schema(request=ReasonIn, responses=CertificateOut)
    def post(self, request: Request, pk: UUID) -> Response:
        """Revoke it, with a reason."""
        found = access.get(Certificate.objects.all(), self.actor, self.permission, pk)
        return Response(CertificateOut(issuing.revoke(found, actor=self.actor, reason=_reason(request))).data)


class CertificateView(ApiView):
    """A certificate, for everybody who knows its id: partners and buyers ask without an account."""

    public = True

    @extend_schema(responses=CertificateOut, auth=[])
    def get(self, request: Request, pk: UUID) -> Response:
        """Return the certificate, whether it counts, and the signed envelope."""
        found = Certificate.objects.filter(pk=pk).first()
        if found is None:
            raise Missing(say("There is no such certificate."))
        return Response(CertificateOut(found).data)


class EnvelopeView(ApiView):
    """The certificate as a file, for `manage.py verify_certificate` and for partners."""

    public = True

    @extend_schema(responses={(200, "application/json"): OpenApiTypes.OBJECT}, auth=[])
    def get(self, request: Request, pk: UUID) -> HttpResponse:
        """Download the signed envelope alone."""
        found = Certificate.objects.filter(pk=pk).first()
        if found is None:
            raise Missing(say("There is no such certificate."))
        content = json.dumps(found.envelope, indent=1).encode()
        return attached(content, f"certificate-{str(found.pk)[:8]}.json", "application/json")


class RevocationsView(ApiView):
    """The signed list of the certificates that this store's lab has taken back."""

    public = True

    @extend_schema(
        operation_id="certificates_revocations",
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            304: OpenApiResponse(description="as the ETag that was sent"),
        },
        auth=[],
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the newest list as a DSSE envelope, signed with the key of the lab; it is signed anew as it grows old."""
        body = canonical(revoking.ours())
        etag = quote_etag(hashlib.sha256(body).hexdigest()[:32])
        known = request.headers.get("If-None-Match", "")
        if etag in [each.strip().removeprefix("W/") for each in known.split(",")]:
            response = HttpResponse(status=304)
        else:
            response = attached(body, "revocations.json", "application/json")
        response["ETag"] = etag
        response["Cache-Control"] = "public, no-cache"
        return response


class VerifyView(ApiView):
    """The judgement of this store on a certificate."""

    public = True

    @extend_schema(request=VerifyIn, responses=VerifyOut, auth=[])
    def post(self, request: Request) -> Response:
        """Judge a certificate by the labs that this store trusts; the answer is 200 also when it does not hold."""
        said = VerifyIn(data=request.data)
        said.is_valid(raise_exception=True)
        return Response(judged(said.validated_data["envelope"], said.validated_data["sha256"]))


class LabKeyView(ApiView):
    """The public key of this store's lab."""

    public = True

    @extend_schema(responses={(200, "application/x-pem-file"): OpenApiTypes.STR}, auth=[])
    def get(self, request: Request) -> HttpResponse:
        """Return the key in PEM; compare its SHA-256 by another way before you trust it."""
        return attached(keys.current(keys.LAB).public_pem.encode(), "lab.pem", "application/x-pem-file")


def attached(content: bytes, filename: str, kind: str) -> HttpResponse:
    """Answer a small file that is downloaded."""
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def judged(envelope: Any, sha256: str = "") -> dict[str, Any]:
    """Return the judgement of this store on a certificate as JSON."""
    try:
        held = issuing.verify(envelope, sha256)
    except Invalid as problem:
        nothing = {"level": "", "lab": "", "sha256": "", "valid_until": "", "simulated": False}
        return {"valid": False, "reason": problem.detail, **nothing}
    return {
        "valid": True,
        "reason": "",
        "level": held.level,
        "lab": held.lab,
        "sha256": held.sha256,
        "valid_until": moment(held.valid_until),
        "simulated": held.simulated,
    }


def _reason(request: Request) -> str:
    said = ReasonIn(data=request.data)
    said.is_valid(raise_exception=True)
    return str(said.validated_data["reason"])
