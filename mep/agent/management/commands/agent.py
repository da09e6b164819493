"""`manage.py agent --settings mep.settings`: run the agent of this node."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from mep.agent.agent import make_agent


class Command(BaseCommand):
    """Keeps the apps of this node as the centre wishes, also while the centre cannot be reached."""

    help = "Run the agent of this node: start its apps, then link it to the centre."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--halt-on-exit",
            action="store_true",
            default=settings.HALT_ON_EXIT,
            help="stop the apps when the agent stops",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        make_agent().run(join=settings.JOIN, halt=options["halt_on_exit"])
