"""Partner stores, what was agreed with them, how far we follow them, and what they offer."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from appstore.federation.terms import Terms, seen_by
from appstore.keys.models import SigningKey
from appstore.packages.models import Package

#: The purpose of the key that is this store (`appstore.keys.services.STORE`, which no model may import).
STORE = "store"


class Peer(models.Model):
    """Another store, known by its key. Both sides confirm each other's fingerprint before anything is exchanged.

    `store_id` is the SHA-256 of its public key, which is also its id everywhere; a new key is a new meeting.
    """

    class State(models.TextChoices):
        """How we stand with it."""

        #: One of the two sides has not confirmed the fingerprint yet.
        PENDING = "pending"
        ACTIVE = "active"
        #: Set aside by us: it gets nothing and we ask for nothing.
        SUSPENDED = "suspended"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="peers")
    store_id = models.CharField(max_length=64, unique=True)
    public_pem = models.TextField()
    name = models.CharField(max_length=120)
    url = models.URLField(max_length=300)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    #: `breakwater`, or `edgegallery` for a store of the original, which is read only and never trusted.
    kind = models.CharField(max_length=12, default="breakwater")
    confirmed_at = models.DateTimeField(null=True, blank=True, help_text="when we confirmed its fingerprint")
    they_confirmed_at = models.DateTimeField(null=True, blank=True, help_text="when it told us that it confirmed ours")
    #: Since when we know that it signs its answers. From then on an answer without its signature is not its answer.
    answers_signed_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True)
    problem = models.JSONField(null=True, blank=True, help_text="the last thing that went wrong, as a problem document")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="active")
                | (Q(confirmed_at__isnull=False) & Q(they_confirmed_at__isnull=False))
                | ~Q(kind="breakwater"),
                name="an_active_peer_is_confirmed_by_both",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def agreement(self) -> Agreement | None:
        """Return the agreement in force; None without one, past its end, and while either side has suspended."""
        if self.state != self.State.ACTIVE:
            return None
        return self.agreements.in_force().select_related("peer").first()  # type: ignore[attr-defined,no-any-return]


class AgreementQuerySet(models.QuerySet["Agreement"]):
    """Questions about agreements; they chain."""

    def in_force(self) -> AgreementQuerySet:
        """Agreements that count now: accepted, not over, with a peer that neither side has set aside."""
        valid = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        found = self.filter(valid, state=Agreement.State.ACCEPTED, peer__state=Peer.State.ACTIVE)
        # A peer that we never wrote to has no acquaintance yet; it has suspended nothing.
        return found.exclude(peer__acquaintance__their_state__in=("suspended", "ended"))


class Agreement(models.Model):
    """One version of what two stores agreed; it counts once both have signed the same terms.

    `terms` (see `federation.terms`) is the canonical document, `digest` its SHA-256; signatures are DSSE envelopes over it.
    """

    class State(models.TextChoices):
        """How far it got."""

        PROPOSED = "proposed"
        ACCEPTED = "accepted"
        DECLINED = "declined"
        #: A later version was accepted.
        SUPERSEDED = "superseded"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="agreements")
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PROPOSED)
    proposed_by_us = models.BooleanField()
    terms = models.JSONField()
    digest = models.CharField(max_length=64)
    our_signature = models.JSONField(null=True, blank=True)
    their_signature = models.JSONField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="why it was declined or ended")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = AgreementQuerySet.as_manager()

    class Meta:
        ordering = ["peer", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["peer", "version"], name="an_agreement_has_one_text_for_each_version"),
            models.UniqueConstraint(
                fields=["peer"], condition=Q(state="accepted"), name="one_agreement_with_a_peer_counts"
            ),
            models.CheckConstraint(
                condition=~Q(state="accepted") | (Q(our_signature__isnull=False) & Q(their_signature__isnull=False)),
                name="an_accepted_agreement_is_signed_by_both",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.peer} version {self.version}"

    def read(self) -> Terms:
        """Return the terms as this store reads them: `out` is what we give, `incoming` what we take."""
        parties = self.terms.get("parties", [])
        # Either side may have changed its key since; the document names the ids of the day it was signed.
        ours = SigningKey.objects.filter(purpose=STORE, pk__in=parties).values_list("pk", flat=True).first()
        return seen_by(self.terms, ours or "")


class ReleaseGrant(models.Model):
    """A release of visibility `partners` is offered to this peer."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="grants")
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="grants")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["package", "peer"], name="a_release_is_granted_once_to_a_peer")]

    def __str__(self) -> str:
        return f"{self.package} for {self.peer}"


class PeerSync(models.Model):
    """How far we follow a peer's feed. The cursor is written last, in the transaction that switches to the new state."""

    peer = models.OneToOneField(Peer, on_delete=models.CASCADE, primary_key=True, related_name="sync")
    serial = models.BigIntegerField(default=0, help_text="of the peer's index that we hold")
    etag = models.CharField(max_length=120, blank=True)
    #: The metadata of The Update Framework that we trust of this peer, by role, as they were signed.
    trusted = models.JSONField(default=dict)
    full_at = models.DateTimeField(null=True, blank=True, help_text="when a full listing was taken over last")
    synced_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    problem = models.JSONField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True, help_text="not asked by itself before then")

    def __str__(self) -> str:
        return f"{self.peer} at {self.serial}"


class RemoteRelease(models.Model):
    """A release that a peer offers: its metadata as the signed index has them, and our copy once we fetched it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="offers")
    ref = models.CharField(max_length=64, help_text="the id that the peer gives it")
    name = models.CharField(max_length=128)
    provider = models.CharField(max_length=128)
    version = models.CharField(max_length=64)
    state = models.CharField(max_length=12, default="published")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    metadata = models.JSONField(default=dict)
    #: Our copy; it keeps `origin` and `origin_ref`.
    package = models.ForeignKey(Package, on_delete=models.SET_NULL, null=True, blank=True, related_name="offers")
    problem = models.JSONField(null=True, blank=True)
    #: What came of fetching it: `problem` of the last attempt, `certificates` with what we think of each.
    imported = models.JSONField(default=dict)
    seen_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["peer", "name", "version"]
        indexes = [models.Index(fields=["provider", "name", "version"], name="offer_by_name")]
        constraints = [models.UniqueConstraint(fields=["peer", "ref"], name="a_peer_offers_a_release_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.version} of {self.peer}"


# Django finds the models of an app by this module; they stand in a file of their own.
from appstore.federation.models_feed import (  # noqa: E402, F401
    CourierBag,
    FeedAudience,
    FeedChange,
    FeedFile,
    FeedMetadata,
    FeedOffer,
    FeedPartner,
    FeedRoot,
    PeerPolicy,
    TransferDay,
)
from appstore.federation.models_peers import (  # noqa: E402, F401
    Acquaintance,
    OutMessage,
    Recommendation,
    Rotation,
    SeenRequest,
)
