"""The log of what user planes told this MEP; only so many are kept."""

from __future__ import annotations

from django.db import models


class Event(models.Model):
    """One notification. It waits until the process that has the adapter took it."""

    class State(models.TextChoices):
        """What became of it."""

        WAITING = "waiting"
        TAKEN = "taken"
        REFUSED = "refused"

    path = models.CharField(max_length=200, help_text="the end of the address that it came to, for example nef")
    body = models.JSONField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of path and body; a repetition has the same")
    received_at = models.FloatField(help_text="epoch seconds")
    seen_at = models.FloatField(help_text="epoch seconds of the last repetition")
    count = models.PositiveIntegerField(default=1, help_text="how often it came")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=500, blank=True, help_text="why it was refused, or waits")
    answer = models.JSONField(null=True, help_text="what the adapter answered to it, for example an AfAckInfo")

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["path", "id"], name="upf_event_by_path"),
            models.Index(fields=["state", "id"], name="upf_event_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.path} {self.state}"
