"""Edge nodes: places where applications run."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from core.accounts import access

if TYPE_CHECKING:
    from core.accounts.access import Actor

#: A name is part of container names, host names and Kubernetes labels (RFC 1123, 2.1).
DNS_LABEL = RegexValidator(
    r"\A[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z",
    "must be small letters, digits and hyphens, and begin and end with a letter or digit",
)


class NodeQuerySet(models.QuerySet["Node"]):
    """Questions about nodes; they chain."""

    def visible_to(self, actor: Actor) -> NodeQuerySet:
        """Nodes of the organisations in which the actor may read nodes."""
        return cast("NodeQuerySet", access.scoped(self, actor, "nodes.read"))

    def stale(self) -> NodeQuerySet:
        """Nodes that were seen once and have been silent for longer than we trust."""
        return self.filter(last_seen_at__lt=timezone.now() - silence_limit())

    def online(self) -> NodeQuerySet:
        """Nodes that were seen within the time that we trust."""
        return self.filter(last_seen_at__gte=timezone.now() - silence_limit())

    def in_state(self, state: str) -> NodeQuerySet:
        """Nodes in one of the computed states; none for a word that is no state."""
        if state == Node.State.NEW:
            return self.filter(last_seen_at=None, enrolled_at=None)
        if state == Node.State.ENROLLED:
            return self.filter(last_seen_at=None, enrolled_at__isnull=False)
        if state == Node.State.ONLINE:
            return self.online()
        return self.stale() if state == Node.State.OFFLINE else self.none()

    def with_load(self) -> NodeQuerySet:
        """Nodes with `deployed` and with what their deployments ask for in all (`cpu_taken` and so on)."""
        # By subqueries, which are answered for the rows of one page; a join would add up all nodes to show fifty.
        deployment: Any = self.model._meta.get_field("deployments").related_model
        held = deployment.objects.present().filter(node=OuterRef("pk")).order_by().values("node")

        def taken(column: str) -> Coalesce:
            total = held.annotate(total=Sum(column)).values("total")
            return Coalesce(Subquery(total), Value(0), output_field=models.BigIntegerField())

        return self.annotate(
            deployed=Coalesce(Subquery(held.annotate(total=Count("pk")).values("total")), Value(0)),
            cpu_taken=taken("cpu_millis"),
            memory_taken=taken("memory_bytes"),
            storage_taken=taken("storage_bytes"),
        ).order_by("name", "id")

    def direct(self) -> NodeQuerySet:
        """Nodes on which a worker of the centre is the applier."""
        return self.filter(link=Node.Link.DIRECT)


def silence_limit() -> timedelta:
    """Return how long a node may be silent before it counts as offline."""
    return timedelta(seconds=settings.HEARTBEAT_LIMIT)


class Node(models.Model):
    """One edge node, or one cluster that the centre reaches directly.

    `cpu_millis`, `memory_bytes` and `storage_bytes` are what placement counts with; 0 is "not known".
    They follow what the node reports unless an operator has fixed them (`capacity_fixed`).
    """

    class Link(models.TextChoices):
        """Who applies the desired state."""

        AGENT = "agent", "an agent on the node dials the centre"
        DIRECT = "direct", "a worker of the centre reaches the cluster"

    class State(models.TextChoices):
        """What we know of a node; computed, never stored."""

        NEW = "new"
        ENROLLED = "enrolled"
        ONLINE = "online"
        OFFLINE = "offline"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=63, validators=[DNS_LABEL])
    labels = models.JSONField(default=dict, blank=True)
    latitude = models.FloatField(null=True, blank=True)
    longitude = models.FloatField(null=True, blank=True)
    engine = models.CharField(max_length=40, help_text="short name of an engine in engines.registry")
    link = models.CharField(max_length=10, choices=Link.choices, default=Link.AGENT)

    cpu_millis = models.PositiveBigIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    storage_bytes = models.PositiveBigIntegerField(default=0)
    capacity_fixed = models.BooleanField(default=False, help_text="an operator's figures win over reported ones")
    facts = models.JSONField(default=dict, blank=True, help_text="what the node last said of itself")

    kubeconfig = models.BinaryField(null=True, blank=True, editable=False, help_text="sealed; never leaves the server")
    mep_url = models.CharField(max_length=300, blank=True)
    mep_token = models.BinaryField(null=True, blank=True, editable=False, help_text="sealed; never leaves the server")
    mep_ca = models.TextField(blank=True, help_text="PEM of the authority that the MEP's certificate must come from")

    enrolled_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True, db_index=True)
    agent_version = models.CharField(max_length=60, blank=True)
    engine_version = models.CharField(max_length=200, blank=True)
    simulated = models.BooleanField(default=False, help_text="the node said that its runtime runs nothing for real")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="one_node_name_per_organisation"),
            models.CheckConstraint(
                condition=Q(latitude__isnull=True) | Q(latitude__gte=-90, latitude__lte=90),
                name="node_latitude_is_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(longitude__isnull=True) | Q(longitude__gte=-180, longitude__lte=180),
                name="node_longitude_is_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(latitude__isnull=True, longitude__isnull=True)
                | Q(latitude__isnull=False, longitude__isnull=False),
                name="node_has_both_coordinates_or_none",
            ),
            models.CheckConstraint(condition=Q(link__in=["agent", "direct"]), name="node_link_is_known"),
            models.CheckConstraint(condition=~Q(engine=""), name="node_has_an_engine"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """Return `new`, `enrolled`, `online` or `offline`, from when the node was last seen."""
        if self.last_seen_at is not None:
            fresh = self.last_seen_at >= timezone.now() - silence_limit()
            return str(self.State.ONLINE if fresh else self.State.OFFLINE)
        return str(self.State.ENROLLED if self.enrolled_at else self.State.NEW)

    @property
    def capacity(self) -> dict[str, Any]:
        """Return the figures that placement counts with."""
        return {
            "cpu_millis": self.cpu_millis,
            "memory_bytes": self.memory_bytes,
            "storage_bytes": self.storage_bytes,
        }
