"""What `manage.py dns` runs: the responder with its reporter, or the synchroniser of an external server."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from django.conf import settings
from django.db import Error, connection

from core.errors import Invalid
from mep.dns import backends, reports
from mep.dns.backends.contract import DnsBackend
from mep.dns.server import Config, DnsServer
from mep.dns.synchroniser import Synchroniser

log = logging.getLogger(__name__)
#: Seconds that reports wait for more of them, and before one that failed is tried again.
GATHER, AGAIN = 0.1, 1.0


def make_backend() -> DnsBackend:
    """Return the backend that MEP_DNS_BACKEND names, with its options and secret; `Invalid` when they cannot be read."""
    options: object = {}
    secret = settings.DNS_SECRET
    try:
        if settings.DNS_CONFIG:
            options = json.loads(Path(settings.DNS_CONFIG).read_text())
    except (OSError, ValueError) as problem:
        raise Invalid(f"MEP_DNS_CONFIG: {settings.DNS_CONFIG} cannot be read: {problem}") from None
    if not isinstance(options, dict):
        raise Invalid(f"MEP_DNS_CONFIG: {settings.DNS_CONFIG} must hold one JSON object")
    try:
        if settings.DNS_SECRET_FILE:
            secret = Path(settings.DNS_SECRET_FILE).read_text().strip()
    except (OSError, ValueError):
        raise Invalid(f"MEP_DNS_SECRET_FILE: {settings.DNS_SECRET_FILE} cannot be read") from None
    return backends.create(settings.DNS_BACKEND, options, secret)


class Reporter:
    """Tells on the rules, from a thread of its own, what the responder answers: the loop never waits for the disk."""

    def __init__(self) -> None:
        self._version = -1
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dns-reports", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def tell(self, version: int) -> None:
        """Take note that all rules up to `version` are answered."""
        self._version = version
        self._news.set()

    def stop(self) -> None:
        """End; what was not written is written after the next start."""
        self._stopping.set()
        self._news.set()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            self._news.wait()
            if self._stopping.wait(GATHER):
                break
            self._news.clear()
            try:
                reports.in_force(self._version)
            except Error as problem:
                log.warning("what became of the DNS rules cannot be written: %s", problem)
                self._news.set()
                if self._stopping.wait(AGAIN):
                    break
        connection.close()


async def serve(config: Config, *, reporting: bool = True) -> None:
    """Run the responder until SIGTERM or SIGINT."""
    # The reporter's thread may keep the interpreter that long before the loop goes on; the usual 5 ms would be felt.
    sys.setswitchinterval(0.0005)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    reporter = Reporter() if reporting else None
    server = DnsServer(config, changed=reporter.tell if reporter else lambda version: None)
    try:
        if reporter:
            reporter.start()
        await server.start()
        await stopping.wait()
    finally:
        await server.close()
        if reporter:
            reporter.stop()


def synchronise(backend: DnsBackend, stopping: threading.Event) -> None:
    """Keep an external server up to date until told to stop."""
    database = settings.DATABASES["default"]["NAME"]
    Synchroniser(backend, database, default_ttl=settings.DNS_TTL).run(stopping)
