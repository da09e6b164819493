"""`manage.py identity_provider`: connect, list and disconnect identity providers without the pages."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.accounts.access import SYSTEM
from core.errors import BreakwaterError
from core.sign_in import providers
from core.sign_in.models import Provider


class Command(BaseCommand):
    """Does on the server what the page "Identity providers" does."""

    help = "Connect, list or disconnect OpenID Connect providers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        deeds = parser.add_subparsers(dest="deed", required=True)
        deeds.add_parser("list", help="list the providers and their roles by group")
        connect = deeds.add_parser("connect", help="ask a provider what it says of itself, and connect it")
        connect.add_argument("slug")
        connect.add_argument("--name", required=True)
        connect.add_argument("--issuer", required=True, help="exactly as the provider writes it")
        connect.add_argument("--client-id", required=True)
        connect.add_argument("--secret-file", help="file with the client secret; - reads standard input")
        connect.add_argument("--scopes", default="openid profile email")
        connect.add_argument("--groups-claim", default="groups")
        connect.add_argument("--role", action="append", default=[], metavar="GROUP=ORGANISATION:ROLE")
        connect.add_argument("--strong", action="store_true", help="it asks for a second factor itself")
        connect.add_argument("--admits-all", action="store_true", help="also people to whom it gives no role")
        disconnect = deeds.add_parser("disconnect", help="disconnect a provider, with the roles that it gave")
        disconnect.add_argument("slug")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, "_" + options["deed"])(options)
        except BreakwaterError as error:
            raise CommandError(error.detail) from None

    def _list(self, options: dict[str, Any]) -> None:
        for row in Provider.objects.prefetch_related("rules__organisation"):
            self.stdout.write(f"{row.slug}\t{row.name}\t{row.issuer}")
            for rule in row.rules.all():
                self.stdout.write(f"\t{rule}")

    def _connect(self, options: dict[str, Any]) -> None:
        # A secret among the arguments would stand in the list of processes.
        named = options["secret_file"]
        secret = (sys.stdin.read() if named == "-" else Path(named).read_text()).strip() if named else ""
        facts = {name: options[name] for name in ("slug", "name", "issuer", "client_id", "scopes", "groups_claim")}
        facts |= {"strong": options["strong"], "admits_all": options["admits_all"], "secret": secret}
        row = providers.connect(actor=SYSTEM, rules="\n".join(options["role"]), **facts)
        self.stdout.write(f"{row} is connected. Register this redirect address there: {providers.redirect_uri()}")

    def _disconnect(self, options: dict[str, Any]) -> None:
        row = Provider.objects.filter(slug=options["slug"]).first()
        if row is None:
            raise CommandError(f"There is no provider {options['slug']!r}.")
        providers.disconnect(row, actor=SYSTEM)
        self.stdout.write(f"{row.name} is disconnected.")
