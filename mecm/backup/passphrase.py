"""Where the passphrase of a backup comes from, and who is at the keyboard."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError


def asked(file: Path | None, *, again: bool = False) -> str:
    """Return the passphrase from a file, from the settings, or from a person at a terminal."""
    if file is not None:
        try:
            return file.read_text().rstrip("\r\n")
        except OSError as problem:
            raise CommandError(f"{file}: {problem.strerror}") from problem
    if settings.BACKUP_PASSPHRASE:
        return str(settings.BACKUP_PASSPHRASE)
    if not sys.stdin.isatty():
        raise CommandError(
            "A passphrase is needed: --passphrase-file, or BREAKWATER_BACKUP_PASSPHRASE, or a terminal to ask at; "
            "or --without-keys"
        )
    given = getpass.getpass("Passphrase: ")
    if again and getpass.getpass("Again: ") != given:
        raise CommandError("The passphrases differ")
    return given


def who() -> str:
    """Return who runs the command, as the machine knows them."""
    try:
        return f"{getpass.getuser()} on the server"
    except (KeyError, OSError):
        return "somebody on the server"
