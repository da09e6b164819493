"""Follow partners now."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from appstore.federation import serials, sync
from appstore.federation.commanding import peer_named
from appstore.federation.models import Peer
from core.errors import BreakwaterError


class Command(BaseCommand):
    """`federation_sync` for all partners, `federation_sync --peer harbour` for one."""

    help = "Bring our own feeds up to date and follow those of our partners, in this process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--peer", help="name or store id of one partner; all active ones without")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync, and say what came of it."""
        try:
            built = serials.build()
            peers = [peer_named(options["peer"])] if options["peer"] else list(sync.followed())
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Our feeds: {len(built.serials)} changed")
        failed = sum(not self._one(peer) for peer in peers)
        if failed:
            raise CommandError(f"{failed} of {len(peers)} partners could not be followed")

    def _one(self, peer: Peer) -> bool:
        try:
            done = sync.follow(peer)
        except BreakwaterError as problem:
            self.stdout.write(f"{peer}: {problem.detail}")
            return False
        self.stdout.write(
            f"{peer}: serial {done.serial}, {done.put} put, {done.removed} removed, {done.requests} requests, "
            f"{done.bytes_in} bytes"
        )
        return True
