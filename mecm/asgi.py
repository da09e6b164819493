"""One web process: edge links and live streams go to ASGI, everything else to Django WSGI in threads.

All of Django under ASGI pays a thread hop for each synchronous middleware; WSGI in threads does not.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mecm.settings")

from a2wsgi import WSGIMiddleware
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: The libraries spell the types of ASGI in three different ways; to us they are one kind of callable.
Application = Callable[[Message, Receive, Send], Awaitable[None]]
django = cast(Any, get_wsgi_application())
threads = cast(Application, WSGIMiddleware(django, workers=16))
#: A form with a file is taken apart by Django while it arrives: such uploads may only wait for each other.
forms = cast(Application, WSGIMiddleware(django, workers=4))


class Streams(ASGIHandler):
    """Django's handler, but a stream holds its thread and its database connection only until it begins.

    Django keeps a thread for each request until its answer ends, which for a stream is an hour.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handle(scope, receive, send)

    async def run_get_response(self, request: Any) -> Any:
        """Find the answer in a thread, and let that go."""
        async with ThreadSensitiveContext():
            response = await super().run_get_response(request)  # type: ignore[misc]
            await sync_to_async(connections.close_all, thread_sensitive=True)()
            return response


streams = cast(Application, Streams())

from appstore.packages.ingest import Ingest  # noqa: E402  (its settings must be ready)
from core.sealing.services import require_keys  # noqa: E402  (its models need the apps to be loaded)
from core.vault import KeyMissing  # noqa: E402
from mecm.edge.hub import application as edge  # noqa: E402  (its models need the apps to be loaded)

#: Uploads are received without holding one of the threads that serve the pages.
pages = Ingest(threads, forms=forms)


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Dispatch by kind of connection and path."""
    if scope["type"] == "websocket":
        await edge(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"].endswith("/stream"):
        await streams(scope, receive, send)
    else:
        await pages(scope, receive, send)


def _require_keys() -> None:
    try:
        require_keys()
    finally:
        connections.close_all()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await sync_to_async(_require_keys)()
            except KeyMissing as problem:
                await send({"type": "lifespan.startup.failed", "message": problem.detail})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
