"""`manage.py store_ca create|issue|revoke|crl|show`: the small certificate authority of this store."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from django.core.management.base import BaseCommand, CommandError

from appstore.trust import authority
from appstore.trust.models import SignerCertificate
from core.accounts.access import SYSTEM
from core.accounts.models import Organisation
from core.errors import BreakwaterError


class Command(BaseCommand):
    """The deeds of the authority, for whoever runs the server."""

    help = "Make the store's certificate authority, issue and revoke signer certificates, write its revocation list."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the deeds."""
        deeds = parser.add_subparsers(dest="deed", required=True)
        deeds.add_parser("create", help="make the authority, and trust it store-wide")
        issue = deeds.add_parser("issue", help="issue a signer certificate to an organisation")
        issue.add_argument("organisation", help="its short name")
        issue.add_argument(
            "--csr", type=Path, help="a certificate request (PEM); without it a key is made and kept here, sealed"
        )
        issue.add_argument("--name", default="", help="the common name; the organisation's when not given")
        issue.add_argument("--out", type=Path, help="where to write certificate and chain; shown when not given")
        issue.add_argument("--key-out", type=Path, help="also write the key, to sign elsewhere (mode 0600)")
        revoke = deeds.add_parser("revoke", help="revoke a certificate and publish the list")
        revoke.add_argument("serial", help="its serial number in hex")
        revoke.add_argument("--reason", default="unspecified", choices=sorted(authority.REASONS))
        crl = deeds.add_parser("crl", help="publish the revocation list anew and write it")
        crl.add_argument("--out", type=Path)
        deeds.add_parser("show", help="write the authority's certificate")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one deed."""
        try:
            getattr(self, f"_{options['deed']}")(options)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}") from None

    def _create(self, options: dict[str, Any]) -> None:
        made = authority.create(actor=SYSTEM)
        self.stdout.write(made.pem)

    def _show(self, options: dict[str, Any]) -> None:
        self.stdout.write(authority.present().pem)

    def _issue(self, options: dict[str, Any]) -> None:
        organisation = Organisation.objects.filter(slug=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation {options['organisation']!r}")
        csr = options["csr"].read_text() if options["csr"] else ""
        if csr and options["key_out"]:
            raise CommandError("The key of a request lies where the request was made")
        row = authority.issue(organisation, actor=SYSTEM, csr=csr, name=options["name"])
        if options["key_out"]:
            _write_privately(options["key_out"], _key_pem(row))
        if options["out"]:
            options["out"].write_text(row.pem)
            self.stdout.write(f"{options['out']}: {row.subject}, serial {row.serial}, until {row.not_after:%Y-%m-%d}")
        else:
            self.stdout.write(row.pem)

    def _revoke(self, options: dict[str, Any]) -> None:
        row = SignerCertificate.objects.filter(serial=options["serial"].lower().lstrip("0")).first()
        if row is None:
            raise CommandError("There is no certificate with that serial number")
        authority.revoke(row, actor=SYSTEM, reason=options["reason"])
        self.stdout.write(f"{row.subject} is revoked")

    def _crl(self, options: dict[str, Any]) -> None:
        authority.refresh(actor=SYSTEM)
        text = authority.crl_pem(authority.present())
        if options["out"]:
            options["out"].write_text(text)
        else:
            self.stdout.write(text)


def _key_pem(row: SignerCertificate) -> bytes:
    return authority.private_key(row).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_privately(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
