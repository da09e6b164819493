"""What belongs to dealing with another store: how it stands to us, what we have to tell it, what was recommended."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from appstore.federation.models import Peer
from appstore.packages.models import Package


class Acquaintance(models.Model):
    """What a peer and we told each other beside the confirmations."""

    peer = models.OneToOneField(Peer, on_delete=models.CASCADE, primary_key=True, related_name="acquaintance")
    introduced_by_us = models.BooleanField(default=False)
    #: Where its administrator has put us: empty (nothing told), `suspended` or `ended`.
    their_state = models.CharField(max_length=10, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="why we suspended, refused or ended")
    their_reason = models.CharField(max_length=500, blank=True)
    #: The id of a key that it showed instead of the one we know, without a word of the old key. Never used.
    strange_key = models.CharField(max_length=64, blank=True)
    strange_key_at = models.DateTimeField(null=True, blank=True)
    former_ids = models.JSONField(default=list, help_text="ids that it had before it changed its key")
    #: The number of its latest message that was taken: older ones come too late.
    last_number = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"acquaintance with {self.peer}"


class SeenRequest(models.Model):
    """A signed request that was taken: it is not taken again. Rows live as long as their date would be accepted."""

    key_id = models.CharField(max_length=64)
    nonce = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["key_id", "at"], name="seen_by_key")]
        constraints = [models.UniqueConstraint(fields=["key_id", "nonce"], name="a_signed_request_is_taken_once")]

    def __str__(self) -> str:
        return f"{self.key_id[:16]} {self.nonce}"


class Rotation(models.Model):
    """A change of our own key: the statement with which the old one vouches for the new one."""

    old_id = models.CharField(max_length=64, unique=True)
    new_id = models.CharField(max_length=64)
    envelope = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.old_id[:16]} to {self.new_id[:16]}"


class OutMessageQuerySet(models.QuerySet["OutMessage"]):
    """Questions about messages."""

    def waiting(self) -> OutMessageQuerySet:
        """Messages that are still to be delivered, in the order in which they were written."""
        return self.filter(sent_at__isnull=True, refusal__isnull=True)


class OutMessage(models.Model):
    """Something that a peer has to be told. Messages to one peer arrive in order; a refused one is not sent again."""

    id = models.BigAutoField(primary_key=True)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="messages")
    kind = models.CharField(max_length=40)
    body = models.JSONField(default=dict)
    tries = models.PositiveIntegerField(default=0)
    problem = models.JSONField(null=True, blank=True, help_text="why it could not be delivered the last time")
    refusal = models.JSONField(null=True, blank=True, help_text="the peer's no, which ends the matter")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = OutMessageQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["peer"], condition=Q(sent_at=None), name="message_to_deliver")]

    def __str__(self) -> str:
        return f"{self.kind} for {self.peer}"


class Recommendation(models.Model):
    """A notice about a release: `Take this one`. Outgoing it is about our package, incoming about one of the peer's."""

    class State(models.TextChoices):
        """What became of it."""

        OPEN = "open"
        ACCEPTED = "accepted"
        DECLINED = "declined"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    peer = models.ForeignKey(Peer, on_delete=models.CASCADE, related_name="recommendations")
    incoming = models.BooleanField()
    #: The same on both sides; given by the store that recommends.
    key = models.UUIDField()
    package = models.ForeignKey(Package, on_delete=models.SET_NULL, null=True, blank=True, related_name="recommended")
    ref = models.CharField(max_length=64)
    name = models.CharField(max_length=128)
    provider = models.CharField(max_length=128, blank=True)
    version = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(default=0)
    note = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["peer", "incoming", "-created_at"], name="recommendation_by_peer")]
        constraints = [
            models.UniqueConstraint(fields=["peer", "incoming", "key"], name="a_recommendation_is_made_once"),
            models.UniqueConstraint(
                fields=["peer", "incoming", "sha256"],
                condition=Q(state="open"),
                name="a_release_is_recommended_once_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version} for {self.peer}"
