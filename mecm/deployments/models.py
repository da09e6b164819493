"""Deployments: the wish that a package runs on a node, and what was observed of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.accounts import access
from core.sealing.fields import SealedJSONField
from mecm.nodes.models import DNS_LABEL

if TYPE_CHECKING:
    from core.accounts.access import Actor


#: Namespaces of trials begin like this; those of tenants begin with `t-`.
TRIAL_NAMESPACE = "trial-"


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    """Questions about deployments; they chain."""

    def visible_to(self, actor: Actor) -> DeploymentQuerySet:
        """Deployments of the organisations in which the actor may read deployments; those on trial are nobody's."""
        return cast("DeploymentQuerySet", access.scoped(self.ordinary(), actor, "deployments.read"))

    def ordinary(self) -> DeploymentQuerySet:
        """Deployments that somebody wants, and not a trial: certification makes and removes those by itself."""
        return self.exclude(namespace__startswith=TRIAL_NAMESPACE)

    def present(self) -> DeploymentQuerySet:
        """Deployments that hold a place on their node: everything that is neither gone nor given up."""
        return self.exclude(state__in=[Deployment.State.REMOVED, Deployment.State.ABANDONED])

    def not_removed(self) -> DeploymentQuerySet:
        """Deployments that may still run: the present ones, and those given up, whose node has not said "gone"."""
        return self.exclude(state=Deployment.State.REMOVED)

    def unsettled(self) -> DeploymentQuerySet:
        """Deployments whose node has not yet reached the present wish, nor failed at it."""
        return self.filter(
            state__in=[Deployment.State.PENDING, Deployment.State.PROGRESSING, Deployment.State.REMOVING]
        )


class Deployment(models.Model):
    """One application on one node.

    `generation` counts the wishes; `observed_generation` is the wish that the reported state is about. `compute`
    columns are what the rendered chart asks for and what placement counts as taken.
    """

    class Wish(models.TextChoices):
        """What should be."""

        PRESENT = "present"
        ABSENT = "absent"

    class State(models.TextChoices):
        """What is, as far as the centre knows."""

        PENDING = "pending"
        PROGRESSING = "progressing"
        READY = "ready"
        FAILED = "failed"
        REMOVING = "removing"
        REMOVED = "removed"
        #: Nobody waits for its removal any more. The wish stays, and its node may still say that it is gone.
        ABANDONED = "abandoned"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="deployments")
    node = models.ForeignKey("nodes.Node", on_delete=models.PROTECT, related_name="deployments")
    package = models.ForeignKey("packages.Package", on_delete=models.PROTECT, related_name="deployments")
    name = models.CharField(max_length=53, validators=[DNS_LABEL], help_text="the Helm release name")
    namespace = models.CharField(max_length=63)
    values = SealedJSONField(default=dict, blank=True)
    generation = models.PositiveIntegerField(default=1)
    wish = models.CharField(max_length=10, choices=Wish.choices, default=Wish.PRESENT)
    app_instance_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    cpu_millis = models.PositiveBigIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    storage_bytes = models.PositiveBigIntegerField(default=0)

    observed_generation = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=80, blank=True)
    message = models.TextField(blank=True)
    revision = models.PositiveIntegerField(default=0, help_text="the engine's revision of the release")
    workloads = models.JSONField(default=list, blank=True)
    endpoints = models.JSONField(default=list, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)

    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    abandoned_at = models.DateTimeField(
        null=True, blank=True, help_text="when it was given up; stays when it is removed"
    )
    abandoned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            # What lists and counts ask for is in the index, so that PostgreSQL need not read a hundred thousand wide rows.
            models.Index(
                fields=["organisation", "-created_at", "id"],
                include=["state", "namespace"],
                name="deployment_of_tenant",
            ),
            models.Index(fields=["node", "state"], name="deployment_by_node"),
        ]
        constraints = [
            # A removed row stays as history and gives its name free; one that was given up keeps it, because a late
            # removal must not hit another release of that name.
            models.UniqueConstraint(
                fields=["node", "namespace", "name"], condition=~Q(state="removed"), name="one_release_name_per_node"
            ),
            models.CheckConstraint(condition=Q(generation__gte=1), name="deployment_generation_counts_from_one"),
            models.CheckConstraint(
                condition=Q(observed_generation__lte=F("generation")), name="deployment_observes_no_future_wish"
            ),
            models.CheckConstraint(
                condition=~Q(state="ready") | Q(observed_generation=F("generation"), wish="present"),
                name="deployment_ready_is_about_the_present_wish",
            ),
            models.CheckConstraint(
                condition=~Q(state="removed") | Q(wish="absent"), name="deployment_removed_was_wished"
            ),
            models.CheckConstraint(
                condition=~Q(state="abandoned") | Q(wish="absent", abandoned_at__isnull=False),
                name="deployment_given_up_was_to_go",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class DeploymentRevision(models.Model):
    """One generation of a deployment: what was wished, by whom, and how it ended."""

    class Action(models.TextChoices):
        """What made this generation."""

        INSTALL = "install"
        UPGRADE = "upgrade"
        ROLLBACK = "rollback"
        REMOVE = "remove"

    class Outcome(models.TextChoices):
        """How the generation ended; empty while it has not, or when a later wish overtook it."""

        OPEN = ""
        READY = "ready"
        FAILED = "failed"
        REMOVED = "removed"

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="revisions")
    generation = models.PositiveIntegerField()
    action = models.CharField(max_length=10, choices=Action.choices)
    package = models.ForeignKey("packages.Package", on_delete=models.PROTECT, related_name="+")
    values = SealedJSONField(default=dict, blank=True, bound_to=("deployment", "generation"))
    restores = models.PositiveIntegerField(null=True, blank=True, help_text="the generation gone back to")
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.OPEN, blank=True)
    message = models.TextField(blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-generation"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "generation"], name="one_revision_per_generation"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id} generation {self.generation} ({self.action})"
