"""Traffic filters in typed form, and the judge: which rule decides about a packet.

Every adapter compiles from `Match`, so none reads the texts of MEC 011 in a way of its own. `decide` is the meaning of
a rule set in plain code: the oracle of the adapters' tests and the console's packet tester.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from core.errors import Invalid
from upf_adapter.contract import TrafficRule

_BOTH, _FOUR, _SIX = frozenset({4, 6}), frozenset({4}), frozenset({6})
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Names of the IANA protocol numbers that occur in descriptors.
PROTOCOLS = {
    "ICMP": 1, "IGMP": 2, "IPIP": 4, "TCP": 6, "UDP": 17, "DCCP": 33, "IPV6": 41, "GRE": 47, "ESP": 50, "AH": 51,
    "ICMPV6": 58, "IPV6-ICMP": 58, "OSPF": 89, "SCTP": 132, "UDPLITE": 136,
}  # fmt: skip
#: Names that mean any protocol; AppDs of EdgeGallery say ANY.
ANY_PROTOCOL = {"ANY", "ALL", "IP", "*"}
#: Those whose header starts with the two ports.
WITH_PORTS = frozenset({6, 17, 33, 132, 136})


class Span(msgspec.Struct, frozen=True, order=True, gc=False):
    """Addresses from `first` to `last`, both in; of one family (4 or 6)."""

    family: int
    first: int
    last: int

    def __contains__(self, address: IpAddress) -> bool:
        return address.version == self.family and self.first <= int(address) <= self.last

    def networks(self) -> list[Network]:
        """Return the span as the fewest prefixes."""
        kind: Any = ipaddress.IPv4Address if self.family == 4 else ipaddress.IPv6Address
        return list(ipaddress.summarize_address_range(kind(self.first), kind(self.last)))


class Ports(msgspec.Struct, frozen=True, order=True, gc=False):
    """Ports from `first` to `last`, both in."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


class Match(msgspec.Struct, frozen=True, gc=False):
    """One TrafficFilter (MEC 011 7.1.5.3): everything that is not empty must agree; within a tuple any may."""

    src: tuple[Span, ...] = ()
    dst: tuple[Span, ...] = ()
    src_ports: tuple[Ports, ...] = ()
    dst_ports: tuple[Ports, ...] = ()
    protocols: tuple[int, ...] = ()
    dscp: int | None = None  # IPv4 only, by the standard
    traffic_class: int | None = None  # IPv6 only: the whole octet
    qci: int | None = None
    tags: tuple[str, ...] = ()
    tunnel_src: tuple[Span, ...] = ()
    tunnel_dst: tuple[Span, ...] = ()
    tunnel_src_ports: tuple[Ports, ...] = ()
    tunnel_dst_ports: tuple[Ports, ...] = ()
    #: Members given that have no typed form here (uri, packetLabel), each with its values.
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def families(self) -> frozenset[int]:
        """The address families that a matching packet may be of; empty when the filter contradicts itself."""
        found = _BOTH
        for spans in (self.src, self.dst):
            if len(spans) == 1:
                found &= _SIX if spans[0].family == 6 else _FOUR
            elif spans:
                found &= {span.family for span in spans}
        if self.dscp is not None:
            found &= _FOUR
        if self.traffic_class is not None:
            found &= _SIX
        return found

    @property
    def implied_protocols(self) -> tuple[int, ...]:
        """The protocols that can match: a filter on ports is only about protocols that have ports."""
        if not (self.src_ports or self.dst_ports):
            return self.protocols
        return tuple(sorted(WITH_PORTS & set(self.protocols))) if self.protocols else (6, 17, 132)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the user plane, after the tunnel header was taken off."""

    src: IpAddress
    dst: IpAddress
    protocol: int = 17
    src_port: int = 0
    dst_port: int = 0
    dscp: int = 0
    ecn: int = 0


def matches_of(rule: TrafficRule) -> tuple[Match, ...]:
    """Return the filters of a rule in typed form; `Invalid` names the member that cannot be read."""
    return tuple(read(each, f"trafficFilter[{at}]") for at, each in enumerate(rule.filters))


def read(raw: Mapping[str, Any], place: str = "trafficFilter") -> Match:
    """Return one TrafficFilter in typed form; `Invalid` names the member that cannot be read.

    Empty texts, empty lists and `null` are as good as absent; one value may stand for a list of one.
    """

    found: dict[str, Any] = {}
    others = []
    # Only what is there is looked at: most filters have three of sixteen members.
    for name, value in raw.items():
        member = _MEMBERS.get(name)
        if value is None or member is None:
            continue
        field, kind = member
        if kind == "number":
            number = _number(value, _MOST[name], f"{place}.{name}")
            if number is not None:
                found[field] = number
            continue
        values = value if isinstance(value, list | tuple) else [value]
        texts = [text for each in values if each is not None and (text := str(each).strip())]
        if not texts:
            continue
        if kind == "span":
            plain = plain_span(texts[0]) if len(texts) == 1 else None
            found[field] = (plain,) if plain else _sorted({span(text, f"{place}.{name}") for text in texts})
        elif kind == "ports":
            found[field] = _all_ports(tuple(texts), f"{place}.{name}")
        elif kind == "protocol":
            found[field] = _all_protocols(tuple(texts), f"{place}.{name}")
        elif kind == "tags":
            # `tag` of V3.1.1 goes before `token` of V2.1.1.
            if name == "tag" or field not in found:
                found[field] = tuple(texts)
        else:
            others.append((name, tuple(sorted(set(texts)))))
    if others:
        found["others"] = tuple(sorted(others))
    return Match(**found)


# The same few ports and protocols are in thousands of rules.
@lru_cache(4096)
def _all_ports(texts: tuple[str, ...], place: str) -> tuple[Ports, ...]:
    return _sorted({ports(text, place) for text in texts})


@lru_cache(4096)
def _all_protocols(texts: tuple[str, ...], place: str) -> tuple[int, ...]:
    if any(text.upper() in ANY_PROTOCOL for text in texts):
        return ()
    return _sorted({protocol(text, place) for text in texts})


#: The members of a TrafficFilter: what they are called in a Match, and how they are read.
_MEMBERS = {
    "srcAddress": ("src", "span"),
    "dstAddress": ("dst", "span"),
    "srcPort": ("src_ports", "ports"),
    "dstPort": ("dst_ports", "ports"),
    "protocol": ("protocols", "protocol"),
    "dSCP": ("dscp", "number"),
    "tC": ("traffic_class", "number"),
    "qCI": ("qci", "number"),
    "tag": ("tags", "tags"),
    "token": ("tags", "tags"),
    "srcTunnelAddress": ("tunnel_src", "span"),
    "tgtTunnelAddress": ("tunnel_dst", "span"),
    "srcTunnelPort": ("tunnel_src_ports", "ports"),
    "dstTunnelPort": ("tunnel_dst_ports", "ports"),
    "uri": ("others", "other"),
    "packetLabel": ("others", "other"),
}
_MOST = {"dSCP": 63, "tC": 255, "qCI": 255}


def _number(value: Any, most: int, place: str) -> int | None:
    if value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,3}", str(value)) or int(value) > most:
        raise _wrong(place, f"{value!r} is no number from 0 to {most}")
    return int(value)


def span(text: str, place: str = "address") -> Span:
    """Read `address`, `address/prefix`, `address/mask` or `first-last` of one family."""
    plain = plain_span(text)
    if plain is not None:
        return plain
    first, dash, last = text.partition("-")
    try:
        if not dash:
            network = ipaddress.ip_network(text.strip(), strict=False)
            return Span(network.version, int(network.network_address), int(network.broadcast_address))
        low = ipaddress.ip_network(first.strip(), strict=False)
        high = ipaddress.ip_network(last.strip(), strict=False)
    except ValueError:
        raise _wrong(place, f"{text!r} is no address, prefix or range") from None
    found = Span(low.version, int(low.network_address), int(high.broadcast_address))
    if low.version != high.version or found.first > found.last:
        raise _wrong(place, f"{text!r} is no range: it must go upwards within one family")
    return found


def plain_span(text: str) -> Span | None:
    """Read `address` and `address/prefix`, the spellings of nearly all rules, ten times faster than `ipaddress` does."""
    if "/" not in text and ":" not in text:
        try:
            only = int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        except (OSError, ValueError):
            return None
        return Span(4, only, only)
    host, slash, prefix = text.partition("/")
    family, kind, bits = (6, socket.AF_INET6, 128) if ":" in host else (4, socket.AF_INET, 32)
    if slash and not (prefix.isascii() and prefix.isdecimal() and int(prefix) <= bits):
        return None
    try:
        address = int.from_bytes(socket.inet_pton(kind, host), "big")
    except (OSError, ValueError):
        return None
    rest = (1 << bits - int(prefix)) - 1 if slash else 0
    return Span(family, address & ~rest, address | rest)


def ports(text: str, place: str = "port") -> Ports:
    """Read `port` or `first-last`."""
    found = _ports(text)
    if found is None:
        raise _wrong(place, f"{text!r} is no port or range of ports")
    return found


@lru_cache(4096)
def _ports(text: str) -> Ports | None:
    found = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    return Ports(low, high) if low <= high <= 65535 else None


def protocol(text: str, place: str = "protocol") -> int:
    """Read a protocol by its IANA name or number."""
    known = PROTOCOLS.get(text.upper())
    if known is None and re.fullmatch(r"\d{1,3}", text) and int(text) <= 255:
        known = int(text)
    if known is None:
        raise _wrong(place, f"{text!r} is no protocol; use a number from 0 to 255 or one of {', '.join(PROTOCOLS)}")
    return known


def agrees(match: Match, packet: Packet) -> bool:
    """Return whether the filter is about this packet. Tunnel members, tags and qCI are not visible in it and ignored."""
    if packet.src.version not in match.families:
        return False
    if match.dscp is not None and packet.dscp != match.dscp:
        return False
    if match.traffic_class is not None and packet.dscp << 2 | packet.ecn != match.traffic_class:
        return False
    protocols = match.implied_protocols
    if (protocols or match.src_ports or match.dst_ports) and packet.protocol not in protocols:
        return False
    return (
        _any(match.src, packet.src)
        and _any(match.dst, packet.dst)
        and _any(match.src_ports, packet.src_port)
        and _any(match.dst_ports, packet.dst_port)
    )


def decide(rules: Iterable[TrafficRule], packet: Packet) -> TrafficRule | None:
    """Return the rule that decides about the packet; None when none matches and it goes its ordinary way."""
    for rule in sorted(rules, key=lambda rule: rule.order):
        if packet.src.version in families(rule) and any(agrees(match, packet) for match in matches_of(rule)):
            return rule
    return None


def families(rule: TrafficRule) -> frozenset[int]:
    """The address families of packets that the rule can be about: what is sent to an IPv4 address is IPv4."""
    found = _BOTH
    for target in rule.destinations:
        if target.get("interfaceType") == "IP":
            found &= _SIX if ":" in str(target.get("dstIpAddress")) else _FOUR
    return found


def _sorted(values: set[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values)) if len(values) > 1 else tuple(values)


def _any(spans: tuple[Any, ...], value: Any) -> bool:
    return not spans or any(value in each for each in spans)


def _wrong(place: str, detail: str) -> Invalid:
    return Invalid(f"{place}: {detail}", errors=[{"field": place, "detail": detail}])
