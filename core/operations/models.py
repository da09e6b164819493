"""Long work is a row: the row is the queue, a message is only a doorbell."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.utils import timezone


class OperationQuerySet(models.QuerySet["Operation"]):
    """Questions about operations."""

    def due(self) -> OperationQuerySet:
        """Return pending work whose time has come, oldest first."""
        return self.filter(state=Operation.State.PENDING, run_after__lte=timezone.now()).order_by(
            "run_after", "created_at"
        )

    def abandoned(self) -> OperationQuerySet:
        """Return running work whose worker has not renewed its lease."""
        return self.filter(state=Operation.State.RUNNING, lease_until__lt=timezone.now())

    def unfinished(self) -> OperationQuerySet:
        """Return work that is pending or running."""
        return self.filter(state__in=[Operation.State.PENDING, Operation.State.RUNNING])

    def about(self, target: str) -> OperationQuerySet:
        """Return the operations on `target`, newest first."""
        return self.filter(target=target).order_by("-created_at")


class Operation(models.Model):
    """One piece of long work.

    `attempts` is the fencing token: every write of a worker names the attempt it belongs to, so a
    worker that lost its lease changes nothing any more. `payload` holds ids, never objects or secrets.
    The organisation is a bare id because edge nodes run the same rows without accounts.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=80)
    target = models.CharField(max_length=200, help_text="what is worked on, e.g. package:<id>")
    payload = models.JSONField(default=dict)
    organisation_id = models.UUIDField(null=True, blank=True, db_index=True)
    requested_by = models.CharField(max_length=150, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    percent = models.PositiveSmallIntegerField(default=0)
    note = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=5)
    cancel_requested = models.BooleanField(default=False)
    problem = models.JSONField(null=True, blank=True)
    run_after = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = OperationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "run_after"], name="operation_queue"),
            models.Index(fields=["target", "-created_at"], name="operation_by_target"),
            models.Index(fields=["organisation_id", "-created_at"], name="operation_by_organisation"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "target"],
                condition=Q(state="pending"),
                name="asking_twice_while_pending_is_asking_once",
            ),
            models.UniqueConstraint(fields=["target"], condition=Q(state="running"), name="one_worker_per_target"),
            models.CheckConstraint(condition=Q(percent__lte=100), name="percent_is_at_most_100"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target} ({self.state})"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to this row."""
        return self.state in (self.State.SUCCEEDED, self.State.FAILED, self.State.CANCELLED)

    def claim(self, lease: float | None = None) -> bool:
        """Take the row for this worker; False when another has it, or another row on the same target runs."""
        now = timezone.now()
        claimable = Operation.objects.filter(pk=self.pk, state=self.State.PENDING, run_after__lte=now)
        try:
            with transaction.atomic():
                won = claimable.update(
                    state=self.State.RUNNING,
                    attempts=F("attempts") + 1,
                    lease_until=now + timedelta(seconds=lease or settings.OPERATION_LEASE),
                    started_at=now,
                    note="",
                )
        except IntegrityError:
            return False
        if won:
            self.refresh_from_db()
        return bool(won)

    def progress(self, percent: int, note: str = "") -> None:
        """Tell how far the work is, and renew the lease; `LostLease` when the row is no longer ours."""
        self._write(percent=max(0, min(100, percent)), note=note[:300], lease_until=self._next_lease())

    def renew(self) -> None:
        """Renew the lease; `LostLease` when the row is no longer ours."""
        self._write(lease_until=self._next_lease())

    def cancelled(self) -> bool:
        """Return whether somebody has asked to stop this work."""
        return Operation.objects.filter(pk=self.pk, cancel_requested=True).exists()

    def _next_lease(self) -> Any:
        return timezone.now() + timedelta(seconds=settings.OPERATION_LEASE)

    def _write(self, **values: Any) -> None:
        mine = Operation.objects.filter(pk=self.pk, state=self.State.RUNNING, attempts=self.attempts)
        if not mine.update(**values):
            raise LostLease(f"{self} is no longer held by attempt {self.attempts}")
        for name, value in values.items():
            setattr(self, name, value)


class LostLease(Exception):
    """This worker was taken for dead and its work given to another; it must stop without another write."""
