"""The console as an ASGI application: bodies are read before a thread is taken, then it is ordinary Django."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mep.console.settings")
django.setup()

from a2wsgi import WSGIMiddleware  # noqa: E402 - Django has to be set up first
from django.conf import settings  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Seconds that a client may take to send a form.
PATIENCE = 15.0
THREADS = 4


class Console:
    """The application; a client that sends slowly or too much holds no thread."""

    def __init__(self) -> None:
        self.django: Any = WSGIMiddleware(cast(Any, WSGIHandler()), workers=THREADS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        try:
            body = await asyncio.wait_for(_whole(receive), PATIENCE)
        except TimeoutError:
            await _refuse(send, 408, "The form did not arrive in time.")
            return
        if body is None:
            await _refuse(send, 413, "The form is too large.")
            return
        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
        whole = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        waiting = [body]

        async def again() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        await self.django(whole, again, send)


async def _whole(receive: Receive) -> bytes | None:
    """Return the body; None when it is more than a form needs."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _refuse(send: Send, status: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})


application = Console()
