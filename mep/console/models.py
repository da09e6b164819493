"""What the console keeps for itself."""

from django.db import models

from mep.mp1.models import Alarm


class Acknowledgement(models.Model):
    """Somebody at this node has seen an alarm; it counts until the alarm is raised again."""

    alarm = models.OneToOneField(Alarm, on_delete=models.CASCADE, related_name="acknowledgement")
    at = models.FloatField(help_text="epoch seconds")

    def __str__(self) -> str:
        return f"{self.alarm_id} seen at {self.at}"
