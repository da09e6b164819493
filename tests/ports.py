"""Ports for servers that tests start: below those that the kernel gives out, and given to one test only.

A port that was found by binding to 0 is free again as the probe closes. The kernel may give it to somebody else (another test,
or the source of a connection) before the server binds it, or while the server is down between a kill and its next start.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

#: Under the kernel's range (32768 and up) and under Kubernetes' node ports (30000 and up).
PORTS = range(20000, 30000)
#: What a machine without IPv6 says.
NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
_ours: set[int] = set()


@cache
def _ledger() -> int:
    """Return the file whose byte n is locked while a process uses port n; the kernel unlocks it when the process ends."""
    file = Path(tempfile.gettempdir()) / f"breakwater-test-ports-{os.getuid()}"
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def free_port() -> int:
    """Return a port that is free on loopback, TCP and UDP, IPv4 and IPv6. No other test is given it while this process lives."""
    first = random.randrange(len(PORTS))
    for port in (*PORTS[first:], *PORTS[:first]):
        if port not in _ours and _claimed(port) and _free(port):
            _ours.add(port)
            return port
    raise AssertionError(f"no port of {PORTS} is free")


def _claimed(port: int) -> bool:
    try:
        fcntl.lockf(_ledger(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _free(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as probe:
                    probe.bind((address, port))
            except OSError as failure:
                if failure.errno in NO_IPV6 and family == socket.AF_INET6:
                    continue
                return False
    return True
