"""The hub: the ASGI application behind `/api/v1/edge/sync`, one WebSocket for each node.

One coroutine reads and one writes for each connection; one watcher looks for changes on behalf of all of
them, and a few threads talk to the database. Nothing here costs a thread, a process or a query for each node.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import close_old_connections, connections

from core.errors import BreakwaterError, Invalid, Missing, Throttled
from core.frames import canonical
from core.words import say
from mecm.edge import stream
from mecm.edge.connection import Closed, Connection
from mecm.edge.doorbell import bell
from mecm.edge.identity import Speaker, retire_older, speaker
from mecm.edge.models import NodeSync

logger = logging.getLogger("breakwater.edge")

PATH = "/api/v1/edge/sync"
#: Threads that talk to the database on behalf of all connections.
THREADS = 4
#: The doorbell is looked at this often, and the database without a ring this often (seconds).
LISTEN_EVERY, SWEEP_EVERY, NOTE_ALIVE_EVERY = 0.01, 2.0, 5.0
#: New connections a second, and how many may come at once.
ADMIT_RATE, ADMIT_BURST = 100.0, 200.0

Answer = TypeVar("Answer")
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Admission:
    """A token bucket: after an outage the nodes come back at a pace that the database can take."""

    def __init__(self, rate: float = ADMIT_RATE, burst: float = ADMIT_BURST) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, time.monotonic()

    def admit(self, now: float | None = None) -> bool:
        """Return whether one more may come in now."""
        now = time.monotonic() if now is None else now
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Hub:
    """All connections of one process."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.connections: dict[UUID, Connection] = {}
        self.admission = Admission()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="edge-hub")
        self._watcher: asyncio.Task[None] | None = None
        self._alive: set[UUID] = set()

    async def ask(self, question: Callable[..., Answer], *args: Any) -> Answer:
        """Run database work in the pool."""

        def work() -> Answer:
            close_old_connections()
            try:
                return question(*args)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let go of the threads and their database connections; call when nothing is connected."""
        together = threading.Barrier(THREADS)

        def leave(_: int) -> None:
            together.wait(10)  # so that each thread gets exactly one of these
            connections.close_all()

        list(self._pool.map(leave, range(THREADS)))
        self._pool.shutdown()

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one WebSocket from its first to its last frame."""
        await receive()  # websocket.connect
        try:
            spoke = await self._admit(scope)
        except BreakwaterError as refused:
            await _refuse(scope, send, refused)
            return
        await send({"type": "websocket.accept"})
        connection = Connection(self, spoke, receive, send)
        try:
            self._hold(connection)
            await connection.greet()
            await connection.run()
        except Closed as ended:
            logger.info("node %s: %s", spoke.node.pk, ended)
            await _hang_up(send, ended)
        except NodeSync.DoesNotExist:
            # Deleted while it spoke, between two looks of the watcher.
            logger.info("node %s is gone", spoke.node.pk)
            await _hang_up(send, Closed(4403, "the node is gone"))
        except Exception:
            logger.exception("node %s: the connection ends on an unexpected error", spoke.node.pk)
            await _hang_up(send, Closed(1011, "an unexpected error on our side; connect again"))
        finally:
            await self._let_go(connection)

    def alive(self, node_id: UUID) -> None:
        """Note that the node gave a sign of life; written for all nodes together."""
        self._alive.add(node_id)

    async def _admit(self, scope: dict[str, Any]) -> Speaker:
        if scope["path"] != PATH:
            raise Missing(say("There is no WebSocket here."))
        if not self.admission.admit():
            raise Throttled(say("Too many nodes connect at once; come back in a moment."), retry_after=1)
        headers = dict(scope.get("headers", ()))
        if any(name == b"origin" for name in headers):
            raise Invalid(say("This address is for edge nodes, not for browsers."))
        spoke = await self.ask(speaker, headers.get(b"authorization", b"").decode("latin-1"))
        await self.ask(retire_older, spoke)
        return spoke

    def _hold(self, connection: Connection) -> None:
        before = self.connections.get(connection.node_id)
        if before is not None:
            before.close(4409, "the node connected again")
        self.connections[connection.node_id] = connection
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(), name="edge-watcher")

    async def _let_go(self, connection: Connection) -> None:
        if self.connections.get(connection.node_id) is connection:
            del self.connections[connection.node_id]
            with suppress(Exception):  # the row may be gone, or the database; the next hello sets it right
                await asyncio.shield(self.ask(stream.left, connection.node_id, self.name))

    async def _watch(self) -> None:
        """Look for changes on behalf of every connection, for as long as there is one."""
        heard = bell().value()
        swept = noted = time.monotonic()
        while self.connections:
            await asyncio.sleep(LISTEN_EVERY)
            now = time.monotonic()
            try:
                rung = bell().value()
                if rung != heard:
                    heard = rung
                    await self._look()
                if now - swept >= SWEEP_EVERY:
                    swept = now
                    await self._sweep()
                if now - noted >= NOTE_ALIVE_EVERY and self._alive:
                    noted, alive = now, self._alive
                    self._alive = set()
                    await self.ask(stream.seen, alive)
            except Exception:
                logger.exception("the edge watcher goes on after this")
                await asyncio.sleep(1)

    async def _look(self) -> None:
        """Wake the connections whose node has something new, and close those that may not go on."""
        for node_id, rev in (await self.ask(stream.waiting, self.name)).items():
            self._wake(node_id, rev)
        self._close_revoked(await self.ask(stream.revoked, self.name))

    async def _sweep(self) -> None:
        """As `_look`, for rings that were lost and for nodes that are no more: one query for all nodes."""
        before = [connection for connection in self.connections.values() if connection.greeted]
        held = await self.ask(stream.held, self.name)
        for connection in before:
            if connection.node_id in held:
                self._wake(connection.node_id, held[connection.node_id])
            elif self.connections.get(connection.node_id) is connection:
                connection.close(4403, "the node is gone, or connected elsewhere")
        self._close_revoked(await self.ask(stream.revoked, self.name))

    def _wake(self, node_id: UUID, rev: int) -> None:
        connection = self.connections.get(node_id)
        if connection is not None:
            connection.wake(rev)

    def _close_revoked(self, serials: Iterable[str]) -> None:
        gone = set(serials)
        for connection in list(self.connections.values()) if gone else ():
            if connection.serial in gone:
                connection.close(4403, "the certificate was revoked")


async def _hang_up(send: Send, ended: Closed) -> None:
    """Send the close frame; a peer that is gone already is fine."""
    with suppress(Exception):
        await send({"type": "websocket.close", "code": ended.code, "reason": str(ended)[:100]})


async def _refuse(scope: dict[str, Any], send: Send, refused: BreakwaterError) -> None:
    """Answer the handshake with a problem document where the server can, else with a bare 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4400})
        return
    headers = [(b"content-type", b"application/problem+json")]
    if isinstance(refused, Throttled):
        headers.append((b"retry-after", b"1"))
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": canonical(refused.problem())})


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application that `mecm.asgi` mounts for WebSockets."""
    await hub().serve(scope, receive, send)
