"""`manage.py console_password`: set the password of the local console."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import ScryptPasswordHasher
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mep.console import keep

SHORTEST = 12


class Command(BaseCommand):
    """Asks twice, or reads one line with `--stdin`."""

    help = "Set the password of the local console; every session ends"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--stdin", action="store_true", help="read the password as one line, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Store it as a hash."""
        if options["stdin"]:
            wanted = sys.stdin.readline().rstrip("\n")
        else:
            wanted = getpass("New password of the console: ")
            if getpass("The same again: ") != wanted:
                raise CommandError("The two are not the same; nothing was changed")
        if len(wanted) < SHORTEST:
            raise CommandError(f"The password must have at least {SHORTEST} characters; nothing was changed")
        if len(wanted) > 400:
            raise CommandError("The password must have at most 400 characters; nothing was changed")
        hasher = ScryptPasswordHasher()
        keep.set_password(settings.VAR, hasher.encode(wanted, hasher.salt()))
        self.stdout.write("The password is set. Whoever was signed in has to sign in again.")
