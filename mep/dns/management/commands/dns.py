"""`manage.py dns`: the ACTIVE DNS rules are answered, by the responder here or by the server that MEP_DNS_BACKEND names."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import BreakwaterError
from mep.agent.family import Child, Family
from mep.dns.process import make_backend, serve, synchronise
from mep.dns.server import Config
from mep.mp1 import database


class Command(BaseCommand):
    help = (
        "Answer DNS queries (UDP and TCP) from the ACTIVE DNS rules; forward other names when upstreams are set. "
        "With another MEP_DNS_BACKEND than `embedded`: keep the records of an external name server up to date"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--worker", type=int, help="be one of MEP_DNS_PROCESSES; only number 0 reports")

    def handle(self, *args: Any, worker: int | None = None, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        database.prepare()
        try:
            backend = make_backend()
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from None
        if backend.name != "embedded":
            stopping = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stopping.set())
            synchronise(backend, stopping)
            return
        if settings.DNS_PROCESSES > 1 and worker is None:
            manage = str(Path(settings.BASE_DIR) / "manage.py")
            command = [sys.executable, manage, "dns", "--settings", os.environ["DJANGO_SETTINGS_MODULE"], "--worker"]
            children = [Child(f"dns-{each}", [*command, str(each)]) for each in range(settings.DNS_PROCESSES)]
            Family(children, dict(os.environ)).run()
            return
        config = Config(
            database=settings.DATABASES["default"]["NAME"],
            bind=settings.DNS_BIND,
            port=settings.DNS_PORT,
            networks=settings.DNS_NETWORKS,
            upstreams=settings.DNS_UPSTREAMS,
            default_ttl=settings.DNS_TTL,
            timeout=settings.DNS_TIMEOUT,
            rate=settings.DNS_RATE,
            burst=settings.DNS_BURST,
            shared=worker is not None,
        )
        try:
            asyncio.run(serve(config, reporting=not worker))
        except OSError as problem:
            raise CommandError(
                f"DNS cannot listen on {', '.join(config.bind)} port {config.port}: {problem}"
            ) from problem
