"""What Mp1 asks of uvicorn beyond its own: the client's certificate in the scope, and patience with an end.

uvicorn waits for the first request of a connection, and for the rest of a request's head, as long as it takes;
with either of its parsers it keeps whatever comes until then. So the protocols here end a connection that does
not get its request said, that says too much before it is one, or that does not take its answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import httptools
import uvicorn
from django.conf import settings
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from core.errors import BreakwaterError, Invalid, TimedOut, Unavailable
from mep.mp1 import http, mtls, websockets

App = Callable[..., Awaitable[None]]
Quick = tuple[int, list[tuple[bytes, bytes]], bytes]
#: Seconds from the connection, or from the first byte of a further request, to the end of the request's head.
HEAD_PATIENCE = 10.0
#: Seconds that an answer may wait for a client that does not read.
WRITE_PATIENCE = 30.0
#: Seconds that a connection may rest between requests.
KEEP_ALIVE = 30
#: Seconds that a client has to read why its connection ends.
LINGER = 2.0
#: Bytes of an answer that are handed to the connection at once.
LARGE = 256 << 10
#: Bytes that may come before a request's head is whole, and header lines in it.
HEAD_BYTES, HEAD_LINES = 32 << 10, 100


class HeadTooLarge(BreakwaterError):
    """The request's head is larger than this server reads."""

    code, title, status = "head-too-large", "The request's header fields are too large", 431


def head_too_large() -> HeadTooLarge:
    """Return the error for a head of too many bytes or lines."""
    return HeadTooLarge(f"A request's head may have {HEAD_LINES} lines and {HEAD_BYTES} bytes")


class Showing:
    """Puts the client's certificate into every scope of the connection; one without stays as it is."""

    app: Any

    def connection_made(self, transport: Any) -> None:
        """The handshake is over, so the certificate, if any, has been verified."""
        super().connection_made(transport)  # type: ignore[misc]
        secure = transport.get_extra_info("ssl_object")
        der = secure.getpeercert(binary_form=True) if secure is not None else None
        if der:
            self.app = partial(_with_certificate, self.app, mtls.extension(der))


class Patient(Showing):
    """An HTTP protocol of uvicorn that is patient with an end."""

    # What uvicorn's protocols have, both of them.
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    cycle: Any
    ws_protocol_class: Any
    timeout_keep_alive_task: asyncio.TimerHandle | None
    _timer: asyncio.TimerHandle | None = None
    _writer: asyncio.TimerHandle | None = None
    _heard = 0

    def connection_made(self, transport: Any) -> None:
        """Serve, or say that there are too many."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_PATIENCE, self._out_of_patience)
        if len(self.connections) > settings.MAX_CONNECTIONS:
            self.app = _crowded
            self.ws_protocol_class = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then see whether that made a request."""
        super().data_received(data)  # type: ignore[misc]
        cycle = self.cycle
        if self.timeout_keep_alive_task is None and (cycle is None or cycle.response_complete):
            self._await_head(len(data))
        elif self._timer is not None:
            self._head_is_whole()

    def send_400_response(self, msg: str) -> None:
        """Say it as every other refusal is said."""
        self._say(Invalid("This is no HTTP request"), 400)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        self._head_is_whole()
        if self._writer is not None:
            self._writer.cancel()
        super().connection_lost(exc)  # type: ignore[misc]

    def pause_writing(self) -> None:
        """The client does not read; it may for a while."""
        super().pause_writing()  # type: ignore[misc]
        self._writer = self.loop.call_later(WRITE_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        """It read."""
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
        super().resume_writing()  # type: ignore[misc]

    def _await_head(self, size: int) -> None:
        if self not in self.connections or self.transport.is_closing():
            # A WebSocket has taken the connection over, or it is about to end.
            self._head_is_whole()
            return
        self._heard += size
        if self._heard > HEAD_BYTES:
            self._say(head_too_large(), 431)
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_PATIENCE, self._out_of_patience)

    def _head_is_whole(self) -> None:
        self._heard = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _out_of_patience(self) -> None:
        self._timer = None
        self._say(TimedOut(f"No request came within {HEAD_PATIENCE:g} seconds"), 408)

    def _say(self, error: BreakwaterError, status: int) -> None:
        """Send a problem document for a request that never became one, and end the connection."""
        self._head_is_whole()
        body = http.encode({**error.problem(), "status": status})
        head = (
            f"HTTP/1.1 {status} {error.title}\r\ncontent-type: {http.PROBLEM}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        # A TLS connection is closed when both sides have said so; this side does not wait for the other for long.
        self.loop.call_later(LINGER, self.transport.abort)


class Answered:
    """What stands for the cycle of a request that was answered at once."""

    response_complete = True
    message_event = asyncio.Event()


class Httptools(Patient, HttpToolsProtocol):
    """uvicorn's quick parser; what the fast path knows is said before the request becomes a task.

    The application offers that as `at_once(scope)`, which returns status, headers and body, or None. Everything that is not
    the plain case is left to uvicorn: a connection that ends with the answer or has another answer under way,
    a client that does not keep up, a certificate, a large answer.
    """

    _answered = Answered()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._at_once = getattr(self.app, "at_once", None)

    def connection_made(self, transport: Any) -> None:
        """Say nothing at once where the application is wrapped."""
        plain = self.app
        super().connection_made(transport)
        if self.app is not plain:
            self._at_once = None

    def on_headers_complete(self) -> None:
        """Answer, or let uvicorn make a task of the request."""
        if self._at_once is None or self.parser.get_method() != b"GET" or not self._is_plain():
            super().on_headers_complete()
            return
        url = httptools.parse_url(self.url)
        scope = self.scope
        scope["path"] = url.path.decode("ascii")
        scope["query_string"] = url.query or b""
        said = self._at_once(scope)
        if said is None:
            super().on_headers_complete()
        elif len(said[2]) > LARGE:
            self.app, plain = partial(_say_again, said), self.app
            super().on_headers_complete()
            self.app = plain
        else:
            self._write(*said)

    def _is_plain(self) -> bool:
        cycle, parser = self.cycle, self.parser
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not parser.should_upgrade()
        )

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        self.cycle = self._answered  # type: ignore[assignment]
        self.on_response_complete()


class H11(Patient, H11Protocol):
    """uvicorn's parser in Python."""


class WebSocket(Showing, WebSocketsSansIOProtocol):
    """uvicorn's WebSockets."""


def config(app: App | str, context: ssl.SSLContext, **options: Any) -> uvicorn.Config:
    """Return how uvicorn serves Mp1."""
    return uvicorn.Config(
        app,
        **{
            "ssl_context_factory": lambda *_: context,
            "http": Httptools,
            "ws": WebSocket,
            # Apps fetch notifications over WebSockets and send short acknowledgements.
            "ws_max_size": websockets.LONGEST_FRAME,
            "ws_per_message_deflate": False,
            "ws_ping_interval": 20.0,
            "ws_ping_timeout": 10.0,
            "loop": "uvloop",
            "interface": "asgi3",
            "lifespan": "off",
            "log_config": None,
            "access_log": False,
            "server_header": False,
            # An address in a header is anybody's word; what limits and logs name is the peer of the connection.
            "proxy_headers": False,
            "timeout_keep_alive": KEEP_ALIVE,
            "timeout_graceful_shutdown": 5,
            **options,
        },
    )


def _with_certificate(app: App, shown: dict[str, Any], scope: MutableMapping[str, Any], *rest: Any) -> Awaitable[None]:
    scope["extensions"] = {**scope.get("extensions", {}), mtls.EXTENSION: shown}
    return app(scope, *rest)


async def _say_again(said: Quick, scope: Any, receive: Any, send: Any) -> None:
    status, headers, body = said
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await in_pieces({"type": "http.response.body", "body": body}, send)


async def in_pieces(message: MutableMapping[str, Any], send: Callable[[Any], Awaitable[None]]) -> None:
    """Send a message, a large body piece by piece: one piece, not all, waits in memory for a client that reads slowly."""
    body = message.get("body", b"")
    if len(body) <= LARGE:
        await send(message)
        return
    for at in range(0, len(body), LARGE):
        more = at + LARGE < len(body) or message.get("more_body", False)
        await send({"type": "http.response.body", "body": body[at : at + LARGE], "more_body": more})


async def _crowded(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    error = Unavailable("This MEP serves as many connections as it may; try again in a moment", retry_after=1)
    body = http.encode(error.problem())
    headers = [
        (b"content-type", http.PROBLEM.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
