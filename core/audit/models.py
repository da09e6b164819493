"""Who did what, when, to which object; rows are added and never changed."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.db import models

from core.errors import Conflict
from core.words import say


class EntryQuerySet(models.QuerySet["Entry"]):
    """Entries may be read and added, nothing else."""

    def update(self, **values: Any) -> NoReturn:
        """Refuse."""
        raise Conflict(say("The audit trail is append-only"))

    def delete(self) -> NoReturn:
        """Refuse."""
        raise Conflict(say("The audit trail is append-only"))


class Entry(models.Model):
    """One deed. A trigger in the database keeps even raw SQL from changing or deleting it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=250)
    actor_id = models.UUIDField(null=True)
    organisation_id = models.UUIDField(null=True)
    action = models.CharField(max_length=80)
    object_type = models.CharField(max_length=80, blank=True)
    object_id = models.CharField(max_length=80, blank=True)
    object_name = models.CharField(max_length=250, blank=True)
    facts = models.JSONField(default=dict)

    objects = EntryQuerySet.as_manager()

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["organisation_id", "-at"], name="audit_by_organisation"),
            models.Index(fields=["object_type", "object_id", "-at"], name="audit_by_object"),
            models.Index(fields=["organisation_id", "actor", "-at"], name="audit_by_actor"),
            models.Index(fields=["organisation_id", "action", "-at"], name="audit_by_action"),
            models.Index(fields=["organisation_id", "object_id", "-at"], name="audit_by_target"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.actor} {self.action} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the entry; an entry that exists is never saved again."""
        if not self._state.adding:
            raise Conflict(say("The audit trail is append-only"))
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise Conflict(say("The audit trail is append-only"))
