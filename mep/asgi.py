"""The MEP as an ASGI application: discovery reads take the fast path, all else is Django in threads.

Django under ASGI would hop threads for every request; see `docs/mep.md`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mep.settings")
django.setup()

from a2wsgi import WSGIMiddleware  # noqa: E402 - Django has to be set up first
from django.conf import settings  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402

from core.errors import BreakwaterError, Invalid, TimedOut  # noqa: E402
from mep.mp1 import http  # noqa: E402
from mep.mp1.fastpath import FastPath, Quick  # noqa: E402
from mep.mp1.server import HEAD_LINES, head_too_large, in_pieces  # noqa: E402
from mep.mp1.websockets import Hub  # noqa: E402

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Seconds that a client may take to send its body.
PATIENCE = 30.0
THREADS = 8


class Gone(Exception):
    """The client went away before its request was whole."""


class Mep:
    """The dispatcher."""

    def __init__(self, fast: FastPath | None = None) -> None:
        self.fast = fast or FastPath(settings.DATABASES["default"]["NAME"])
        self.sockets = Hub(settings.DATABASES["default"]["NAME"])
        self.ordinary: Any = WSGIMiddleware(cast(Any, WSGIHandler()), workers=THREADS)

    def at_once(self, scope: Message) -> Quick | None:
        """Return the answer of the fast path to a GET, for a server that sends it without making a task of it."""
        return self.fast.answer(scope) if len(scope["headers"]) <= HEAD_LINES else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await self.sockets.serve(scope, receive, send)
            return
        if len(scope["headers"]) > HEAD_LINES:
            await refuse(head_too_large(), send, 431)
            return
        if scope["method"] == "GET":
            quick = self.fast.answer(scope)
            if quick is not None:
                status, headers, body = quick
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await in_pieces({"type": "http.response.body", "body": body}, send)
                return
        try:
            body = await asyncio.wait_for(whole_body(receive, settings.MAX_BODY_BYTES), PATIENCE)
        except Gone:
            return
        except TimeoutError:
            await refuse(TimedOut(f"The body did not arrive within {PATIENCE:g} seconds"), send, 408)
            return
        except Invalid as error:
            await refuse(error, send, error.status)
            return
        await self.ordinary(
            with_length(scope, len(body)), once(body, receive), lambda message: in_pieces(message, send)
        )


async def whole_body(receive: Receive, limit: int) -> bytes:
    """Return the request body, so that a slow client holds no thread; `TooLarge` as soon as it is too much."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise http.too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def with_length(scope: Message, size: int) -> Message:
    """Return the scope with a Content-Length: WSGI reads nothing of a chunked body without one.

    And without names that have an underscore, which WSGI cannot tell from those with a dash.
    """
    dropped = (b"content-length", b"transfer-encoding")
    headers = [pair for pair in scope["headers"] if pair[0] not in dropped and b"_" not in pair[0]]
    return {**scope, "headers": [*headers, (b"content-length", str(size).encode())]}


def once(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then what really comes."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


async def refuse(error: BreakwaterError, send: Send, status: int) -> None:
    """Send the problem document of an error that Django never saw, and end the connection."""
    body = http.encode({**error.problem(), "status": status})
    headers = [
        (b"content-type", http.PROBLEM.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


application = Mep()
