"""Have packages looked into that were taken in before this was done, or by an older reader."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from appstore.contents import following, services
from appstore.packages import states
from appstore.packages.models import Package


class Command(BaseCommand):
    """`manage.py inspect_packages`: ask the workers to read what nobody has read yet."""

    help = "ask the workers to look into every package whose inside is not known yet"

    def add_arguments(self, parser: CommandParser) -> None:
        """Take `--all`."""
        parser.add_argument("--all", action="store_true", help="also those that were read by the present reader")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and say how often."""
        packages = Package.objects.exclude(state__in=[states.DRAFT, states.REJECTED])
        asked = 0
        for package in packages.iterator(200):
            if options["all"] or not following.known(package):
                services.request_inspection(package)
                asked += 1
        self.stdout.write(f"{asked} packages will be read")
