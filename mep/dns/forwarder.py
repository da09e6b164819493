"""Names without a rule are asked upstream and the answers relayed as they are, but for the message id.

Each query goes out with a random id from a random one of many connected sockets, each with a port that the kernel
chose and that is given up after a while; an answer counts only when socket, id and question agree (RFC 5452).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mep.dns import wire

log = logging.getLogger(__name__)
Server = tuple[str, int]
PORTS = 32
LIMIT = 4096
#: Queries that leave through one port before another takes its place.
USES = 1000


class Port:
    """One socket with a port of its own, connected to one server."""

    __slots__ = ("socket", "used", "waiting")

    def __init__(self, out: socket.socket) -> None:
        self.socket, self.used, self.waiting = out, 0, 0


@dataclass(slots=True)
class Pending:
    """A query that waits for its answer."""

    query: bytes
    question: wire.Question
    deliver: Callable[[bytes], None]
    server: int
    gives_up_at: float
    port: Port | None = None
    timer: asyncio.TimerHandle | None = None


class Forwarder:
    """Asks the upstream servers in their order, the next one when the one before is silent."""

    def __init__(self, servers: Sequence[Server], timeout: float) -> None:
        self.servers, self.timeout = tuple(servers), timeout
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[int, int], Pending] = {}
        self._ports: list[list[Port]] = [[] for _ in self.servers]
        self._open: set[socket.socket] = set()

    def ask(self, query: bytes, question: wire.Question, deliver: Callable[[bytes], None]) -> None:
        """Ask over UDP; `deliver` is called once, with SERVFAIL when nobody answers or too many wait."""
        if len(self._pending) >= LIMIT:
            deliver(servfail(query, question))
            return
        self._send(Pending(query, question, deliver, 0, self._loop.time() + self.timeout))

    async def ask_stream(self, query: bytes, question: wire.Question) -> bytes:
        """Ask over TCP, as the client did."""
        for server in self.servers:
            try:
                async with asyncio.timeout(self.timeout / len(self.servers)):
                    return await _over_tcp(server, query, question)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as problem:
                log.debug("upstream %s over TCP: %s", server[0], problem)
        return servfail(query, question)

    def close(self) -> None:
        """Let go of the sockets; what waits is not answered any more."""
        for waiting in self._pending.values():
            if waiting.timer:
                waiting.timer.cancel()
        self._pending.clear()
        for each in list(self._open):
            self._close(each)

    @property
    def waiting(self) -> int:
        """How many queries wait for an answer."""
        return len(self._pending)

    def _port(self, server: int) -> Port:
        """Return a random port for a server; `OSError` when there is no way to it."""
        pool = self._ports[server]
        at = secrets.randbelow(PORTS)
        if at < len(pool) and pool[at].used < USES:
            return pool[at]
        address = self.servers[server]
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.connect(address)
        except OSError:
            made.close()
            raise
        self._open.add(made)
        port = Port(made)
        self._loop.add_reader(made, self._receive, port)
        if at < len(pool):
            old, pool[at] = pool[at], port
            self._close_idle(old)
        else:
            pool.append(port)
        return port

    def _close_idle(self, port: Port) -> None:
        """Close a port that gave way to another once nobody waits at it."""
        if port.used >= USES and not port.waiting and not any(port in pool for pool in self._ports):
            self._close(port.socket)

    def _close(self, out: socket.socket) -> None:
        self._loop.remove_reader(out)
        self._open.discard(out)
        out.close()

    def _send(self, waiting: Pending) -> None:
        rest = waiting.gives_up_at - self._loop.time()
        last = waiting.server == len(self.servers) - 1
        delay = rest if last else min(0.75, rest / 2)
        try:
            port = waiting.port = self._port(waiting.server)
        except OSError as problem:
            log.debug("upstream %s: %s", self.servers[waiting.server][0], problem)
            self._next(waiting)
            return
        key = (port.socket.fileno(), secrets.randbelow(65536))
        while key in self._pending:
            key = (key[0], secrets.randbelow(65536))
        self._pending[key] = waiting
        port.used += 1
        port.waiting += 1
        waiting.timer = self._loop.call_later(delay, self._silent, key)
        try:
            port.socket.send(key[1].to_bytes(2, "big") + waiting.query[2:])
        except OSError as problem:  # its timer goes on to the next server
            log.debug("upstream %s: %s", self.servers[waiting.server][0], problem)

    def _done(self, key: tuple[int, int]) -> Pending:
        """Take a query out of the table."""
        waiting = self._pending.pop(key)
        if waiting.timer:
            waiting.timer.cancel()
        if waiting.port:
            waiting.port.waiting -= 1
            self._close_idle(waiting.port)
        return waiting

    def _silent(self, key: tuple[int, int]) -> None:
        self._next(self._done(key))

    def _next(self, waiting: Pending) -> None:
        """Ask the next server; SERVFAIL when there is none."""
        waiting.server += 1
        if waiting.server < len(self.servers) and waiting.gives_up_at > self._loop.time():
            self._send(waiting)
        else:
            waiting.deliver(servfail(waiting.query, waiting.question))

    def _receive(self, port: Port) -> None:
        for _ in range(64):
            try:
                data = port.socket.recv(65535)
            except OSError:  # nothing more, or the server's port is closed: the timer knows what to do
                return
            key = (port.socket.fileno(), int.from_bytes(data[:2], "big"))
            waiting = self._pending.get(key)
            if waiting is None:
                continue
            if answers(data, waiting.question):
                waiting = self._done(key)
                waiting.deliver(waiting.query[:2] + data[2:])
            elif fails(data):
                self._next(self._done(key))
            if port.socket.fileno() < 0:
                return


def answers(data: bytes, question: wire.Question) -> bool:
    """Return whether `data` is a response to `question`."""
    return len(data) >= 12 and bool(data[2] & 0x80) and data[12 : 12 + len(question.raw)] == question.raw


def fails(data: bytes) -> bool:
    """Return whether `data` is a bare error: servers that cannot read a query do not repeat its question."""
    return len(data) == 12 and bool(data[2] & 0x80) and bool(data[3] & 15) and data[4:12] == bytes(8)


def servfail(query: bytes, question: wire.Question) -> bytes:
    """Return the answer of last resort."""
    return wire.reply(query[:2], question, wire.RA, code=wire.SERVFAIL)


async def _over_tcp(server: Server, query: bytes, question: wire.Question) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        message_id = secrets.token_bytes(2)
        writer.write(len(query).to_bytes(2, "big") + message_id + query[2:])
        await writer.drain()
        data: bytes = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
    if data[:2] != message_id or not answers(data, question):
        raise ValueError("the answer is to another question")
    return query[:2] + data[2:]
