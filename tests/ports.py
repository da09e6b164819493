"""Ports for servers that a test starts: chosen now, bound later by another process."""

from __future__ import annotations

import secrets
import socket

#: Below those that the kernel gives away itself (from 32768), which it may give anybody before our server is up, or while
#: it is started again; and below the node ports of a cluster (from 30000).
FIRST, LAST = 20_000, 29_999
# What pytest-randomly seeds would be the same row of numbers in every process of a run.
_DICE = secrets.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """Return a port of loopback that is free now for TCP and UDP, and was not returned before."""
    while True:
        port = _DICE.randint(FIRST, LAST)
        if port not in _given and _free(port):
            _given.add(port)
            return port


def _free(port: int) -> bool:
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        try:
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
