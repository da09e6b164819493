"""`manage.py mp1`: the MEP's APIs over HTTPS, with the loop that watches deadlines and delivers notifications."""

import logging
import signal
import ssl
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core.errors import BreakwaterError
from mep.mp1 import database, server, tls
from mep.mp1.watch import Watch

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Serve Mp1 (ETSI MEC 011) over HTTPS; makes the database and the certificates when they are missing"

    def handle(self, *args: Any, **options: Any) -> None:
        database.prepare()
        files = tls.ensure()
        try:
            context = tls.context(files)
        except (OSError, ssl.SSLError) as problem:
            where = f"MEP_CLIENT_CA {settings.CLIENT_CA} or {files.folder}" if settings.CLIENT_CA else files.folder
            raise CommandError(f"The certificates in {where} cannot be read: {problem}") from problem
        # Not before the database is there: the module makes the application.
        from mep.asgi import application

        application.fast.warm()
        config = server.config(application, context, host=settings.MP1_BIND, port=settings.MP1_PORT)
        # A context may be given a new certificate while it serves: handshakes from then on use it.
        try:
            watch = Watch(certificates=lambda: context.load_cert_chain(tls.ensure().chain, files.key))
        except BreakwaterError as problem:
            raise CommandError(problem.detail) from problem
        watch.start()
        log.info("Mp1 on https://%s:%s as %s", settings.MP1_BIND, settings.MP1_PORT, ", ".join(tls.names()))
        # uvicorn repeats the signal that stopped it once it has stopped; by then it means: go home, all is well.
        signal.signal(signal.SIGTERM, _go_home)
        signal.signal(signal.SIGINT, _go_home)
        try:
            uvicorn.Server(config).run()
        finally:
            watch.stop()


def _go_home(*_: Any) -> None:
    raise SystemExit(0)
