"""Write a receipt for a partner, or take one in."""

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
    """`courier_receipt --peer harbour --to receipt.json`, and `courier_receipt --take receipt.json` on the other side."""

    help = "Write a signed receipt of what came from a partner, or take a receipt in, so that the next bag is smaller."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--peer", help="name or store id of the partner for whom it is")
        parser.add_argument("--to", type=Path, help="the file to write")
        parser.add_argument("--take", type=Path, help="a receipt of a partner")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write, or take."""
        try:
            if options["take"]:
                bag = courier.accept_receipt(options["take"].read_bytes(), actor=SYSTEM)
                self.stdout.write(f"{bag.peer} has bag {bag.number}; the next one begins there")
            elif options["peer"] and options["to"]:
                options["to"].write_bytes(courier.write_receipt(peer_named(options["peer"])))
                self.stdout.write(f"Receipt written to {options['to']}")
            else:
                raise CommandError("Say --peer and --to, or --take")
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        except OSError as problem:
            raise CommandError(f"The file cannot be read or written: {problem.strerror}") from problem
