"""The root of trust of our feed: show it, rotate keys, move the root keys to another place."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.management.base import BaseCommand, CommandError

from appstore.federation import roots, serials, trustroot
from core.accounts.access import SYSTEM
from core.errors import BreakwaterError


class Command(BaseCommand):
    """`feed_root show|rotate|prepare|sign|accept`."""

    help = "Show the root of our feed, rotate the keys below it, or make the next root with keys that lie elsewhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the steps."""
        steps = parser.add_subparsers(dest="step", required=True)
        steps.add_parser("show", help="version, keys and end of the present root")
        steps.add_parser("rotate", help="new keys for all roles below the root")
        prepare = steps.add_parser("prepare", help="write the next root, to be signed elsewhere")
        prepare.add_argument("--key", action="append", default=[], type=Path, help="public root key (PEM); repeat")
        prepare.add_argument("--threshold", type=int, default=1, help="how many of them must sign")
        prepare.add_argument("--to", required=True, type=Path)
        sign = steps.add_parser("sign", help="add a signature; needs no database")
        sign.add_argument("file", type=Path)
        sign.add_argument("--key", required=True, type=Path, help="private root key (PEM, not encrypted)")
        accept = steps.add_parser("accept", help="make a signed root the present one")
        accept.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the step."""
        try:
            getattr(self, f"_{options['step']}")(options)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        except (OSError, ValueError, TypeError) as problem:
            raise CommandError(f"A file cannot be read or written: {problem}") from problem

    def _show(self, options: dict[str, Any]) -> None:
        root = trustroot.read_root(roots.present().content.encode()).signed
        self.stdout.write(f"Root {root.version}, good until {root.expires:%Y-%m-%d}")
        for role in trustroot.ROLES:
            held = root.roles[role]
            self.stdout.write(
                f"{role}: {held.threshold} of {len(held.keyids)}: {', '.join(k[:16] for k in held.keyids)}"
            )

    def _rotate(self, options: dict[str, Any]) -> None:
        made = roots.rotate(actor=SYSTEM)
        serials.build()
        self.stdout.write(f"Root {made.version} with new keys")

    def _prepare(self, options: dict[str, Any]) -> None:
        keys = [path.read_text() for path in options["key"]]
        options["to"].write_bytes(roots.prepare(root_keys=keys, threshold=options["threshold"]))
        self.stdout.write(f"Written to {options['to']}; have it signed, then `feed_root accept`")

    def _sign(self, options: dict[str, Any]) -> None:
        key = load_pem_private_key(options["key"].read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CommandError("Root keys are ECDSA P-256")
        options["file"].write_bytes(roots.signed(options["file"].read_bytes(), key))
        self.stdout.write("Signed")

    def _accept(self, options: dict[str, Any]) -> None:
        made = roots.accept(options["file"].read_bytes(), actor=SYSTEM)
        serials.build()
        self.stdout.write(f"Root {made.version} is the present one")
