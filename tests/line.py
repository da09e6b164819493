"""A wire to a server of this machine that can be cut, slowed down, and counts what goes up."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Line:
    """A TCP relay: connect to `port`; `cut` ends all connections and lets nobody through until `mend`."""

    def __init__(self, target: int) -> None:
        self.target = target
        #: Bytes that went up so far; the line cuts itself when they are more than `breaks_at`.
        self.sent = 0
        self.breaks_at: float = float("inf")
        #: Bytes a second; as fast as it goes when 0.
        self.speed = 0
        self.whole = True
        self._ends: list[socket.socket] = []
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._ear.getsockname()[1])
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self) -> None:
        """Break every connection."""
        self.whole = False
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everybody through again, for good."""
        self.breaks_at, self.whole = float("inf"), True

    def close(self) -> None:
        """End it."""
        self.cut()
        self._ear.close()
        for end in self._ends:
            end.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._ear.accept()
            except OSError:
                return
            if not self.whole:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self._ends += [near, far]
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
                if up:
                    self.sent += len(piece)
                    if self.sent > self.breaks_at:
                        self.cut()
                    if self.speed:
                        time.sleep(len(piece) / self.speed)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
