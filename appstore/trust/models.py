"""Whom organisations trust, what they demand of packages, and who has proved to be which publisher."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from appstore.trust.standing import State

#: What a policy may ask for; broken signatures are never accepted.
LEAST = [(str(state), str(state)) for state in (State.UNSIGNED, State.UNKNOWN, State.TRUSTED)]


class TrustPolicy(models.Model):
    """What an organisation demands of signatures, and the state of its trust list.

    `version` is another number after each change of the list, so that what was judged by an older one is judged again;
    it is drawn, not counted, because the number of a change that was rolled back must never come again. The policy of the
    organisation that runs the store holds for everybody beside their own.
    """

    organisation = models.OneToOneField(
        "accounts.Organisation", on_delete=models.CASCADE, primary_key=True, related_name="trust_policy"
    )
    version = models.PositiveBigIntegerField(default=0)
    publish_least = models.CharField(max_length=10, choices=LEAST, default=str(State.UNSIGNED))
    deploy_least = models.CharField(max_length=10, choices=LEAST, default=str(State.UNSIGNED))
    import_least = models.CharField(max_length=10, choices=LEAST, default=str(State.UNSIGNED))
    #: Whether the anchors of the store count here, too.
    inherits = models.BooleanField(default=True)
    #: Whether a path counts only with revocation lists that are not out of date.
    strict_revocation = models.BooleanField(default=False)
    #: Whether publishers may be proved by a look at their domain; only the operator's row counts.
    domain_proofs = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "trust policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(publish_least__in=[name for name, _ in LEAST])
                & Q(deploy_least__in=[name for name, _ in LEAST])
                & Q(import_least__in=[name for name, _ in LEAST]),
                name="a_policy_asks_for_a_known_state",
            )
        ]

    def __str__(self) -> str:
        return f"trust policy of {self.organisation_id}"

    def least(self, deed: str) -> State:
        """Return the least state that is accepted for `publish`, `deploy` or `import`."""
        return State(getattr(self, f"{deed}_least"))


class AnchorQuerySet(models.QuerySet["Anchor"]):
    """Questions about anchors; they chain."""

    def present(self) -> AnchorQuerySet:
        """Those that count now."""
        return self.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())


class Anchor(models.Model):
    """A certificate that an organisation trusts: an authority, or one signer alone."""

    class Purpose(models.TextChoices):
        """What it is trusted for."""

        PUBLISHER = "publisher"
        TIMESTAMP = "timestamp"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="trust_anchors")
    name = models.CharField(max_length=120)
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.PUBLISHER)
    der = models.BinaryField()
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the certificate")
    subject = models.CharField(max_length=200)
    is_authority = models.BooleanField(default=False)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    note = models.CharField(max_length=500, blank=True)
    added_by = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=500, blank=True)

    objects = AnchorQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "fingerprint", "purpose"],
                condition=Q(revoked_at=None),
                name="an_anchor_is_trusted_once",
            ),
            models.CheckConstraint(condition=Q(purpose__in=["publisher", "timestamp"]), name="anchor_purpose_is_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def counts(self) -> bool:
        """Whether it is trusted now."""
        now = timezone.now()
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now) and self.not_after > now


class Crl(models.Model):
    """The latest revocation list of one authority that an organisation has uploaded."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="trust_crls")
    issuer = models.CharField(max_length=200)
    issuer_fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the authority's certificate")
    number = models.CharField(max_length=50, help_text="in decimal; up to 20 bytes (RFC 5280, 5.2.3)")
    der = models.BinaryField()
    entries = models.PositiveIntegerField(default=0)
    this_update = models.DateTimeField()
    next_update = models.DateTimeField(null=True, blank=True)
    added_by = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["issuer", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "issuer_fingerprint"], name="one_revocation_list_of_each_authority"
            )
        ]

    def __str__(self) -> str:
        return f"revocation list {self.number} of {self.issuer}"

    @property
    def late(self) -> bool:
        """Whether a newer one should be there by now."""
        return self.next_update is not None and self.next_update <= timezone.now()


class Distrust(models.Model):
    """A certificate that an organisation does not trust, even where the store does."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="distrusts")
    fingerprint = models.CharField(max_length=64)
    subject = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500)
    added_by = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["subject", "id"]
        constraints = [models.UniqueConstraint(fields=["organisation", "fingerprint"], name="distrust_is_said_once")]

    def __str__(self) -> str:
        return self.subject or self.fingerprint[:16]


class Authority(models.Model):
    """The small certificate authority of this store: ECDSA P-256, its key sealed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    pem = models.TextField()
    sealed = models.BinaryField()
    crl_number = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "authorities"
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(retired_at=None), name="one_present_authority_of_a_name"
            )
        ]

    def __str__(self) -> str:
        return self.name


class SignerCertificate(models.Model):
    """A certificate that our authority issued to an organisation; its key lies here sealed, or with the organisation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    authority = models.ForeignKey(Authority, on_delete=models.PROTECT, related_name="certificates")
    organisation = models.ForeignKey(
        "accounts.Organisation", on_delete=models.CASCADE, related_name="signer_certificates"
    )
    subject = models.CharField(max_length=200)
    serial = models.CharField(max_length=50)
    fingerprint = models.CharField(max_length=64, unique=True)
    pem = models.TextField()
    sealed = models.BinaryField(null=True, blank=True)
    issued_by = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    not_after = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["authority", "serial"], name="a_serial_is_given_once")]

    def __str__(self) -> str:
        return self.subject

    @property
    def usable(self) -> bool:
        """Whether it is in force and its key is here, to sign with."""
        return self.sealed is not None and self.revoked_at is None and self.not_after > timezone.now()


class ClaimQuerySet(models.QuerySet["PublisherClaim"]):
    """Questions about publishers; they chain."""

    def verified(self) -> ClaimQuerySet:
        """Proofs that hold now."""
        return self.filter(state=PublisherClaim.State.VERIFIED, expires_at__gt=timezone.now())

    def reserving(self) -> ClaimQuerySet:
        """Proofs that keep a name from others: those that hold, and those that lapsed and that nobody took over."""
        return self.filter(state__in=[PublisherClaim.State.VERIFIED, PublisherClaim.State.LAPSED])


class PublisherClaim(models.Model):
    """That an organisation is the publisher that calls itself `provider`, and how that was proved."""

    class Method(models.TextChoices):
        """How it is proved."""

        KEY = "key"
        WEB = "web"
        DNS = "dns"

    class State(models.TextChoices):
        """Where the proof is."""

        PENDING = "pending"
        #: The domain is proved; that it stands for this name is for the operator to say.
        PROVED = "proved"
        VERIFIED = "verified"
        #: It was proved once and is not any more: not renewed, or the look at it failed.
        LAPSED = "lapsed"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="publisher_claims")
    provider = models.CharField(max_length=128)
    provider_key = models.CharField(max_length=128)
    method = models.CharField(max_length=4, choices=Method.choices)
    domain = models.CharField(max_length=253, blank=True)
    challenge = models.CharField(max_length=64)
    certificate_fingerprint = models.CharField(max_length=64, blank=True)
    certificate_subject = models.CharField(max_length=200, blank=True)
    certificate = models.BinaryField(null=True, blank=True)
    #: What the proof carried beside, DER in base64: the way to the anchor may need it.
    chain = models.JSONField(default=list, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    problem = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ClaimQuerySet.as_manager()

    class Meta:
        ordering = ["provider", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider_key"], condition=Q(state="verified"), name="a_publisher_is_one_organisation"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "proved", "verified", "lapsed", "withdrawn"]),
                name="claim_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="verified") | Q(expires_at__isnull=False), name="a_proof_has_an_end"
            ),
        ]

    def __str__(self) -> str:
        return self.provider

    @property
    def holds(self) -> bool:
        """Whether the organisation counts as this publisher now."""
        return self.state == self.State.VERIFIED and self.expires_at is not None and self.expires_at > timezone.now()

    @property
    def shown(self) -> str:
        """The state as people see it: a proof that ran out has lapsed, whatever the row still says."""
        if self.state == self.State.VERIFIED and not self.holds:
            return str(self.State.LAPSED)
        return str(self.state)


class Signing(models.Model):
    """The wish to sign a package with a certificate of its organisation; the result is a new package."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    package = models.ForeignKey("packages.Package", on_delete=models.CASCADE, related_name="signings")
    certificate = models.ForeignKey(SignerCertificate, on_delete=models.CASCADE, related_name="signings")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+", null=True)
    result = models.ForeignKey(
        "packages.Package", on_delete=models.SET_NULL, null=True, blank=True, related_name="signed_from"
    )
    problem = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"signing of {self.package_id}"
