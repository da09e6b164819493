"""Pack a bag for a partner without a line."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appstore.federation import courier
from appstore.federation.commanding import peer_named
from core.accounts.access import SYSTEM
from core.errors import BreakwaterError


class Command(BaseCommand):
    """`courier_export --peer harbour --to bag.tar`."""

    help = "Write one signed file with all that is new for a partner since its last receipt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--peer", required=True, help="name or store id of the partner")
        parser.add_argument("--to", required=True, type=Path, help="the file to write")

    def handle(self, *args: Any, **options: Any) -> None:
        """Pack."""
        try:
            bag = courier.export(peer_named(options["peer"]), options["to"], actor=SYSTEM)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Bag {bag.number} for {bag.peer}: {options['to']} ({options['to'].stat().st_size} bytes)")
