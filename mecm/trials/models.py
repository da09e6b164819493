"""Trials: which nodes are sandboxes, and what is being tried on them now."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from mecm.deployments.models import TRIAL_NAMESPACE

if TYPE_CHECKING:
    from datetime import datetime


class SandboxQuerySet(models.QuerySet["Sandbox"]):
    """Questions about sandboxes; they chain."""

    def of(self, organisation_id: uuid.UUID | str) -> SandboxQuerySet:
        """Sandboxes of one organisation, by the name of their node."""
        return self.filter(node__organisation_id=organisation_id).order_by("node__name")


class Sandbox(models.Model):
    """The operator's word that a node may be used for trials: what runs there may be disturbed, and its link cut."""

    node = models.OneToOneField("nodes.Node", on_delete=models.CASCADE, primary_key=True, related_name="sandbox")
    marked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    marked_at = models.DateTimeField(default=timezone.now)

    objects = SandboxQuerySet.as_manager()

    def __str__(self) -> str:
        return f"sandbox {self.node_id}"


class TrialQuerySet(models.QuerySet["Trial"]):
    """Questions about trials; they chain."""

    def under_way(self) -> TrialQuerySet:
        """Trials that still hold their sandbox: also those that are being cleared away."""
        return self.filter(ended_at=None)

    def abandoned(self, now: datetime | None = None) -> TrialQuerySet:
        """Trials whose caller has not been heard of for longer than its lease."""
        return self.under_way().filter(lease_until__lt=now or timezone.now())


class Trial(models.Model):
    """One package on one sandbox, for as long as somebody tries it.

    `commands` counts what was asked of the node. Each use renews the lease; when it runs out, or when the caller is
    done, everything is removed and `ended_at` says that nothing is left.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="trials")
    package = models.ForeignKey("packages.Package", on_delete=models.CASCADE, related_name="trials")
    deployment = models.OneToOneField(
        "deployments.Deployment", on_delete=models.SET_NULL, null=True, blank=True, related_name="trial"
    )
    namespace = models.CharField(max_length=63)
    operation = models.CharField(max_length=64, blank=True, help_text="the long work that asked for the trial")
    instances = models.PositiveIntegerField(default=0, help_text="how often the package was deployed so far")
    commands = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField()
    closing = models.BooleanField(default=False, help_text="nothing more is tried; what is left is removed")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = TrialQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "id"]
        constraints = [
            # One cuts the link of the whole node: two at a time would see each other's disturbances.
            models.UniqueConstraint(fields=["node"], condition=Q(ended_at=None), name="one_trial_at_a_time_on_a_node"),
            models.CheckConstraint(
                condition=Q(namespace__startswith=TRIAL_NAMESPACE), name="trial_has_a_namespace_of_its_own"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("started_at")), name="trial_ends_after_its_start"
            ),
        ]

    def __str__(self) -> str:
        return f"trial in {self.namespace}"
