"""Verify a certificate offline: no database, no network, only files."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appstore.certification import certificates, revocations
from core import dsse
from core.errors import Conflict, Invalid


class Command(BaseCommand):
    """Says what a certificate states when it holds; ends with an error that says why when it does not."""

    help = "Verify a certificate with the public key of its lab; needs neither database nor network."
    requires_system_checks: list[Any] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("certificate", type=Path, help="file of the certificate (JSON)")
        parser.add_argument(
            "--key", type=Path, action="append", required=True, help="public key of a lab (PEM); repeatable"
        )
        parser.add_argument("--package", type=Path, help="the package file that it must be about")
        parser.add_argument("--sha256", default="", help="or the SHA-256 of the package")
        parser.add_argument(
            "--revocations",
            type=Path,
            action="append",
            default=[],
            help="list of revocations of the lab (JSON); with several, the newest counts and must keep what older ones say",
        )
        parser.add_argument(
            "--least-serial", type=int, default=0, help="refuse a list of revocations with a lower serial than this"
        )
        parser.add_argument("--at", default="", help="judge for this moment (2026-05-01T12:00:00Z) instead of now")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            at = _moment(options["at"])
            labs = [certificates.Lab(path.name, dsse.load_public(_read(path, 1 << 16))) for path in options["key"]]
            sha256 = options["sha256"].lower()
            if options["package"]:
                sha256 = _digest(options["package"])
            envelope = certificates.parse(_read(options["certificate"], dsse.LONGEST))
            held = certificates.verify(envelope, labs, sha256=sha256, at=at)
            revoked = _revocations(options["revocations"], labs, options["least_serial"])
            if revoked is not None:
                revocations.check(held, revoked)
        except (Invalid, Conflict) as problem:
            raise CommandError(f"REFUSED: {problem.detail}") from None
        application = held.application
        suites = ", ".join(f"{each['name']} {each['version']}" for each in held.suites)
        self.stdout.write(
            f"VALID: {application.get('provider', '')} {application.get('name', '')} {application.get('version', '')}\n"
            f"  level        {held.level} ({', '.join(held.levels)})\n"
            f"  package      sha256:{held.sha256}{'' if sha256 else ' (not compared with a file)'}\n"
            f"  lab          {held.lab}, key {held.lab_key}\n"
            f"  suites       {suites}\n"
            f"  valid        {certificates.moment(held.valid_from)} to {certificates.moment(held.valid_until)}\n"
            f"  certificate  {held.id}{', live checks on a simulated node' if held.simulated else ''}\n"
            f"  revocations  {_words(revoked)}"
        )
        if revoked is not None and revoked.list.stale(at or datetime.now(UTC)):
            self.stdout.write(
                f"STALE: a newer list of revocations should have come by {revoked.list.expires}; "
                "whatever was revoked since is not known here"
            )


def _words(revoked: revocations.Opened | None) -> str:
    if revoked is None:
        return "not asked; give the lab's list with --revocations"
    return f"not among the {len(revoked.list.entries)} of list {revoked.list.serial} of {revoked.list.issued}"


def _revocations(paths: list[Path], labs: list[certificates.Lab], least: int) -> revocations.Opened | None:
    """Return the newest of the lists that were given; `Invalid` or `Conflict` when one is wrong or too old."""
    if not paths:
        if least:
            raise Invalid("--least-serial is about a list of revocations; give one with --revocations")
        return None
    known = [lab.key for lab in labs]
    found = [revocations.open_list(certificates.parse(_read(path, dsse.LONGEST)), known) for path in paths]
    newest = revocations.newest(found)
    if newest.list.serial < least:
        raise Conflict(f"The list of revocations {newest.list.serial} is older than {least}, which was seen before")
    return newest


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"--at is no time: {text[:40]}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as problem:
        raise Invalid(f"{path} cannot be read: {problem.strerror}") from None
    if len(data) > most:
        raise Invalid(f"{path} is larger than {most} bytes")
    return data


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise Invalid(f"{path} cannot be read: {problem.strerror}") from None
