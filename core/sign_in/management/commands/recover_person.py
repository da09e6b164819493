"""`manage.py recover_person`: let somebody in again who lost every second factor, or whose organisation nobody administers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.accounts.access import SYSTEM
from core.accounts.models import User
from core.errors import BreakwaterError
from core.sign_in import factors


class Command(BaseCommand):
    """Takes all second factors of a person away and ends their sessions; the audit trail keeps the reason."""

    help = "Take all second factors of somebody away and end their sessions. Their password stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="why, and how you know who asked; for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        try:
            factors.recover(user, actor=SYSTEM, reason=options["reason"])
        except BreakwaterError as error:
            raise CommandError(error.detail) from None
        self.stdout.write(f"{user} signs in with the password alone now, and sets up a second factor anew.")
