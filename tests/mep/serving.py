"""Mp1 served by uvicorn in this process, over real TLS, with the protocols and the context of `manage.py mp1`."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from django.conf import settings

from mep.asgi import Mep
from mep.mp1 import server, tls
from mep.mp1.fastpath import FastPath
from tests.ports import free_port
from tests.waiting import until


class Serving:
    """A server for the length of a `with`; the database is the one of the test. `app` is served instead of the MEP."""

    def __init__(self, app: Any = None, **options: Any) -> None:
        self.files = tls.ensure()
        self.mep = Mep(FastPath(settings.DATABASES["default"]["NAME"]))
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", free_port()))
        self.port = self.socket.getsockname()[1]
        self._server = uvicorn.Server(server.config(app or self.mep, tls.context(self.files), **options))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Serving:
        self._thread.start()
        until(lambda: self._server.started, what="uvicorn")
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.mep.ordinary.executor.shutdown()

    def _run(self) -> None:
        self._server.run(sockets=[self.socket])
        # Here, because a connection to SQLite belongs to the thread that made it.
        self.mep.fast.close()

    def trust(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return a context that trusts this node alone and shows the certificate (with its key in the same file)."""
        made = ssl.create_default_context(cafile=str(self.files.ca))
        if certificate is not None:
            made.load_cert_chain(certificate)
        return made

    def client(self, certificate: Path | None = None, token: str = "") -> httpx.Client:
        """Return a client; HTTP keep-alive is on."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=f"https://localhost:{self.port}",
            verify=self.trust(certificate),
            headers=headers,
            trust_env=False,
            timeout=10,
        )

    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._server.server_state.connections)

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Return a TLS connection that says nothing yet."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        return (context or self.trust()).wrap_socket(raw, server_hostname="mep")
