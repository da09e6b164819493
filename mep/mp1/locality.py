"""Who is near: `isLocal`, `scopeOfLocality` and `consumedLocalOnly` for whoever asks (MEC 011 8.1.2.2).

Every service of this catalogue belongs to an app of this host. Askers are on this host too, unless their address
is in a network that `MEP_ELSEWHERE` names. So what an answer depends on is small: the set of scopes that hold
both this host and the asker. A service is local to the asker when its scope is in that set.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from mep.mp1.wire import SCOPES

SYSTEM, HOST = "MEC_SYSTEM", "MEC_HOST"
#: The scopes that hold both this host and an asker.
Near = frozenset[str]
EVERYWHERE: Near = frozenset(SCOPES)
#: The name of each scope that a place is in, as far as it is known.
Place = tuple[tuple[str, str], ...]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Regions:
    """Networks that are elsewhere, each with its place; the smallest network that holds an address counts."""

    def __init__(self, regions: Iterable[tuple[Network, Place]] = ()) -> None:
        self._regions = sorted(regions, key=lambda region: -region[0].prefixlen)
        self.place = lru_cache(maxsize=4096)(self._find)

    def __bool__(self) -> bool:
        return bool(self._regions)

    def _find(self, address: str) -> Place | None:
        """Return the place of an address; None when it is on this host."""
        try:
            asker: Any = ipaddress.ip_address(address)
        except ValueError:  # a UNIX socket: nobody is closer
            return None
        asker = getattr(asker, "ipv4_mapped", None) or asker
        return next((place for network, place in self._regions if asker in network), None)


def near(address: str) -> Near:
    """Return the scopes that this host shares with an asker at `address`."""
    regions: Regions = settings.ELSEWHERE
    if not regions:
        return EVERYWHERE
    return shared(settings.LOCALITY, regions.place(address))


def listening(callback: str) -> Near:
    """Return the scopes that this host shares with who listens at a callback.

    Only an address tells; a name, or a WebSocket that the subscriber opened, counts as near.
    """
    if not settings.ELSEWHERE:
        return EVERYWHERE
    return near(urlsplit(callback).hostname or "")


@lru_cache(maxsize=1024)
def shared(here: Place, there: Place | None) -> Near:
    """Return the scopes that hold both places; None is this host itself.

    Both are in one scope when they call it by the same name. Where one of them does not say, only being on the
    same host tells: nothing is local because nobody said otherwise. The system holds everybody who has a token.
    """
    if there is None:
        return EVERYWHERE
    ours, theirs = dict(here), dict(there)
    same_host = HOST in ours and ours[HOST] == theirs.get(HOST)
    return frozenset(
        scope
        for scope in SCOPES
        if scope == SYSTEM or (ours[scope] == theirs[scope] if scope in ours and scope in theirs else same_host)
    )


def offered(scope: str, consumed_local_only: bool, to: Near) -> bool:
    """Return whether a service may be offered to an asker: one for local consumers only to local ones."""
    return scope in to or not consumed_local_only


def place(text: str) -> Place:
    """Read `ZONE=north,ZONE_GROUP=country`: the names of the scopes that a place is in."""
    found: dict[str, str] = {}
    for word in text.replace(",", " ").split():
        scope, _, name = word.partition("=")
        scope = scope.upper()
        if scope not in SCOPES or scope == SYSTEM or not name:
            raise ValueError(
                f"{word!r} is not one of {', '.join(each for each in SCOPES if each != SYSTEM)}, = and a name"
            )
        if scope in found:
            raise ValueError(f"{scope} is named twice")
        found[scope] = name
    return tuple(sorted(found.items()))


def regions(text: str) -> Regions:
    """Read `10.9.0.0/16 ZONE=north; 10.10.0.0/16`: networks that are elsewhere, and in which scopes."""
    found = []
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        network, _, rest = entry.partition(" ")
        found.append((ipaddress.ip_network(network), place(rest)))
    return Regions(found)
