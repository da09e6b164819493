"""Who gets which answers: DNS scopes are sets of source prefixes, ordered by how closely they know the client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: The order of the look-up; after these comes what is for everybody.
KINDS = ("ue", "application", "zone")


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope as the responder wants it."""

    name: str
    kind: str
    networks: tuple[Network, ...]


class Order:
    """Finds the scopes of an address: a few dictionary look-ups, however many scopes there are."""

    def __init__(self, scopes: Iterable[Scope] = ()) -> None:
        found: dict[tuple[str, int, int], dict[int, str]] = {}
        self.kinds: dict[str, str] = {}
        for scope in scopes:
            self.kinds[scope.name] = scope.kind
            for net in scope.networks:
                found.setdefault((scope.kind, net.version, net.prefixlen), {})[int(net.network_address)] = scope.name
        self._levels: dict[int, list[tuple[int, dict[int, str]]]] = {
            version: [
                (length, found[kind, version, length])
                for kind in KINDS
                for length in range(bits, -1, -1)
                if (kind, version, length) in found
            ]
            for version, bits in ((4, 32), (6, 128))
        }

    def of(self, source: Address) -> tuple[str, ...]:
        """Return the names of the scopes of an address: by kind, and the longest prefix of a kind first."""
        number, bits = int(source), source.max_prefixlen
        names = (
            networks.get(number >> (bits - length) << (bits - length))
            for length, networks in self._levels[source.version]
        )
        return tuple(dict.fromkeys(name for name in names if name is not None))


def read(source: str) -> Address:
    """Return a source address; an IPv4 client that comes over IPv6 is an IPv4 client."""
    address = ipaddress.ip_address(source.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return prefixes that were checked when they came in."""
    return tuple(ipaddress.ip_network(text) for text in texts)
