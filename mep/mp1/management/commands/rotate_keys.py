"""`manage.py rotate_keys`: a fresh key signs access tokens from now on."""

from typing import Any

from django.core.management.base import BaseCommand

from mep.mp1 import keys


class Command(BaseCommand):
    help = "Let a fresh key sign access tokens; tokens of the old one stay good until they expire"

    def handle(self, *args: Any, **options: Any) -> None:
        row = keys.rotate()
        self.stdout.write(f"key {row.kid} signs now; {len(keys.jwks()['keys'])} keys verify")
