"""`manage.py enrol <join string> --settings mep.settings`: make this machine a node of a centre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mep.agent import identity


class Command(BaseCommand):
    """Enrols once; a running agent picks the identity up by itself."""

    help = "Join a centre with the join string that its node page shows. The node's key never leaves this machine."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("join", help="mec1.… as shown by the centre; valid once, for one hour")
        parser.add_argument("--again", action="store_true", help="replace the identity that this machine has")

    def handle(self, *args: Any, **options: Any) -> None:
        """Enrol, or say in one sentence why not."""
        folder = Path(settings.VAR) / "identity"
        if identity.load(folder) is not None and not options["again"]:
            raise CommandError("This machine has joined a centre already; --again replaces its identity.")
        try:
            joined = identity.enrol(identity.Join.read(options["join"]), folder)
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"This machine is node {joined.node_id} of {joined.base_url}")
