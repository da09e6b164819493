"""`manage.py edge --settings mep.settings`: a whole edge node, in one command.

With MEP_UPF=nftables there is a fourth process, the helper that alone may change the kernel. It is started with the
privileges that this command has; the others give CAP_NET_ADMIN up before they begin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

import upf_adapter
from mep.agent.family import Child, Family
from mep.mp1 import steering
from upf_adapter.nftables import privileges

MEMBERS = ("mp1", "agent", "dns", "console")
HELPER, PRIVILEGES = "upf_adapter.nftables.helper", "upf_adapter.nftables.privileges"


class Command(BaseCommand):
    """Brings the database up to date, then runs each member as a process of its own and starts again who dies."""

    help = (
        "Run an edge node: Mp1, agent, DNS and console, each in a process of its own, and the helper of the data plane."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--without", action="append", default=[], choices=MEMBERS, help="leave one of them out")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT; leaves no process behind."""
        call_command("migrate", interactive=False, verbosity=0)
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]}
        # `-m` finds our modules wherever this was called.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(settings.BASE_DIR), os.getenv("PYTHONPATH"))))
        helper = helper_command()
        dropping = [sys.executable, "-m", PRIVILEGES] if helper and privileges.holds(privileges.CAP_NET_ADMIN) else []
        without = {*options["without"], *(() if settings.CONSOLE_PORT else ("console",))}
        children = [Child(name, [*dropping, sys.executable, manage, name]) for name in MEMBERS if name not in without]
        Family([*([Child("upf", helper)] if helper else []), *children], environment).run()


def helper_command() -> list[str]:
    """Return how the helper of the data plane is started; empty when there is none, or somebody else starts it."""
    chosen = steering.adapter_options()
    if settings.UPF != "nftables" or chosen.get("socket"):
        return []
    wanted: Any = upf_adapter.create(settings.UPF, chosen).options
    if not wanted.interfaces:
        raise CommandError(
            'MEP_UPF_CONFIG must name the interfaces on which traffic of UEs comes in: {"interfaces": [...]}'
        )
    if not privileges.holds(privileges.CAP_NET_ADMIN):
        raise CommandError(
            "MEP_UPF=nftables needs CAP_NET_ADMIN for its helper; start this as root, or start the helper yourself and "
            "name its socket in MEP_UPF_CONFIG"
        )
    return [sys.executable, "-m", HELPER, *wanted.command(str(steering.helper_socket()), os.geteuid())]
