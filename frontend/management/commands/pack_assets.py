"""`manage.py pack_assets`: files of the pages, compressed and under names that browsers may keep for ever."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from frontend import assets


class Command(BaseCommand):
    """Packs them unless that is done; run it after an update and before the web processes start."""

    help = "Pack the style sheets, scripts and pictures of the pages, so that they are sent compressed and kept by browsers."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Pack."""
        done = assets.pack()
        if options["verbosity"]:
            self.stdout.write("Packed the files of the pages" if done else "The files of the pages are packed already")
