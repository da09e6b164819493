"""A listening socket inside a pod's network: so a Service's port can lead to another port of the same pod."""

from __future__ import annotations

import ctypes
import os
import socket
import threading

from core.errors import Unavailable
from core.words import say
from engines.docker.proxy import listen

_CLONE_NEWNET = 0x40000000


def possible() -> bool:
    """Return whether this process may enter other network namespaces (only root may)."""
    return os.geteuid() == 0 and hasattr(os, "O_CLOEXEC")


def listen_inside(process: int, port: int) -> socket.socket:
    """Return a socket that listens on `port` in the network of process `process`.

    A thread of its own goes there and ends; a socket stays in the network where it was made.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            handle = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(handle)
            made.append(listen("0.0.0.0", port))  # noqa: S104 - inside the pod, not on the node
        except OSError as problem:
            failed.append(problem)

    thread = threading.Thread(target=enter, name="engine-netns")
    thread.start()
    thread.join()
    if failed:
        raise Unavailable(
            say("Port {port} cannot be opened inside the pod: {strerror}", port=port, strerror=failed[0].strerror)
        )
    return made[0]
