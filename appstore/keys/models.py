"""The keys with which this store signs."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class SigningKey(models.Model):
    """One ECDSA P-256 key of the store for one purpose; its private half lies sealed.

    A retired key signs nothing any more, and what it signed stays verifiable.
    """

    id = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of the public key")
    purpose = models.CharField(max_length=20)
    public_pem = models.TextField()
    sealed = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["purpose", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["purpose"], condition=Q(retired_at=None), name="one_present_key_for_each_purpose"
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.id[:16]}"
