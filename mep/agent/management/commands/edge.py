"""`manage.py edge --settings mep.settings`: a whole edge node, in one command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from mep.agent.family import Child, Family

MEMBERS = ("mp1", "agent", "dns", "console")


class Command(BaseCommand):
    """Brings the database up to date, then runs each member as a process of its own and starts again who dies."""

    help = "Run an edge node: Mp1, agent, DNS and console, each in a process of its own."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--without", action="append", default=[], choices=MEMBERS, help="leave one of them out")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT; leaves no process behind."""
        call_command("migrate", interactive=False, verbosity=0)
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]}
        without = {*options["without"], *(() if settings.CONSOLE_PORT else ("console",))}
        children = [Child(name, [sys.executable, manage, name]) for name in MEMBERS if name not in without]
        Family(children, environment).run()
