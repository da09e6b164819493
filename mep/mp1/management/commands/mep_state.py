"""`manage.py mep_state export|import FILE`: the whole state of this MEP as one file."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mep.mp1 import database
from mep.state import file, moves

#: Mistakes that are told one by one.
MOST_TOLD = 100


class Command(BaseCommand):
    help = "Write the whole state of this MEP into a file, or bring it from one"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("what", choices=["export", "import"])
        parser.add_argument("file", type=Path)
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--replace", action="store_true", help="import: what is not in the file goes")
        how.add_argument("--merge", action="store_true", help="import: what is not in the file stays")
        parser.add_argument("--without-secrets", action="store_true", help="export: leave client secrets and keys out")
        parser.add_argument(
            "--passphrase-file", type=Path, help="file with the passphrase; else MEP_STATE_PASSPHRASE, else a question"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; every mistake of a file is told, and then nothing has changed."""
        database.prepare()
        try:
            if options["what"] == "export":
                self._export(options)
            else:
                self._import(options)
        except BreakwaterError as problem:
            told = [f"  {each['field']}: {each['detail']}" for each in problem.context.get("errors", [])]
            more = [f"  ... and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
            raise CommandError("\n".join([problem.detail, *told[:MOST_TOLD], *more])) from problem
        except OSError as problem:
            raise CommandError(f"{options['file']}: {problem.strerror}") from problem

    def _export(self, options: dict[str, Any]) -> None:
        if options["replace"] or options["merge"]:
            raise CommandError("--replace and --merge are for import")
        passphrase = "" if options["without_secrets"] else self._passphrase(options, again=True)
        state = moves.collect(with_secrets=not options["without_secrets"])
        file.write(options["file"], file.encode(state, passphrase))
        self._tell("written", {name: len(rows) for name, rows in state.sections.items()})

    def _import(self, options: dict[str, Any]) -> None:
        if options["replace"] == options["merge"]:
            raise CommandError("Say --replace or --merge: does what is not in the file go, or stay?")
        if options["without_secrets"]:
            raise CommandError("--without-secrets is for export")
        content = file.read(options["file"])
        state = file.decode(content, self._passphrase(options) if file.has_secrets(content) else "")
        outcome = moves.bring(state, replace=options["replace"])
        self._tell("replaced" if options["replace"] else "merged", outcome.counts)
        for remark in outcome.remarks:
            self.stdout.write(remark)

    def _passphrase(self, options: dict[str, Any], *, again: bool = False) -> str:
        if options["passphrase_file"]:
            return str(options["passphrase_file"].read_text().rstrip("\r\n"))
        if settings.STATE_PASSPHRASE:
            return str(settings.STATE_PASSPHRASE)
        if not sys.stdin.isatty():
            raise CommandError(
                "A passphrase is needed: --passphrase-file, or MEP_STATE_PASSPHRASE, or a terminal to ask at"
            )
        given = getpass.getpass("Passphrase: ")
        if again and getpass.getpass("Again: ") != given:
            raise CommandError("The passphrases differ")
        return given

    def _tell(self, what: str, counts: dict[str, int]) -> None:
        self.stdout.write(f"{what}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
