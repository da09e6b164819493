"""`manage.py sign_package app.csar --key key.pem --cert chain.pem`: sign a CSAR as NFV-SOL 004 option 1 has it."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appstore.packages import signing
from core.errors import BreakwaterError


class Command(BaseCommand):
    """Writes a signed copy; the file that was given stays as it is."""

    help = "Sign a CSAR: list every member in its manifest and sign that (NFV-SOL 004, option 1)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path, help="the package")
        parser.add_argument(
            "--key", type=Path, required=True, help="private key in PEM: ECDSA P-256, or RSA from 3072 bits"
        )
        parser.add_argument(
            "--cert", type=Path, required=True, help="certificates in PEM: the signer's first, then those between"
        )
        parser.add_argument(
            "--out", type=Path, help="where to write; beside the file as <name>-signed.csar when not given"
        )
        parser.add_argument("--ask-password", action="store_true", help="ask for the password of the key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sign."""
        file: Path = options["file"]
        target: Path = options["out"] or file.with_name(f"{file.stem}-signed.csar")
        if target.resolve() == file.resolve():
            raise CommandError("The signed package must be another file: --out")
        password = getpass.getpass("Password of the key: ").encode() if options["ask_password"] else None
        try:
            key = signing.load_key(options["key"].read_bytes(), password)
            certificate, *chain = signing.load_certificates(options["cert"].read_bytes())
            signing.sign_csar(file, target, key=key, certificate=certificate, chain=chain)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}") from None
        self.stdout.write(f"{target}: signed by {certificate.subject.rfc4514_string()}")
