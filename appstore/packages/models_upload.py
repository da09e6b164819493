"""Uploads on their way: how far the bytes of a file have come, and what became of them."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class UploadQuerySet(models.QuerySet["Upload"]):
    """Questions about uploads; they chain."""

    def under_way(self, now: datetime | None = None) -> UploadQuerySet:
        """Uploads that wait for bytes and whose time has not run out."""
        return self.filter(finished_at=None, expires_at__gt=now or timezone.now())

    def present(self, now: datetime | None = None) -> UploadQuerySet:
        """Uploads whose time has not run out, also those that are over: their senders may ask what became of them."""
        return self.filter(expires_at__gt=now or timezone.now())

    def expired(self, now: datetime | None = None) -> UploadQuerySet:
        """Uploads that nobody may go on with any more."""
        return self.filter(expires_at__lte=now or timezone.now())


class Upload(models.Model):
    """A file that is sent in parts. `offset` bytes of it are on disk for good; what lies behind them does not count.

    `sha256` is known when all bytes have come. An upload that is over has a package, or the problem that kept it from
    becoming one.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("accounts.Organisation", on_delete=models.CASCADE, related_name="uploads")
    sender = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    filename = models.CharField(max_length=200)
    length = models.PositiveBigIntegerField(help_text="bytes of the whole file")
    offset = models.PositiveBigIntegerField(default=0, help_text="bytes that have arrived and are safe")
    expected = models.CharField(max_length=64, blank=True, help_text="SHA-256 that the sender says the file has")
    sha256 = models.CharField(max_length=64, blank=True)
    package = models.ForeignKey("packages.Package", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    problem = models.JSONField(null=True, blank=True, help_text="why it became no package (RFC 9457)")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [
            models.Index(fields=["organisation", "-created_at"], name="upload_by_organisation"),
            models.Index(fields=["expires_at"], name="upload_by_end"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(offset__lte=F("length")), name="an_upload_ends_at_its_length"),
            models.CheckConstraint(condition=Q(length__gt=0), name="an_upload_has_bytes"),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def percent(self) -> int:
        """How much of it has arrived."""
        return int(100 * self.offset / self.length)
