"""Sends one webhook, and nothing more than that: to an address that was checked, without redirects, reading one line.

The name is resolved once and the connection goes to that very address, so a name that changes its mind (DNS rebinding)
gains nothing. Addresses that are not public are refused unless the operator allows their network. Of the answer only the
status is read, so a webhook is no way to look into anything.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from core import addresses
from core.addresses import Address, Network
from core.errors import Invalid, Rejected, TimedOut, Unavailable
from core.words import say

#: Seconds for everything together: connecting, TLS, sending, the status line.
PATIENCE = 10.0
LONGEST_STATUS = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be sent to."""

    url: SplitResult
    host: str
    port: int
    address: Address


def parse(url: str, allowed: Sequence[Network] = ()) -> SplitResult:
    """Check the form of an address; `Invalid` says what is wrong with it. Plain http is for allowed networks only."""
    problem = ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(say("is not a web address")) from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        problem = say("must begin with https:// and name a host")
    elif parts.username or parts.password or parts.fragment:
        problem = say("must not hold a user name, password or fragment")
    elif not url.isascii() or any(c <= " " or c == "\x7f" or c == "\\" for c in url):
        problem = say("must hold no blanks, backslashes or letters beyond ASCII; write them percent-encoded")
    elif port == 0:
        problem = say("has an impossible port")
    elif parts.scheme == "http" and not allowed:
        problem = say("must begin with https://")
    if problem:
        raise _refused(problem)
    return parts


def forbidden(address: Address, allowed: Sequence[Network]) -> bool:
    """Return whether nothing is sent to this address: it is not public, and in no network of the operator's list."""
    return not addresses.permitted(address, "https", allowed)


def resolve(url: str, allowed: Sequence[Network] = (), *, lookup: Any = socket.getaddrinfo) -> Target:
    """Resolve a name once; `Invalid` when any of its addresses is forbidden, `Unavailable` when there is none now."""
    parts = parse(url, allowed)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = lookup(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(say("The name {host} cannot be resolved", host=host[:100])) from None
    told = [ipaddress.ip_address(item[4][0].partition("%")[0]) for item in found]
    if not told:
        raise Unavailable(say("The name {host} has no address", host=host[:100]))
    for address in told:
        if forbidden(address, allowed):
            raise _refused(
                say("leads to an address that is not public; the operator allows networks by WEBHOOK_NETWORKS")
            )
        if not addresses.permitted(address, parts.scheme, allowed):
            raise _refused(say("must begin with https:// outside of the operator's networks"))
    return Target(parts, host, port, told[0])


def post(
    target: Target,
    body: bytes,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext | None = None,
    patience: float = PATIENCE,
) -> int:
    """Send a POST and return the status of the answer; `Unavailable`, `TimedOut` or `Rejected` when there is none."""
    ends = time.monotonic() + patience
    path = (target.url.path or "/") + (f"?{target.url.query}" if target.url.query else "")
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}:{target.port}" if target.url.port else f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    try:
        with (
            socket.create_connection((str(target.address), target.port), timeout=patience) as plain,
            _secured(plain, target, ends, context) as link,
        ):
            link.settimeout(_left(ends))
            link.sendall("\r\n".join(lines).encode("ascii") + body)
            return _status(link, ends)
    except TimeoutError:
        raise TimedOut(say("No answer within {patience} seconds", patience=format(patience, ".0f"))) from None
    except ssl.SSLError as problem:
        raise Rejected(say("TLS failed: {reason}", reason=(problem.reason or "unknown reason")[:100])) from None
    except OSError as problem:
        raise Unavailable(
            say("Cannot be reached: {strerror}", strerror=problem.strerror or "the connection broke")
        ) from None


def _secured(plain: socket.socket, target: Target, ends: float, context: ssl.SSLContext | None) -> socket.socket:
    if target.url.scheme == "http":
        return plain
    plain.settimeout(_left(ends))
    # The certificate must be for the name, although the connection goes to the address.
    return (context or ssl.create_default_context()).wrap_socket(plain, server_hostname=target.host)


def _status(link: socket.socket, ends: float) -> int:
    seen = b""
    while b"\n" not in seen:
        if len(seen) > LONGEST_STATUS:
            raise Rejected(say("The answer is no HTTP"))
        link.settimeout(_left(ends))
        piece = link.recv(LONGEST_STATUS)
        if not piece:
            raise Rejected(say("The connection was closed without an answer"))
        seen += piece
    words = seen.split(b"\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise Rejected(say("The answer is no HTTP"))
    return int(words[1])


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _refused(problem: str) -> Invalid:
    return Invalid(say("The address {problem}.", problem=problem), errors=[{"field": "url", "detail": problem}])
