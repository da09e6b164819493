"""`manage.py console`: the local console over HTTPS, in a process of its own."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mep.console import keep
from mep.mp1 import database, tls

log = logging.getLogger(__name__)
SETTINGS = "mep.console.settings"
HOURLY = 3600.0


class Command(BaseCommand):
    """Serves the console until SIGTERM or SIGINT."""

    help = "Serve the node's own console over HTTPS; works while the centre is away"

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve; the pages have settings of their own, so the process begins anew with those."""
        if not settings.CONSOLE_PORT:
            raise CommandError("MEP_CONSOLE_PORT is 0: this node has no console")
        if settings.ROOT_URLCONF != "mep.console.urls":
            os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
            os.execv(sys.executable, [sys.executable, sys.argv[0], "console"])  # noqa: S606 - there is no shell to want
        database.prepare()
        first_password()
        files = tls.ensure()
        context = tls.context(files)
        config = uvicorn.Config(
            "mep.console.asgi:application",
            host=settings.CONSOLE_BIND,
            port=settings.CONSOLE_PORT,
            ssl_context_factory=lambda *_: context,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            limit_concurrency=200,
        )
        log.info("the console is on https://%s:%s", settings.CONSOLE_BIND, settings.CONSOLE_PORT)
        over = threading.Event()

        def renew() -> None:
            while not over.wait(HOURLY):
                context.load_cert_chain(tls.ensure().chain, files.key)

        threading.Thread(target=renew, name="certificate", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _go_home)
        try:
            uvicorn.Server(config).run()
        finally:
            over.set()


def first_password() -> None:
    """Make up a password when none was set yet, and say where it lies; the log itself never holds it."""
    # Imported here because it needs the console's settings.
    from mep.console.door import hashed

    file = keep.first_password_file(settings.VAR)
    if not keep.load(settings.VAR).password:
        plain = "-".join(secrets.token_hex(2) for _ in range(5))
        keep.first_password(settings.VAR, hashed(plain), plain)
    if file.exists():
        log.warning("the console's first password is in %s; `manage.py console_password` sets another", file)


def _go_home(*_: Any) -> None:
    raise SystemExit(0)
