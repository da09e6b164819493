"""Are the ports free that we want? If not, which setting changes them?"""

from __future__ import annotations

import errno
import socket

from core.errors import Conflict


def require_free(wanted: dict[str, tuple[str, int]]) -> None:
    """Raise `Conflict` that names every taken port with its setting; `wanted` maps a setting to address and port."""
    taken = [
        f"port {port} on {address} is taken; choose another with {setting}=<port>"
        for setting, (address, port) in wanted.items()
        if not _is_free(address, port)
    ]
    if taken:
        raise Conflict("; ".join(taken))


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers from an earlier run does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as problem:
            if problem.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
