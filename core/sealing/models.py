"""Which keys this database is sealed by, so that a missing one is noticed at the start and not by a reader."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class VaultKey(models.Model):
    """A key by which rows may be sealed, by its id. The key itself is never in the database."""

    id = models.CharField(max_length=16, primary_key=True, help_text="names the key and tells nothing of it")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-since", "id"]

    def __str__(self) -> str:
        return self.id
