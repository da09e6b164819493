"""`manage.py run_operations`: do due operations without any broker."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from core.operations import services as operations


class Command(BaseCommand):
    """Runs due operations in this process, forever or once."""

    help = "Run due operations in this process, without Celery. With --once: until nothing is due."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop when nothing is due")
        parser.add_argument("--every", type=float, default=1.0, help="seconds between two looks (default 1)")
        parser.add_argument("--kind", action="append", help="only this kind; may be given several times")

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        while not stopping.is_set():
            operations.sweep()
            done = operations.run_due(kinds=options["kind"])
            if done:
                self.stdout.write(f"{done} operations done")
            elif options["once"]:
                return
            stopping.wait(0 if done else options["every"])
