"""The command that seals everything of an installation with a new key, for the centre and for a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError


class Rotating(Protocol):
    """What an installation can do about its own keys."""

    def add_key(self) -> str:
        """Make a key, put it before the others, and return its id."""

    def reseal(self, tell: Callable[[str], None], /) -> int:
        """Seal every row that another key sealed with the first one; return how many there were."""

    def forget_old(self) -> list[str]:
        """Take keys that nothing needs out of the key file; return their ids."""


class RotationCommand(BaseCommand):
    """Make a key, seal with it, and forget the older ones, as far as the options ask; a command names its `rotating`."""

    rotating: Rotating

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
                self.stdout.write(f"The new key is {self.rotating.add_key()}; the older ones are kept behind it")
            self.stdout.write(f"Sealed anew: {self.rotating.reseal(self._say)} rows")
            if options["forget"]:
                gone = self.rotating.forget_old()
                self.stdout.write(f"Forgotten: {', '.join(gone) or 'nothing'}. Backups of before need them")
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem

    def _say(self, text: str) -> None:
        self.stderr.write(f"* {text}")
        self.stderr.flush()
