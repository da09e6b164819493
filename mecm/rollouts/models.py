"""Rollouts: the wish that a release reaches many nodes, wave by wave, and how far it got on each."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from core.accounts import access
from core.sealing.fields import SealedJSONField

if TYPE_CHECKING:
    from core.accounts.access import Actor

#: The most that may be under way at once, and the longest that a node or a pause may take.
MOST_PARALLEL, LONGEST = 500, 7 * 24 * 3600


class RolloutQuerySet(models.QuerySet["Rollout"]):
    """Questions about rollouts; they chain."""

    def visible_to(self, actor: Actor) -> RolloutQuerySet:
        """Rollouts of the organisations in which the actor may read deployments."""
        return cast("RolloutQuerySet", access.scoped(self, actor, "deployments.read"))

    def active(self) -> RolloutQuerySet:
        """Rollouts that still have something to do or to watch."""
        return self.filter(state__in=ACTIVE)


class Rollout(models.Model):
    """One release for many nodes.

    `target` says which: `{"kind": "nodes", ...}` or `{"kind": "deployments", ...}`. `values` is null when each
    deployment keeps its own. `wave` is the highest that was begun, `approved` the highest that may be begun when a
    person decides between waves (`pause` is null). `goal` is what `stopping` leads to.
    """

    class State(models.TextChoices):
        """Where it stands."""

        PLANNED = "planned"
        RUNNING = "running"
        PAUSED = "paused"
        STOPPING = "stopping"
        DONE = "done"
        FAILED = "failed"
        ABORTED = "aborted"
        ROLLED_BACK = "rolled-back"

    class Goal(models.TextChoices):
        """What becomes of it once nothing is under way any more."""

        GO_ON = ""
        HOLD = "hold"
        ABORT = "abort"
        ROLLBACK = "rollback"

    class OnStop(models.TextChoices):
        """What is done when the stop rule is hit."""

        HOLD = "hold", "hold: leave everything as it is and wait for a person"
        ROLLBACK = "rollback", "roll back what this rollout has changed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.PROTECT, related_name="rollouts")
    package = models.ForeignKey("packages.Package", on_delete=models.PROTECT, related_name="+")
    title = models.CharField(max_length=120)
    name = models.CharField(max_length=53, blank=True, help_text="release name of deployments that are made")
    values = SealedJSONField(null=True, blank=True, help_text="null: each deployment keeps its own")
    target = models.JSONField(default=dict)

    waves = models.JSONField(default=list, help_text='sizes as they were asked for: ["1", "10%", "rest"]')
    wave_count = models.PositiveIntegerField(default=0)
    max_parallel = models.PositiveIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(MOST_PARALLEL)]
    )
    pause = models.PositiveIntegerField(null=True, blank=True, help_text="seconds; null waits for a person")
    stop_over = models.PositiveIntegerField(null=True, blank=True, help_text="stop when more fail in a wave")
    stop_percent = models.PositiveIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(100)], help_text="stop when a larger share of a wave fails"
    )
    node_timeout = models.PositiveIntegerField(default=600, help_text="seconds until a node that is not ready failed")
    on_stop = models.CharField(max_length=10, choices=OnStop.choices, default=OnStop.HOLD)

    state = models.CharField(max_length=12, choices=State.choices, default=State.PLANNED)
    goal = models.CharField(max_length=10, choices=Goal.choices, default=Goal.GO_ON, blank=True)
    why = models.CharField(max_length=400, blank=True, help_text="why it is in this state, in words")
    wave = models.PositiveIntegerField(default=0)
    approved = models.PositiveIntegerField(default=1)
    wave_ready_at = models.DateTimeField(null=True, blank=True)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    acts_for = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="with whose permissions nodes are changed: whoever started or resumed it last",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RolloutQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            models.Index(fields=["organisation", "-created_at"], name="rollout_by_tenant"),
            models.Index(fields=["state"], name="rollout_by_state"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "name"],
                condition=Q(state__in=["running", "paused", "stopping"]) & ~Q(name=""),
                name="one_rollout_at_work_per_release_name",
            ),
            models.CheckConstraint(
                condition=Q(max_parallel__gte=1, max_parallel__lte=MOST_PARALLEL), name="rollout_parallel_is_bounded"
            ),
            models.CheckConstraint(
                condition=Q(state="stopping") | Q(goal__in=["", "rollback"]), name="rollout_goal_is_of_stopping"
            ),
        ]

    def __str__(self) -> str:
        return self.title


#: A paused one is watched as long as nodes are under way.
ACTIVE = (Rollout.State.RUNNING, Rollout.State.PAUSED, Rollout.State.STOPPING)
ENDED = (Rollout.State.DONE, Rollout.State.FAILED, Rollout.State.ABORTED, Rollout.State.ROLLED_BACK)


class Place(models.Model):
    """One node in a rollout: what is to be done there, and what became of it.

    `generation` is the wish that this rollout made, `before` the one it went back to or would; null when there was
    no deployment. A place with nothing to do is in wave 0.
    """

    class Action(models.TextChoices):
        """What the plan says."""

        INSTALL = "install"
        UPGRADE = "upgrade"
        KEEP = "keep", "no change"
        UNFIT = "unfit", "does not fit"

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting"
        GOING = "going"
        READY = "ready"
        FAILED = "failed"
        SKIPPED = "skipped"
        RETURNING = "returning"
        RETURNED = "returned"
        STUCK = "stuck"

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="places")
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="rollout_places")
    deployment = models.ForeignKey(
        "deployments.Deployment", on_delete=models.SET_NULL, null=True, blank=True, related_name="rollout_places"
    )
    name = models.CharField(max_length=53)
    wave = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    action = models.CharField(max_length=10, choices=Action.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    excused = models.BooleanField(default=False, help_text="a person went on in spite of this failure")
    reason = models.CharField(max_length=80, blank=True)
    message = models.TextField(blank=True)
    remarks = models.JSONField(default=list, blank=True)
    before = models.PositiveIntegerField(null=True, blank=True)
    generation = models.PositiveIntegerField(null=True, blank=True)
    back = models.PositiveIntegerField(null=True, blank=True, help_text="the generation of the way back")
    attempts = models.PositiveIntegerField(default=0)
    began_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["wave", "position", "id"]
        indexes = [models.Index(fields=["rollout", "state", "wave"], name="rollout_place_by_state")]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "node", "name"], name="a_rollout_has_a_place_once"),
            models.UniqueConstraint(
                fields=["deployment"],
                condition=Q(state__in=["going", "returning"]),
                name="one_rollout_at_work_per_deployment",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.node_id} ({self.state})"


def places_of(rollout: Rollout) -> models.QuerySet[Place]:
    """Return the places of a rollout."""
    return Place.objects.filter(rollout=rollout)


class Event(models.Model):
    """Something that happened to a rollout as a whole."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=250, blank=True)
    what = models.CharField(max_length=40)
    text = models.CharField(max_length=400)

    class Meta:
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"
