"""`manage.py rotate_vault_key`: seal everything on this node with a new key, while the node goes on working."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mep.agent import rotating


class Command(BaseCommand):
    help = "Make a new key for this node's secrets at rest and seal everything with it; the node may go on working"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--only-reseal", action="store_true", help="make no key; seal with the first one that is there"
        )
        parser.add_argument(
            "--forget",
            action="store_true",
            help="take the older keys out of the key file when nothing needs them any more",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        try:
            if not options["only_reseal"]:
                self.stdout.write(f"The new key is {rotating.add_key()}; the older ones are kept behind it")
            self.stdout.write(f"Sealed anew: {rotating.reseal(self._say)} rows")
            if options["forget"]:
                gone = rotating.forget_old()
                self.stdout.write(f"Forgotten: {', '.join(gone) or 'nothing'}. Backups of before need them")
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem

    def _say(self, text: str) -> None:
        self.stderr.write(f"* {text}")
        self.stderr.flush()
