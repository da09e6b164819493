"""TCP proxies inside the engine's process: a port here leads to the ready pods of a Service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.docker.loop import LoopThread

#: More connections than this at once through one port are turned away.
MOST_CONNECTIONS = 1024
CONNECT_SECONDS, CHUNK = 3.0, 64 << 10

Backend = tuple[str, int]


@dataclass
class _Door:
    """One listening port with those behind it."""

    backends: Sequence[Backend] = ()
    server: asyncio.Server | None = None
    turn: itertools.count[int] = field(default_factory=itertools.count)
    open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self.open += 1
        try:
            onward = await self._connect()
            if onward is None:
                writer.transport.abort()
                return
            await _join(reader, writer, *onward)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self.open -= 1

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        backends = list(self.backends)
        first = next(self.turn)
        for number in range(len(backends)):
            host, port = backends[(first + number) % len(backends)]
            try:
                return await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SECONDS)
            except (OSError, TimeoutError):
                continue
        return None


class Proxies:
    """The open ports by a key of the caller's; call from any thread."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self._doors: dict[Hashable, _Door] = {}

    def names(self) -> set[Hashable]:
        return set(self._doors)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._doors

    def open(self, key: Hashable, listening: socket.socket, backends: Sequence[Backend] = ()) -> None:
        """Serve an already listening socket under `key`."""
        door = _Door(backends)

        async def start() -> None:
            door.server = await asyncio.start_server(door.serve, sock=listening, limit=CHUNK)

        self._loop.run(start())
        self._doors[key] = door

    def point(self, backends: Mapping[Hashable, Sequence[Backend]]) -> None:
        """Set who stands behind each open port."""
        for key, behind in backends.items():
            if key in self._doors:
                self._doors[key].backends = tuple(behind)

    def shut(self, key: Hashable) -> None:
        """Close a port; connections through it go on until they end."""
        door = self._doors.pop(key, None)
        if door is not None and door.server is not None:
            server = door.server

            async def stop() -> None:
                server.close()

            self._loop.run(stop())

    def close(self) -> None:
        for key in list(self._doors):
            self.shut(key)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; OSError when the port is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(256)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def _join(
    left_in: asyncio.StreamReader,
    left_out: asyncio.StreamWriter,
    right_in: asyncio.StreamReader,
    right_out: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_pipe(left_in, right_out), _pipe(right_in, left_out))
    finally:
        for writer in (left_out, right_out):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()
