"""`manage.py settings_help`: every setting with its default and what it is for."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from mecm import settings


class Command(BaseCommand):
    """Prints the declared settings of the centre."""

    help = "List every setting of the centre: name, default, meaning."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        for item in sorted(settings.env.declared, key=lambda declared: declared.name):
            default = "" if item.secret or isinstance(item.default, dict) else f"  [{item.default}]"
            self.stdout.write(f"{item.name}{default}\n    {item.help}")
