"""A program that waits to be let in, and the codes that were guessed wrong."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class GrantQuerySet(models.QuerySet["Grant"]):
    """Questions about grants."""

    def waiting(self) -> GrantQuerySet:
        """Return those that somebody can still decide."""
        return self.filter(state=Grant.State.PENDING, expires_at__gt=timezone.now())


class Grant(models.Model):
    """One request to sign in. Of the device code only its SHA-256 is kept; the user code is short and ends soon."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REFUSED = "refused"
        #: The token was handed out; a device code is good for one.
        SPENT = "spent"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device_sha256 = models.CharField(max_length=64, unique=True)
    user_code = models.CharField(max_length=8, unique=True)
    client_id = models.CharField(max_length=60)
    client_name = models.CharField(max_length=80, help_text="what the program says of itself")
    address = models.CharField(max_length=45, db_index=True)
    scopes = models.JSONField(default=list, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, null=True, related_name="+")
    interval = models.PositiveSmallIntegerField(default=5, help_text="seconds between questions of the program")
    polled_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                name="an_approved_grant_has_a_person",
                condition=models.Q(state__in=["pending", "refused"]) | models.Q(user__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.client_name} at {self.address}"

    @property
    def spelled(self) -> str:
        """The user code as people read it."""
        return f"{self.user_code[:4]}-{self.user_code[4:]}"


class Miss(models.Model):
    """A code that nobody waits with, kept as long as it counts against the one who entered it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.user_id} at {self.at:%F %T}"
