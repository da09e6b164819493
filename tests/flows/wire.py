"""A wire between two ports of loopback that a test can cut and mend."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any


class Wire:
    """Passes bytes from a port of its own to another; while it is cut, connections are refused and open ones are gone."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self.mend()

    def mend(self) -> None:
        """Join the wire, at the same port as before; whole already is fine."""
        self._do(self._open())

    def cut(self) -> None:
        """Cut the wire."""
        self._do(self._shut())

    def close(self) -> None:
        """Cut the wire for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self) -> None:
        if self._server is not None:
            return
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0)

    async def _join(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            near_out.transport.abort()
            return
        ends = {near_out, far_out}
        self._ends |= ends
        try:
            await asyncio.gather(_pass(near_in, far_out), _pass(far_in, near_out))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
