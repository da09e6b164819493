"""Take in a bag that a courier brought."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appstore.federation import courier
from core.accounts.access import SYSTEM
from core.errors import BreakwaterError


class Command(BaseCommand):
    """`courier_import bag.tar`."""

    help = "Verify a bag of a partner and take it in: the same as a sync and imports over a line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Unpack."""
        try:
            got = courier.take(options["file"], actor=SYSTEM)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(
            f"Bag {got.number}: serial {got.done.serial}, {got.done.put} offers put, {got.done.removed} removed, "
            f"{len(got.packages)} packages taken in"
        )
        for ref, why in got.problems.items():
            self.stdout.write(f"not taken: {ref}: {why}")
