"""`manage.py up`: everything on this machine, in one command. Ctrl-C ends it and leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mecm.runtime.stack import Stack

_TELLING = (" WARNING ", " ERROR ", " CRITICAL ", "level=error", "level=fatal", "Traceback")


class Command(BaseCommand):
    """Starts the centre, a worker, an edge node and, where none runs, a container engine; then looks after them."""

    help = "Start everything on this machine and keep it running until Ctrl-C."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--ready-file", type=Path, help="write what was started to this file, as JSON, once it works"
        )
        parser.add_argument(
            "--only-clean",
            action="store_true",
            help="remove what a killed start left, with the container images; start nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        var = Path(settings.VAR_DIR)
        var.chmod(0o700)
        with _alone(var / "up.pid"):
            _log_to(var / "log" / "up.log")
            stack = Stack(self._say, self._echo)
            if options["only_clean"]:
                stack.clear_leftovers()
                stack.docker.wipe()
                return
            stopping = threading.Event()
            _on_signals(stopping)
            try:
                facts = stack.start()
                self._welcome(facts)
                if options["ready_file"]:
                    _write(options["ready_file"], facts)
                while not stopping.wait(0.25):
                    stack.supervisor.watch()
            except KeyboardInterrupt:
                pass
            except BreakwaterError as problem:
                raise CommandError(problem.detail) from problem
            finally:
                _ignore_signals()
                self._say("Stopping")
                stack.stop()
                if options["ready_file"]:
                    options["ready_file"].unlink(missing_ok=True)
                self._say("Stopped; nothing is left running")

    def _welcome(self, facts: dict[str, Any]) -> None:
        self.stdout.write("")
        self.stdout.write(self.style.SUCCESS(f"Breakwater works: {facts['url']}") + f"   ({facts['seconds']} s)")
        if facts["node"]:
            self.stdout.write(f"  edge node  {settings.UP.node_name}, online, {facts['runtime']}")
        if facts["console"]:
            first = settings.VAR_DIR / "mep" / "console" / "first-password"
            told = f", password in {first}" if first.exists() else ""
            self.stdout.write(f"  console    {facts['console']} (the edge node's own{told})")
        if facts["engine"] == "memory":
            self.stdout.write(self.style.WARNING("             simulated runtime: applications are not really started"))
        for account in facts["accounts"]:
            self.stdout.write(f"  account    {account['username']:<10} {account['password']}")
        self.stdout.write(f"  files      {settings.VAR_DIR} (accounts in demo-accounts.json, logs in log/)")
        self.stdout.write("  Ctrl-C ends it.\n")
        self.stdout.flush()

    def _say(self, text: str) -> None:
        self.stdout.write(f"* {text}")
        self.stdout.flush()

    def _echo(self, name: str, line: str) -> None:
        """Show on the terminal what a person should see of a child's log."""
        if any(mark in line for mark in _TELLING):
            sys.stderr.write(f"  {name}: {line[:200]}\n")
            sys.stderr.flush()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the folder: a second start in it is told so. The kernel lets go when we are killed."""
    with file.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            raise CommandError(f"Breakwater runs here already, as process {held.read().strip()}") from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _log_to(file: Path) -> None:
    """Send our own log lines where those of the children are; the terminal is for people."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]


def _on_signals(stopping: threading.Event) -> None:
    """Let SIGINT and SIGTERM break off the start, or end the running stack."""

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)


def _ignore_signals() -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)


def _write(file: Path, facts: dict[str, Any]) -> None:
    """Write what was started; passwords stay in their own file."""
    public = {name: value for name, value in facts.items() if name != "accounts"}
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(json.dumps(public))
    fresh.replace(file)
