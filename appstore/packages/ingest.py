"""Uploads without a thread each: bodies are received on the ASGI side, then handed to the ordinary view.

A slow client would hold one of the few threads that serve all pages for as long as its upload takes. So
this wrapper first asks the view whether the upload would be taken (who asks, how large), then receives the
body into the store's `incoming` folder, and at last calls the view with the file that has arrived.
Forms must be taken apart by Django, so they get threads of their own and can only wait for each other.
A part of an upload (PATCH) goes the same way: the view opens the file, we fill it, the view counts what has come.

    wsgi = get_wsgi_application()
    pages = Ingest(WSGIMiddleware(wsgi, workers=16), forms=WSGIMiddleware(wsgi, workers=4))
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings

from appstore.packages import blobs
from appstore.packages.partial import Partial
from appstore.packages.uploads import TICKET, Ticket
from core.errors import BreakwaterError, Invalid
from core.words import say

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = "/api/v1/packages"
#: Where parts of uploads go, each upload by its id.
PARTS = re.compile(r"/api/v1/uploads/[0-9a-f-]{36}\Z")
_PIECE = 1 << 20
#: A client that sends nothing for this long is gone.
_PATIENCE = 120.0
#: And for a part, where going on is cheap and the next writer waits for the lock.
_PART_PATIENCE = 15.0


class Ingest:
    """Wraps the application that serves pages; everything but an upload passes through untouched."""

    def __init__(self, app: App, *, forms: App, writers: int = 4) -> None:
        self.app, self.forms = app, forms
        self._writers = ThreadPoolExecutor(writers, "ingest")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "PATCH" and PARTS.fullmatch(scope["path"]):
            await self._part(scope, receive, send)
        elif scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
            await self.app(scope, receive, send)
        elif _is_form(scope):
            await self.forms(scope, receive, send)
        else:
            await self._upload(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _Kept()
        await self.app({**scope, TICKET: Ticket()}, _nothing, asked)
        if asked.status != 204:
            await asked.tell(send)
            return
        loop = asyncio.get_running_loop()
        try:
            body = await loop.run_in_executor(self._writers, blobs.begin, settings.MAX_PACKAGE_BYTES)
        except BreakwaterError as problem:
            await _refuse(problem, send)
            return
        try:
            if await self._take(body, receive):
                await self.app({**scope, TICKET: Ticket(body)}, _nothing, send)
        except BreakwaterError as problem:
            await _refuse(problem, send)
        finally:
            await loop.run_in_executor(self._writers, body.abandon)

    async def _part(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive one part. A line that breaks in the middle loses nothing that has come, unless it has a checksum."""
        ticket, asked = Ticket(), _Kept()
        try:
            await self.app({**scope, TICKET: ticket}, _nothing, asked)
            if asked.status != 204 or ticket.part is None:
                await asked.tell(send)
                return
            broken: BreakwaterError | None = None
            try:
                whole = await self._take(ticket.part, receive, _PART_PATIENCE)
            except BreakwaterError as problem:
                whole, broken = False, problem
            if not whole and ticket.part.checked:
                await self._run(ticket.part.undo)
            ticket.arrived = True
            counted = _Kept()
            await self.app({**scope, TICKET: ticket}, _nothing, counted)
            if broken:
                await _refuse(broken, send)
            elif whole:
                await counted.tell(send)
        except BreakwaterError as problem:
            await _refuse(problem, send)
        finally:
            if ticket.part:
                await self._run(ticket.part.close)

    async def _run(self, work: Callable[[], Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writers, work)

    async def _take(self, body: blobs.Incoming | Partial, receive: Receive, patience: float = _PATIENCE) -> bool:
        """Write the body to disk, one piece while the next one arrives; False when the client has gone away."""
        loop = asyncio.get_running_loop()
        piece, writing = bytearray(), None
        more = True
        try:
            while more:
                try:
                    async with asyncio.timeout(patience):
                        message = await receive()
                except TimeoutError:
                    raise Invalid(
                        say("Nothing arrived for {patience} seconds", patience=format(patience, "g"))
                    ) from None
                if message["type"] == "http.disconnect":
                    return False
                piece += message.get("body", b"")
                more = message.get("more_body", False)
                if len(piece) >= _PIECE or not more:
                    if writing is not None:
                        await writing
                    writing = loop.run_in_executor(self._writers, body.write, bytes(piece))
                    piece.clear()
        finally:
            if writing is not None:
                await writing
            if more and piece and isinstance(body, Partial):
                # The line broke; what came before is not sent again.
                await loop.run_in_executor(self._writers, body.write, bytes(piece))
        return True


def _is_form(scope: Scope) -> bool:
    return any(name == b"content-type" and value.startswith(b"multipart/") for name, value in scope["headers"])


async def _nothing() -> dict[str, Any]:
    """A body of no bytes."""
    return {"type": "http.request", "body": b"", "more_body": False}


class _Kept:
    """Keeps an answer instead of sending it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 0

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.messages.append(message)

    async def tell(self, send: Send) -> None:
        """Send what was kept."""
        for message in self.messages:
            await send(message)


async def _refuse(problem: BreakwaterError, send: Send) -> None:
    text = json.dumps(problem.problem()).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
