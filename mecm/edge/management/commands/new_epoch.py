"""`manage.py new_epoch`: after the database was restored from a backup, let every edge node compare itself anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from mecm.edge import services


class Command(BaseCommand):
    """Begins a new epoch for every node."""

    help = "Run once after restoring the database: every edge node then takes a snapshot and removes what is not in it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say for how many nodes."""
        self.stdout.write(f"{services.new_epoch()} node(s) will be told everything when they connect.")
