"""Alarms, what happened to them, and samples of the fleet's figures."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from django.db import models
from django.db.models import Case, IntegerField, Q, Value, When

from core.accounts import access
from mecm.fleet.words import said

if TYPE_CHECKING:
    from core.accounts.access import Actor


class Severity(models.TextChoices):
    """How bad it is; names of ITU-T X.733, 8.1.2.3, which 3GPP TS 28.111 calls perceived severity. Worst first."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    WARNING = "warning"


#: The worst has rank 0.
RANKS = {str(each): rank for rank, each in enumerate(Severity.values)}


class AlarmQuerySet(models.QuerySet["Alarm"]):
    """Questions about alarms; they chain."""

    def visible_to(self, actor: Actor) -> AlarmQuerySet:
        """Alarms of the organisations in which the actor may read nodes."""
        return cast("AlarmQuerySet", access.scoped(self, actor, "nodes.read"))

    def standing(self) -> AlarmQuerySet:
        """Alarms whose cause is still there."""
        return self.filter(cleared_at=None)

    def worst_first(self) -> AlarmQuerySet:
        """By severity, the newest of each first."""
        ranks = [When(severity=name, then=Value(rank)) for name, rank in RANKS.items()]
        return self.annotate(rank=Case(*ranks, output_field=IntegerField())).order_by("rank", "-raised_at", "id")


class Alarm(models.Model):
    """One time that something was wrong, from when it was raised until it was cleared.

    What is wrong has a stable key: organisation, kind and id of the source, cause. At most one row of a key stands;
    the earlier ones are its history. Trouble that comes back soon after it went is the same row again (`times`), so
    that what flaps makes no rows without end.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="alarms")
    source_kind = models.CharField(max_length=20, help_text="node, deployment, operation, partner, recall or rollout")
    source_id = models.CharField(max_length=300, help_text="id within its kind")
    source_name = models.CharField(max_length=250, blank=True, help_text="what people call the source")
    cause = models.CharField(max_length=80, help_text="probable cause, for example node-offline")
    node = models.ForeignKey("nodes.Node", on_delete=models.SET_NULL, null=True, blank=True, related_name="alarms")
    severity = models.CharField(max_length=8, choices=Severity.choices)
    worst = models.CharField(max_length=8, choices=Severity.choices, help_text="the worst severity since it was raised")
    text = models.CharField(max_length=600, help_text="what is wrong")
    advice = models.CharField(max_length=600, blank=True, help_text="what to do next")
    said = models.JSONField(
        default=dict, blank=True, help_text="what text and advice were made of, so that they are read in any language"
    )
    times = models.PositiveIntegerField(default=1, help_text="how often it came back soon after it went")
    raised_at = models.DateTimeField()
    changed_at = models.DateTimeField(db_index=True)
    cleared_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=250, blank=True)
    note = models.CharField(max_length=500, blank=True)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "id"]
        indexes = [
            models.Index(fields=["organisation", "cleared_at", "severity"], name="alarm_by_tenant"),
            models.Index(fields=["source_kind", "source_id", "cause", "-raised_at"], name="alarm_by_key"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "source_kind", "source_id", "cause"],
                condition=Q(cleared_at=None),
                name="one_standing_alarm_per_key",
            ),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="alarm_severity_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.cause} of {self.source_name or self.source_id}"

    @property
    def text_said(self) -> str:
        """Return what is wrong, in the reader's language where that is known."""
        return said(self.said.get("text"), self.text)

    @property
    def advice_said(self) -> str:
        """Return what to do next, in the reader's language where that is known."""
        return said(self.said.get("advice"), self.advice)

    @property
    def state(self) -> str:
        """Return `cleared`, `acknowledged` or `standing`."""
        if self.cleared_at is not None:
            return "cleared"
        return "acknowledged" if self.acknowledged_at else "standing"


class AlarmEvent(models.Model):
    """What happened to an alarm: raised, became worse, was acknowledged. A few rows for each alarm, however it flaps."""

    class What(models.TextChoices):
        """What it was."""

        RAISED = "raised"
        WORSE = "worse"
        ACKNOWLEDGED = "acknowledged"

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    what = models.CharField(max_length=12, choices=What.choices)
    by = models.CharField(max_length=250, blank=True)
    severity = models.CharField(max_length=8, blank=True)
    text = models.CharField(max_length=600, blank=True)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.what} at {self.at:%F %T}"


class Resolution(models.TextChoices):
    """How long a sample stands for."""

    MINUTE = "minute"
    FIVE = "five"
    HOUR = "hour"


class Sample(models.Model):
    """The figures of one organisation at one minute, or over one hour: one row holds them all, by name."""

    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="+")
    resolution = models.CharField(max_length=6, choices=Resolution.choices)
    at = models.DateTimeField(help_text="begin of the minute or hour")
    figures = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["resolution", "at"], name="sample_by_age")]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "resolution", "at"], name="one_sample_per_moment")
        ]

    def __str__(self) -> str:
        return f"{self.resolution} {self.at:%F %H:%M}"


class NodeSample(models.Model):
    """How one node was at one moment (every five minutes) or over one hour: heard or not, what runs, what is taken."""

    node = models.ForeignKey("nodes.Node", on_delete=models.CASCADE, related_name="+")
    resolution = models.CharField(max_length=6, choices=Resolution.choices, default=Resolution.HOUR)
    at = models.DateTimeField(help_text="begin of the five minutes or the hour")
    online = models.BooleanField(help_text="heard of at that moment; an hour: at most of its moments")
    heard = models.PositiveSmallIntegerField(default=100, help_text="percent of the moments at which it was online")
    silence = models.PositiveIntegerField(
        null=True, blank=True, help_text="seconds since it was last heard of; of an hour the longest"
    )
    failed = models.PositiveIntegerField(default=0, help_text="deployments that failed; of an hour the most")
    deployments = models.PositiveIntegerField(default=0)
    not_ready = models.PositiveIntegerField(default=0)
    cpu_millis = models.PositiveBigIntegerField(default=0)
    cpu_taken = models.PositiveBigIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    memory_taken = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["at"], name="node_sample_by_age")]
        constraints = [models.UniqueConstraint(fields=["node", "resolution", "at"], name="one_node_sample_per_moment")]

    def __str__(self) -> str:
        return f"{self.node_id} {self.at:%F %H:%M}"
