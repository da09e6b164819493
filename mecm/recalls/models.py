"""Which deployments a recall concerned when it was issued: what became of them is read from the deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.db import models

from core.accounts import access

if TYPE_CHECKING:
    from core.accounts.access import Actor


class TargetQuerySet(models.QuerySet["Target"]):
    """Questions about targets; they chain."""

    def visible_to(self, actor: Actor) -> TargetQuerySet:
        """Targets of the organisations in which the actor may read deployments."""
        return cast("TargetQuerySet", access.scoped(self, actor, "deployments.read"))


class Target(models.Model):
    """One deployment that ran a recalled package."""

    recall = models.ForeignKey("releases.Recall", on_delete=models.CASCADE, related_name="targets")
    deployment = models.ForeignKey("deployments.Deployment", on_delete=models.CASCADE, related_name="recall_targets")
    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="recall_targets")
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    #: The release that ran there.
    package = models.ForeignKey("packages.Package", on_delete=models.PROTECT, related_name="+")
    noted_at = models.DateTimeField(auto_now_add=True)

    objects = TargetQuerySet.as_manager()

    class Meta:
        ordering = ["recall", "id"]
        indexes = [models.Index(fields=["organisation", "recall"], name="recall_target_by_tenant")]
        constraints = [
            models.UniqueConstraint(fields=["recall", "deployment"], name="a_recall_finds_a_deployment_once")
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id} of {self.recall_id}"
