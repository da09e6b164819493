"""The way to an identity provider: only to allowed addresses, pinned, without redirects, bounded in time and bytes.

The address was typed by an administrator, but what a discovery document names beside it was not. Each request resolves
once and connects to that very address, so a name that changes its mind (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings

from core import addresses
from core.addresses import Address
from core.errors import Invalid, Rejected, TimedOut, Unavailable
from core.words import say

#: Seconds for one request as a whole, and bytes of its answer.
PATIENCE = 10.0
MOST = 512 * 1024


def check_url(url: str, field: str = "issuer") -> None:
    """Pass for an address that may be asked: https, or http when networks inside are allowed; else `Invalid`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid(say("That is no web address."), field=field) from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or len(url) > 2000:
        raise Invalid(say("Give an address that begins with https:// and names a host."), field=field)
    if (
        parts.username
        or parts.password
        or parts.fragment
        or not url.isascii()
        or any(c <= " " or c in "\\\x7f" for c in url)
    ):
        raise Invalid(
            say("The address must not hold a user name, a fragment, blanks or letters beyond ASCII."), field=field
        )
    if parts.scheme == "http" and not settings.SIGN_IN_NETWORKS:
        raise Invalid(
            say("Identity providers are reached by https; http is for networks of SIGN_IN_NETWORKS."), field=field
        )


def permitted(address: Address, scheme: str) -> bool:
    """Return whether we connect to that address in that scheme."""
    return addresses.permitted(address, scheme, addresses.networks(settings.SIGN_IN_NETWORKS))


class Fetcher:
    """Asks an identity provider. `transport` is for tests."""

    def __init__(self, name: str, transport: httpx.BaseTransport | None = None) -> None:
        self.name, self.transport = name, transport

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at `url`."""
        return self._ask("GET", url, headers or {}, None)

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Send a form and return the JSON object of the answer; `Rejected` tells the provider's own error code."""
        return self._ask("POST", url, headers or {}, form)

    def _ask(self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> dict[str, Any]:
        check_url(url, field="url")
        ends = time.monotonic() + PATIENCE
        asked = {"User-Agent": "breakwater", "Accept": "application/json", "Accept-Encoding": "identity", **headers}
        try:
            with (
                httpx.Client(
                    transport=self.transport or _Way(url, ends),
                    follow_redirects=False,
                    trust_env=False,
                    timeout=PATIENCE,
                ) as client,
                client.stream(method, url, headers=asked, data=form) as response,
            ):
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    # A few packed bytes can be many: what was not asked for is not unpacked.
                    raise Rejected(say("{name} sends a packed answer that was not asked for.", name=self.name))
                body = b""
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MOST:
                        raise Rejected(
                            say("{name} sends more than the {most} bytes that are taken.", name=self.name, most=MOST)
                        )
                    if time.monotonic() > ends:
                        raise TimedOut(say("{name} did not answer in time.", name=self.name))
                status = response.status_code
        except (httpx.TimeoutException, httpcore.TimeoutException):
            raise TimedOut(say("{name} did not answer in time.", name=self.name)) from None
        except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, OSError):
            raise Unavailable(say("{name} cannot be reached at the moment.", name=self.name)) from None
        return self._read(status, body)

    def _read(self, status: int, body: bytes) -> dict[str, Any]:
        if status >= 500 or status == 429:
            raise Unavailable(say("{name} cannot answer now ({status}).", name=self.name, status=status))
        if 300 <= status < 400:
            raise Rejected(say("{name} wants to send us elsewhere; redirects are not followed.", name=self.name))
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if status >= 400:
            code = found.get("error") if isinstance(found, dict) else ""
            # A stranger's words: a short code, or nothing.
            code = code[:60] if isinstance(code, str) and code.isascii() and code.isprintable() else ""
            raise Rejected(
                say("{name} refused ({status}{code}).", name=self.name, status=status, code=" " + code if code else "")
            )
        if not isinstance(found, dict):
            raise Rejected(say("{name} answers with something that is no JSON object.", name=self.name))
        return found


class _Backend(httpcore.NetworkBackend):
    """Connects to an address that was resolved once and is permitted; reads end at the deadline."""

    def __init__(self, scheme: str, ends: float) -> None:
        self._scheme, self._ends, self._inner = scheme, ends, httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the name cannot be resolved") from None
        told = [str(each[4][0]).partition("%")[0] for each in found]
        # One forbidden answer forbids all: a name that points outside and inside is an attack or a mistake.
        for each in told:
            if not permitted(ipaddress.ip_address(each), self._scheme):
                raise Rejected(
                    say(
                        "An address of the identity provider is not public; networks inside are allowed by "
                        "SIGN_IN_NETWORKS."
                    )
                )
        made = self._inner.connect_tcp(told[0], port, self._left(), local_address, socket_options)
        return _Stream(made, self._left)

    def _left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("it took too long as a whole")
        return left


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left: Callable[[], float]) -> None:
        self._inner, self._left = inner, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._left()), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Way(httpx.BaseTransport):
    """An HTTP transport over guarded connections, for one request."""

    def __init__(self, url: str, ends: float) -> None:
        scheme = urlsplit(url).scheme
        context = None
        if scheme == "https":
            context = ssl.create_default_context()
            if settings.SIGN_IN_CA:
                context.load_verify_locations(cafile=settings.SIGN_IN_CA)
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=_Backend(scheme, ends))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and read the whole answer as it comes."""
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Any:
        yield from self._inner

    def close(self) -> None:
        self._inner.close()
