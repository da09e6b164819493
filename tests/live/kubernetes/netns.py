"""Sockets that live in another network namespace, and relays across its border.

The cluster has no route in or out, so whoever wants to talk to it borrows a socket from its namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

Address = tuple[str, int]


def enter(namespace: Path) -> None:
    """Move the calling thread, and no other, into the network namespace; there is no way back."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    finally:
        os.close(descriptor)


class Border:
    """Makes connections and listeners on either side. The far side is the namespace, the near side is ours."""

    def __init__(self, namespace: Path) -> None:
        self._far = ThreadPoolExecutor(2, thread_name_prefix="far-side", initializer=enter, initargs=(namespace,))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()

    def connect(self, address: Address, timeout: float = 5.0) -> socket.socket:
        """Return a connection to an address of the far side."""
        return self._far.submit(socket.create_connection, address, timeout).result()

    def inward(self, far: Address, near: Address = ("127.0.0.1", 0)) -> Address:
        """Relay a listener of ours to an address of the far side; return where it listens."""
        return self._relay(_listen(near), lambda: self._far.submit(socket.create_connection, far, 5.0).result())

    def outward(self, near: Address, far: Address) -> Address:
        """Relay a listener on the far side to an address of ours; return where it listens."""
        listener = self._far.submit(_listen, far).result()
        return self._relay(listener, lambda: socket.create_connection(near, 5.0))

    def close(self) -> None:
        """Stop every relay."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._far.shutdown(wait=False, cancel_futures=True)

    def _relay(self, listener: socket.socket, dial) -> Address:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                other = await self._loop.run_in_executor(None, dial)
                other.setblocking(False)
                far_reader, far_writer = await asyncio.open_connection(sock=other)
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer), return_exceptions=True)
                far_writer.close()
            writer.close()

        asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, sock=listener), self._loop).result()
        host, port = listener.getsockname()[:2]
        return host, port


def _listen(address: Address) -> socket.socket:
    listener = socket.create_server(address, backlog=128)
    listener.setblocking(False)
    return listener


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()  # one side broke the connection off: so do we
