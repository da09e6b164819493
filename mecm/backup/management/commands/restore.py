"""`manage.py restore FILE`: make this centre what a backup says. Stop the centre and its workers first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mecm.backup import services
from mecm.backup.passphrase import asked, who


class Command(BaseCommand):
    help = "Make this centre what a backup says; the centre and its workers must not run meanwhile"
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="throw away what is in this centre now")
        parser.add_argument("--without-keys", action="store_true", help="keep the keys that are here")
        parser.add_argument("--passphrase-file", type=Path, help="file with the passphrase that seals the keys")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        passphrase = None if options["without_keys"] else asked(options["passphrase_file"])
        try:
            record = services.restore(
                options["file"],
                by=who(),
                passphrase=passphrase,
                without_keys=options["without_keys"],
                replace=options["replace"],
                tell=self._say,
            )
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(
            f"Restored what was backed up at {record.made_at:%Y-%m-%d %H:%M} UTC. Start the centre now: keys are read "
            "at its start, and every edge node is told everything anew."
        )

    def _say(self, text: str) -> None:
        self.stderr.write(f"* {text}")
