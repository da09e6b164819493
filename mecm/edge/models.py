"""What the centre keeps for each edge node: its wish as a stream of revisions, what it reported, and who it is."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core.sealing.fields import SealedJSONField

#: Kinds of reports that hold nothing of anybody's values, and that SQL looks into; all others stand sealed.
OPEN_REPORTS = ("mep", "recalls")


def fresh_epoch() -> str:
    """Return a name for one life of the database; restoring a backup starts another."""
    return secrets.token_hex(8)


class NodeSync(models.Model):
    """Where the stream to one node stands.

    `last_rev` is taken under this row's lock in the transaction that writes the object, so revisions of one node
    become visible in their order. `outbox` and `last_seq` make reports idempotent: `outbox` names the
    agent's store, `last_seq` is the last report of it that was taken in.
    """

    node = models.OneToOneField("nodes.Node", on_delete=models.CASCADE, primary_key=True, related_name="sync")
    epoch = models.CharField(max_length=32, default=fresh_epoch)
    last_rev = models.BigIntegerField(default=0)
    acked_rev = models.BigIntegerField(default=0)
    outbox = models.CharField(max_length=64, blank=True)
    last_seq = models.BigIntegerField(default=0)
    hub = models.CharField(max_length=32, blank=True, db_index=True, help_text="process that holds the connection")
    connected_at = models.DateTimeField(null=True, blank=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)
    snapshots = models.PositiveIntegerField(default=0, help_text="times the node had to be told everything")
    mismatches = models.PositiveIntegerField(default=0, help_text="times its digest differed from ours")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(acked_rev__lte=F("last_rev")), name="acked_rev_was_sent"),
        ]

    def __str__(self) -> str:
        return f"{self.node_id} at {self.last_rev}"

    @property
    def connected(self) -> bool:
        """Return whether a hub holds a connection of this node."""
        return bool(self.hub)


class DesiredObjectQuerySet(models.QuerySet["DesiredObject"]):
    """Questions about the wish; they chain."""

    def after(self, rev: int) -> DesiredObjectQuerySet:
        """What changed since `rev`, tombstones too, in the order of the stream."""
        return self.filter(rev__gt=rev).order_by("rev")

    def live(self) -> DesiredObjectQuerySet:
        """What is wished for; no tombstones."""
        return self.filter(deleted=False)


class DesiredObject(models.Model):
    """One thing that a node should be; the latest wish wins. Deleted ones stay as tombstones (`stream.ack`, `confirm`)."""

    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="desired")
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120)
    rev = models.BigIntegerField()
    generation = models.BigIntegerField(default=1)
    deleted = models.BooleanField(default=False)
    spec = SealedJSONField(default=dict, bound_to=("node", "kind", "key"))
    sha256 = models.CharField(max_length=64)

    objects = DesiredObjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "kind", "key"], name="one_desired_object_per_key"),
            models.UniqueConstraint(fields=["node", "rev"], name="one_desired_object_per_revision"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}/{self.key} at {self.rev}"


class ReportedObject(models.Model):
    """What a node last said about one thing."""

    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="reported")
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120)
    observed_generation = models.BigIntegerField(default=0)
    status = SealedJSONField(default=dict, bound_to=("node", "kind", "key"), open_if=("kind", OPEN_REPORTS))
    reported_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "kind", "key"], name="one_reported_object_per_key"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


class EnrolmentToken(models.Model):
    """The secret half of a join string, stored hashed: usable `max_uses` times until `expires_at`."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="enrolment_tokens")
    uses = models.PositiveIntegerField(default=0)
    max_uses = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(uses__lte=F("max_uses")), name="enrolment_token_not_overused"),
        ]

    def __str__(self) -> str:
        return f"for {self.node_id} until {self.expires_at:%F %T}"


class NodeCert(models.Model):
    """A certificate that a node holds; looked up at every connect."""

    serial = models.CharField(max_length=40, primary_key=True, help_text="hexadecimal, small letters")
    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="certificates")
    certificate = models.TextField(help_text="PEM; public")
    created_at = models.DateTimeField(default=timezone.now)
    not_after = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        indexes = [models.Index(fields=["node", "not_after"], name="edge_cert_by_node")]

    def __str__(self) -> str:
        return self.serial
