"""The way to a stranger's server: only to allowed addresses, resolved once and pinned, bounded in time and bytes.

An address that people type may point into our own network (SSRF), its name may resolve to something else a moment later
(DNS rebinding), and the server may answer with a byte a second or without end. All of that is settled here, at the
socket, for every request of this topic.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore
import httpx

from core import addresses
from core.addresses import Address, Network
from core.errors import Invalid, Rejected, TimedOut, Unavailable
from core.words import say

Resolve = Callable[[str, int], list[str]]

LONGEST_URL = 300
_PIECE = 512 << 10


@dataclass(frozen=True, slots=True)
class Policy:
    """Where we may go. Public addresses by HTTPS always; `networks` are private ones that are allowed, HTTP too."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Policy:
        """Read networks as they stand in a setting; `ValueError` for one that is none."""
        return cls(addresses.networks(networks, strict=True))

    def permits(self, address: Address, scheme: str) -> bool:
        """Return whether a connection may be made to that address in that scheme."""
        return addresses.permitted(address, scheme, self.networks)


@dataclass(frozen=True, slots=True)
class Place:
    """A server as it was resolved once: connections go to `address`, whatever the name says later."""

    scheme: str
    host: str
    port: int
    address: str
    base: str


def split_url(url: str) -> SplitResult:
    """Return the parts of the address of a store; `Invalid` unless it is a plain http(s) origin, perhaps with a path."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise _wrong(say("That is no address of a store.")) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > LONGEST_URL or port == 0:
        raise _wrong(say("Give the address of the store, like https://store.example.net"))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong(say("The address of a store has no user name, query or fragment."))
    if not parts.hostname.isascii() or not all(each.isalnum() or each in "-._:" for each in parts.hostname):
        raise _wrong(say("Write the host name in ASCII (punycode for other scripts)."))
    if not all(each.isalnum() or each in "-._~/" for each in parts.path) or "//" in parts.path or ".." in parts.path:
        raise _wrong(say("The path of that address has characters that do not belong there."))
    return parts


def normal_url(url: str) -> str:
    """Return the address without a slash at the end and without the port that is the scheme's own anyway."""
    parts = split_url(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port and parts.port != usual else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host name; `Unavailable` when it has none now."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(say("The name {host} cannot be resolved at the moment.", host=host)) from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def locate(url: str, policy: Policy, resolver: Resolve = resolve) -> Place:
    """Resolve the address of a store once and decide whether we may go there.

    `Invalid` for an address that is none, and for one into a network that is not allowed: one forbidden answer among
    several forbids all, since a name that points both outside and inside is an attack or a mistake.
    """
    parts = split_url(url)
    host = str(parts.hostname)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    told = [ipaddress.ip_address(each.partition("%")[0]) for each in resolver(host, port)]
    if not told:
        raise Unavailable(say("The name {host} has no address.", host=host))
    for address in told:
        if policy.permits(address, parts.scheme):
            continue
        if parts.scheme == "http" and policy.permits(address, "https"):
            raise _wrong(say("Partner stores are reached by https; plain http is only for networks that the "
"setting FEDERATION_NETWORKS lists."))  # fmt: skip
        raise _wrong(
            say(
                "{host} points to {address}, which is no public address. Networks inside are only "
                "for stores that the setting FEDERATION_NETWORKS lists.",
                host=host,
                address=address,
            )
        )
    return Place(parts.scheme, host, port, str(told[0]), normal_url(url))


@dataclass(slots=True)
class Guard:
    """Watches one request at the socket: `deadline` for all of it, and a floor under the speed once it has begun.

    Only time spent waiting for the other side counts, so a slow disk of ours accuses nobody.
    """

    floor: float = 2048.0
    grace: float = 10.0
    deadline: float | None = None
    received: int = 0
    waited: float = 0.0

    def begin(self, seconds: float | None) -> None:
        """Start to count for a new request that may take so many seconds, None for as long as it flows."""
        self.deadline = time.monotonic() + seconds if seconds is not None else None
        self.received, self.waited = 0, 0.0

    def patience(self, timeout: float | None) -> float:
        """Return how long the next read may wait; raises when no time is left."""
        bounds = [self.grace if timeout is None else min(timeout, self.grace)]
        if self.deadline is not None:
            bounds.append(self.deadline - time.monotonic())
        if min(bounds) <= 0:
            raise httpcore.ReadTimeout("the answer took too long as a whole")
        return min(bounds)

    def count(self, size: int, waited: float) -> None:
        """Count what came; raises when the other side stalls."""
        self.received += size
        self.waited += waited
        if self.waited > self.grace and self.received < self.floor * self.waited:
            raise httpcore.ReadTimeout("the answer comes slower than is taken")


class _Stream(httpcore.NetworkStream):
    """A connection whose reads are guarded."""

    def __init__(self, inner: httpcore.NetworkStream, guard: Guard) -> None:
        self._inner, self._guard = inner, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        patience, began = self._guard.patience(timeout), time.monotonic()
        # Larger pieces than the client asks for: a package in pieces of 64 kB costs twice the processor time.
        data = self._inner.read(max(max_bytes, _PIECE), patience)
        self._guard.count(len(data), time.monotonic() - began)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._guard.patience(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._guard.patience(timeout))
        return _Stream(inner, self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Connects to the one pinned address, whatever host a request names."""

    def __init__(self, place: Place, guard: Guard) -> None:
        self._place, self._guard, self._inner = place, guard, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if (host.strip("[]"), port) != (self._place.host, self._place.port):
            raise httpcore.ConnectError("this way leads to one server only")
        # Each request gets a connection's worth of patience, not each of several addresses.
        made = self._inner.connect_tcp(
            self._place.address, port, self._guard.patience(timeout), local_address, socket_options
        )
        return _Stream(made, self._guard)


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._inner

    def close(self) -> None:
        self._inner.close()


class Way(httpx.BaseTransport):
    """An HTTP transport that leads to one place only. For one thread at a time; connections are kept between requests."""

    def __init__(self, place: Place, guard: Guard, trusted: ssl.SSLContext | None = None) -> None:
        context = (trusted or httpx.create_ssl_context(trust_env=False)) if place.scheme == "https" else None
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=4,
            max_keepalive_connections=2,
            keepalive_expiry=30.0,
            network_backend=_Backend(place, guard),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send and return the answer, whose body is read as it comes."""
        url = request.url
        wanted = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = self._pool.handle_request(wanted)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Translate the errors of the socket layer to those of the client above it."""
    try:
        yield
    except httpcore.TimeoutException as late:
        raise httpx.ReadTimeout(str(late)) from late
    except httpcore.ConnectError as lost:
        raise httpx.ConnectError(str(lost)) from lost
    except httpcore.NetworkError as lost:
        raise httpx.ReadError(str(lost)) from lost
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as nonsense:
        raise httpx.RemoteProtocolError(str(nonsense)) from nonsense


@contextmanager
def talking_to(name: str) -> Iterator[None]:
    """Translate what goes wrong with a remote server into our errors; `name` is how people know it."""
    try:
        yield
    except httpx.TimeoutException as late:
        raise TimedOut(
            say("{name} did not answer in time ({late}).", name=name, late=late or "silence"), peer=name
        ) from late
    except httpx.ConnectError as lost:
        raise Unavailable(say("{name} cannot be reached: {lost}", name=name, lost=_short(lost)), peer=name) from lost
    except httpx.RemoteProtocolError as nonsense:
        if "disconnected" in str(nonsense) or "closed" in str(nonsense):
            raise Unavailable(say("{name} broke the connection off.", name=name), peer=name) from nonsense
        raise Rejected(say("{name} does not speak HTTP as it should.", name=name), peer=name) from nonsense
    except httpx.DecodingError as nonsense:
        raise Rejected(say("{name} sent a body that cannot be decoded.", name=name), peer=name) from nonsense
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as lost:
        raise Unavailable(say("{name} cannot be reached: {lost}", name=name, lost=_short(lost)), peer=name) from lost


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


def _wrong(detail: str) -> Invalid:
    return Invalid(detail, errors=[{"field": "url", "detail": detail}])
