"""What the agent keeps on the node, so that it can start and serve without the centre."""

from __future__ import annotations

from django.db import models


class Desired(models.Model):
    """The last wish of the centre for one thing; its spec is sealed with the node's key.

    A deleted one keeps the spec it had, because removing needs it, until the thing is gone.
    """

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120)
    rev = models.BigIntegerField()
    generation = models.BigIntegerField()
    deleted = models.BooleanField(default=False)
    sealed = models.BinaryField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_wish_per_key")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.key} at {self.rev}"


class Applied(models.Model):
    """What the agent did about a wish: which generation, how it went, how often it was tried."""

    class State(models.TextChoices):
        """How far it got."""

        APPLIED = "applied"
        RETRYING = "retrying"
        FAILED = "failed"
        REMOVING = "removing"
        #: Stopped, or never started, because the package is recalled.
        RECALLED = "recalled"

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120)
    generation = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices)
    last_error = models.JSONField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    since = models.FloatField(help_text="when this state began, seconds since 1970")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_outcome_per_key")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.key} {self.state}"


class Outbox(models.Model):
    """A report on its way to the centre; a newer one of the same route replaces it. `seq` is never used twice."""

    seq = models.BigAutoField(primary_key=True)
    route = models.CharField(max_length=170, unique=True, help_text="kind/key")
    expires = models.FloatField(null=True, help_text="seconds since 1970 after which nobody wants it")
    body = models.JSONField()

    def __str__(self) -> str:
        return f"{self.seq} {self.route}"


class KV(models.Model):
    """Single facts: the epoch of the centre's database, the last revision, the name of this store."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.JSONField()

    def __str__(self) -> str:
        return self.name
