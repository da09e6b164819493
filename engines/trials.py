"""What a trial of an application asks of a runtime beyond running it: to be measured, disturbed and searched for remains.

Not part of the contract of engines: nothing but a trial uses it, and only for releases in a namespace of a trial. An
engine without an entry here cannot be the runtime of a sandbox.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from core.errors import BreakwaterError, Invalid
from core.registry import Registry
from core.words import say
from engines.applier import as_status
from engines.contract import Engine

#: Only what is in such a namespace may be disturbed: no tenant's namespace begins like this.
NAMESPACE = "trial-"
#: What is read of an answer, and what one request may take, in seconds.
LARGEST_ANSWER, LONGEST_REQUEST = 1 << 20, 30.0
SCHEMES = ("http", "https", "tcp")
_PATH = re.compile(r"/[!-~]{0,1000}")

Kind = TypeVar("Kind", bound=Engine)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container takes now. A limit of 0 is none; `out_of_memory` counts the kills of this release."""

    pod: str
    container: str
    memory_bytes: int
    memory_limit: int
    cpu_millis: int
    cpu_limit: int
    out_of_memory: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "oom_killed": self.out_of_memory > 0}


class Trials(ABC, Generic[Kind]):
    """The trials on one engine. Methods raise only errors of `core.errors`; none waits for the application."""

    def __init__(self, engine: Kind) -> None:
        self.engine = engine

    @abstractmethod
    def usage(self, name: str, namespace: str) -> list[Usage]:
        """Return what each running container takes; CPU is the mean since the question before, at most a few seconds."""

    @abstractmethod
    def kill(self, name: str, namespace: str) -> list[str]:
        """Kill every container of the release at once, as a crash would, and return their names."""

    @abstractmethod
    def ask(self, name: str, namespace: str, request: Request) -> dict[str, Any]:
        """Send a GET to a port of one of the release's Services; see `answer_of`. `Invalid` when no Service has the port."""

    @abstractmethod
    def leftovers(self, name: str, namespace: str) -> list[str]:
        """Return what the runtime still holds of the release and of its namespace; nothing while all is well."""


#: Who can do this, by the short name of the engine. Of the memory engine nothing can be measured: it runs nothing.
registry: Registry[type[Trials[Any]]] = Registry(
    "trials",
    {
        "docker": "engines.docker.trials:DockerTrials",
        "kubernetes": "engines.kubernetes.trials:KubernetesTrials",
    },
)


def of(engine: Engine) -> Trials[Any]:
    """Return the trials on an engine; `Invalid` when it can have none."""
    if engine.name not in registry.names():
        raise Invalid(
            say("On the {name} engine nothing can be tried: it runs nothing that could be looked at", name=engine.name)
        )
    return registry.get(engine.name)(engine)


@dataclass(frozen=True, slots=True)
class Request:
    """One GET of a trial."""

    port: int
    path: str = "/"
    timeout: float = 5.0
    scheme: str = "http"

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Request:
        """Return the request that a command describes; `Invalid` when it is none."""
        port, path = raw.get("port"), raw.get("path", "/")
        timeout, scheme = raw.get("timeout", 5.0), raw.get("scheme", "http")
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            raise Invalid(say("port must be 1 to 65535"), field="port")
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise Invalid(say("path must begin with / and hold printable ASCII without blanks"), field="path")
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= LONGEST_REQUEST:
            raise Invalid(
                say(
                    "timeout must be more than 0 and at most {longest_request} seconds",
                    longest_request=format(LONGEST_REQUEST, "g"),
                ),
                field="timeout",
            )
        if scheme not in SCHEMES:
            raise Invalid(say("scheme must be one of {schemes}", schemes=", ".join(SCHEMES)), field="scheme")
        return cls(port, path, float(timeout), scheme)


def answer_of(host: str, port: int, request: Request) -> dict[str, Any]:
    """Send the request to `host:port` and return `status`, `bytes` and `milliseconds`, or `problem`.

    `connected` says whether somebody took the connection at all; a `tcp` request asks for no more. A certificate is
    not checked: applications on a node sign their own. No redirect is followed.
    """
    began = time.monotonic()
    told: dict[str, Any] = {"connected": False}
    try:
        if request.scheme == "tcp":
            socket.create_connection((host, port), timeout=request.timeout).close()
            return {"connected": True, "milliseconds": _since(began)}
        connection = _connection(host, port, request)
        try:
            connection.connect()
            told["connected"] = True
            connection.request("GET", request.path, headers={"User-Agent": "breakwater-trial", "Accept": "*/*"})
            answer = connection.getresponse()
            size = _read(answer, began + request.timeout)
            return {**told, "status": answer.status, "bytes": size, "milliseconds": _since(began)}
        finally:
            connection.close()
    except ssl.SSLError as problem:
        return {**told, "connected": True, "problem": f"no TLS: {str(problem)[:200]}"}
    except TimeoutError:
        return {**told, "problem": f"no answer within {request.timeout:g} s"}
    except http.client.HTTPException as problem:
        return {**told, "problem": f"what answers speaks no HTTP: {type(problem).__name__}"}
    except OSError as problem:
        return {**told, "problem": problem.strerror or str(problem)[:200]}


def status_of(engine: Engine, name: str, namespace: str) -> dict[str, Any]:
    """Return the state of a release with the sum of its restarts, as JSON values."""
    told = as_status(engine.status(name, namespace))
    told["restarts"] = sum(int(each.get("restarts", 0)) for each in told["workloads"])
    return told


def trouble(problem: BreakwaterError) -> dict[str, Any]:
    """Return an error as the answer to a command."""
    return {"problem": problem.detail, "code": problem.code, "retryable": problem.retryable}


def _connection(host: str, port: int, request: Request) -> http.client.HTTPConnection:
    if request.scheme == "https":
        # Not the default one, which reads every authority of the system and then trusts anybody.
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=request.timeout, context=anybody)
    return http.client.HTTPConnection(host, port, timeout=request.timeout)


def _read(answer: http.client.HTTPResponse, deadline: float) -> int:
    """Return how many bytes came, up to a limit: an answer without end is no reason to wait for ever."""
    size = 0
    while size < LARGEST_ANSWER and time.monotonic() < deadline:
        chunk = answer.read1(64 << 10)
        if not chunk:
            break
        size += len(chunk)
    return size


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
