"""What was backed up, by whom, and whether it was proved that it can be restored."""

from __future__ import annotations

import uuid

from django.db import models


class Backup(models.Model):
    """One file that was written and, maybe, restored on trial. The file itself is somewhere out of our sight."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=150)
    file = models.CharField(max_length=500, help_text="where it was written to")
    sha256 = models.CharField(max_length=64, unique=True, help_text="of the file's manifest: what names this backup")
    size = models.PositiveBigIntegerField()
    rows = models.PositiveBigIntegerField()
    blobs = models.PositiveBigIntegerField(null=True, help_text="null when contents were left out")
    keys = models.BooleanField(help_text="whether the keys are inside, sealed by a passphrase")
    proved_at = models.DateTimeField(null=True, blank=True)
    proved_by = models.CharField(max_length=150, blank=True)
    problem = models.CharField(max_length=1000, blank=True, help_text="why the last proof failed")

    class Meta:
        ordering = ["-made_at"]

    def __str__(self) -> str:
        return f"backup of {self.made_at:%F %T}"
