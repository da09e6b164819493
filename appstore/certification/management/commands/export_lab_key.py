"""Write the public key of this store's lab, for partners and for checks without a network."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from appstore.keys import services as keys


class Command(BaseCommand):
    """Prints the key in PEM; whoever trusts it compares its fingerprint by another way."""

    help = "Write the public key with which this store's lab signs certificates (PEM)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, help="file to write; standard output when it is not given")

    def handle(self, *args: Any, **options: Any) -> None:
        key = keys.current(keys.LAB)
        if options["out"]:
            options["out"].write_text(key.public_pem)
            self.stdout.write(f"{options['out']}: SHA-256 {key.pk}")
        else:
            self.stdout.write(key.public_pem, ending="")
            self.stderr.write(f"SHA-256 {key.pk}")
