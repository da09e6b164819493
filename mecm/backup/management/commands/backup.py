"""`manage.py backup FILE`: the whole centre as one file, while it goes on working."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mecm.backup import services
from mecm.backup.passphrase import asked, who


class Command(BaseCommand):
    help = "Write the whole centre into one file; --prove restores it on trial and compares everything"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--prove", action="store_true", help="restore the file into a temporary place and compare")
        parser.add_argument("--only-prove", action="store_true", help="prove a file that is there; write none")
        parser.add_argument("--replace", action="store_true", help="write over a file that is there")
        parser.add_argument("--without-contents", action="store_true", help="leave packages, charts and images out")
        parser.add_argument(
            "--without-keys", action="store_true", help="leave the keys out, so no passphrase is needed"
        )
        parser.add_argument("--allow-missing", action="store_true", help="go on when stored files are missing")
        parser.add_argument("--passphrase-file", type=Path, help="file with the passphrase that seals the keys")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        passphrase = None
        if not options["without_keys"]:
            passphrase = asked(options["passphrase_file"], again=not options["only_prove"])
        try:
            if not options["only_prove"]:
                made = services.make(
                    options["file"],
                    by=who(),
                    passphrase=passphrase,
                    contents=not options["without_contents"],
                    allow_missing=options["allow_missing"],
                    replace=options["replace"],
                    tell=self._say,
                )
                files = "contents left out" if made.blobs is None else f"{made.blobs} stored files"
                keys = "with sealed keys" if made.keys else "without keys"
                self.stdout.write(f"{made.file}: {made.rows} rows, {files}, {keys}, {made.size} bytes")
            if options["prove"] or options["only_prove"]:
                services.prove(options["file"], by=who(), passphrase=passphrase, tell=self._say)
                self.stdout.write("Proved: restored into a temporary place, everything is as it was")
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem

    def _say(self, text: str) -> None:
        self.stderr.write(f"* {text}")
