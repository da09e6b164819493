"""Test deployments: a developer watches a package on a sandbox node, for a limited time."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.utils import timezone

from core.sealing.fields import SealedJSONField


class TestDeploymentQuerySet(models.QuerySet["TestDeployment"]):
    """Questions about test deployments; they chain."""

    def under_way(self) -> TestDeploymentQuerySet:
        """Those that hold a sandbox, also while it is being cleared."""
        return self.filter(ended_at=None)


class TestDeployment(models.Model):
    """One package on one sandbox until `ends_at`. What the node said last stays here when it is over.

    `seen` holds `state`, `logs` (lines) and `mep` (what Mp1 knows of the instance), as `mecm.trials` tells them.
    """

    __test__ = False  # pytest takes its name for a test

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    trial = models.OneToOneField("trials.Trial", on_delete=models.CASCADE, related_name="test_deployment")
    values = SealedJSONField(default=dict, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="when nothing was left on the node")
    watched_at = models.DateTimeField(default=timezone.now, help_text="when somebody looked at it last")
    looks = models.PositiveIntegerField(default=0)
    seen = SealedJSONField(default=dict, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True, help_text="why the node could not be looked at")

    objects = TestDeploymentQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "id"]
        indexes = [models.Index(fields=["organisation", "-started_at"], name="test_by_organisation")]

    def __str__(self) -> str:
        return f"{self.trial.package} on {self.trial.node.name}"

    @property
    def state(self) -> str:
        """How it is: `waiting` for the node, then what the node says of the instance, `removing`, `ended`."""
        if self.ended_at:
            return "ended"
        if self.trial.closing or self.ends_at <= timezone.now():
            return "removing"
        told = str(self.seen.get("state", {}).get("state", ""))
        return told if told not in ("", "absent") else "waiting"

    @property
    def over(self) -> bool:
        """Whether nobody can do anything with it any more."""
        return self.state in ("ended", "removing")

    def left(self, now: datetime | None = None) -> float:
        """Return the seconds until it ends."""
        return max(0.0, (self.ends_at - (now or timezone.now())).total_seconds())
