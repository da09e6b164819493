"""Finding a container engine that runs already: Docker, or podman's socket that speaks the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answered on `socket`."""

    socket: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} at {self.socket}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, url: str, *, method: str = "GET", timeout: float = 5.0) -> Any:
    """Return the JSON that the engine at the socket answers; OSError or ValueError when it does not."""
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, url)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise OSError(f"{url} answered {answer.status}")
        return json.loads(content) if content else None
    except http.client.HTTPException as problem:
        raise OSError(str(problem)) from problem
    finally:
        connection.close()


def look_at(path: str) -> Engine | None:
    """Return the engine that answers on the socket `path`, if one does."""
    try:
        said = ask(path, "/version")
        names = [part.get("Name", "") for part in said.get("Components") or []]
    except (OSError, ValueError, AttributeError):
        return None
    podman = any("podman" in name.lower() for name in names)
    return Engine(path, "podman" if podman else "Docker", str(said.get("Version", "")))


def find(given: str = "") -> Engine | None:
    """Return a running engine: the one at `given`, else at the usual places."""
    return next(filter(None, map(look_at, [given] if given else usual_places())), None)


def usual_places() -> list[str]:
    """Return the sockets where engines listen by custom, our own user's first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places = [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    ]
    return [place for place in places if Path(place).exists()]


def remove_all(path: str, label: str) -> int:
    """Remove every container and network that carries `label`; return how many there were.

    The engine of the edge node does this in good order; here is what is left when its process was killed.
    """
    wanted = quote(json.dumps({"label": [label]}))
    held = [each["Id"] for each in ask(path, f"/containers/json?all=1&filters={wanted}")]
    for container in held:
        with contextlib.suppress(OSError):
            ask(path, f"/containers/{container}?force=1&v=1", method="DELETE", timeout=30)
    networks = [each["Id"] for each in ask(path, f"/networks?filters={wanted}")]
    for network in networks:
        with contextlib.suppress(OSError):
            ask(path, f"/networks/{network}", method="DELETE", timeout=30)
    return len(held) + len(networks)
