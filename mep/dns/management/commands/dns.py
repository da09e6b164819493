"""`manage.py dns`: answer DNS queries from the ACTIVE rules, as a process of its own."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mep.dns.server import Config, DnsServer
from mep.mp1 import database


class Command(BaseCommand):
    help = "Answer DNS queries (UDP and TCP) from the ACTIVE DNS rules; forward other names when upstreams are set"

    def handle(self, *args: Any, **options: Any) -> None:
        database.prepare()
        config = Config(
            database=settings.DATABASES["default"]["NAME"],
            bind=settings.DNS_BIND,
            port=settings.DNS_PORT,
            networks=settings.DNS_NETWORKS,
            upstreams=settings.DNS_UPSTREAMS,
            default_ttl=settings.DNS_TTL,
            timeout=settings.DNS_TIMEOUT,
        )
        try:
            asyncio.run(_serve(config))
        except OSError as problem:
            raise CommandError(
                f"DNS cannot listen on {', '.join(config.bind)} port {config.port}: {problem}"
            ) from problem


async def _serve(config: Config) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    server = DnsServer(config)
    try:
        await server.start()
        await stopping.wait()
    finally:
        await server.close()
