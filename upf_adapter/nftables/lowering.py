"""From a rule of MEC 011 to clauses: tests on one packet of one address family, and what is done when they hold. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from core.errors import Invalid
from upf_adapter.contract import Capabilities, Refused, TrafficRule
from upf_adapter.flows import IpAddress, Match, Packet, Ports, Span, families
from upf_adapter.limits import check

#: Whole address space of a family, as (last address, bits).
SPACE = {4: (1 << 32) - 1, 6: (1 << 128) - 1}
FILTERS = frozenset({"srcAddress", "dstAddress", "srcPort", "dstPort", "protocol", "dSCP", "tC"})
MOST_RULES = 20_000
#: Bounds of one rule, so that one app cannot fill the kernel: values in one member of a filter, and filters.
MOST_VALUES, MOST_FILTERS = 256, 64


class Exit(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where packets are sent: the next hop, on a network of the edge node."""

    address: str

    @property
    def family(self) -> int:
        """The address family of the packets that can go there."""
        return 6 if ":" in self.address else 4


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is done with a packet: dropped, or sent on its way (`onward`, None for the ordinary one) after the copies."""

    drop: bool = False
    onward: Exit | None = None
    copy: Exit | None = None

    @property
    def exits(self) -> tuple[Exit, ...]:
        if self.copy is None:
            return () if self.onward is None else (self.onward,)
        return (self.copy,) if self.onward is None else (self.onward, self.copy)


class Test(msgspec.Struct, frozen=True, gc=False):
    """What a packet must be beside its destination address; everything that is not empty must agree."""

    src: tuple[Span, ...] = ()
    protocols: tuple[int, ...] = ()
    src_ports: tuple[Ports, ...] = ()
    dst_ports: tuple[Ports, ...] = ()
    dscp: int | None = None
    traffic_class: int | None = None

    def holds(self, packet: Packet) -> bool:
        """Return whether the packet passes; for tests and the packet tester."""
        if self.dscp is not None and packet.dscp != self.dscp:
            return False
        if self.traffic_class is not None and packet.dscp << 2 | packet.ecn != self.traffic_class:
            return False
        wishes: tuple[tuple[Iterable[Any], Any], ...] = (
            (self.src, packet.src),
            (self.src_ports, packet.src_port),
            (self.dst_ports, packet.dst_port),
        )
        if self.protocols and packet.protocol not in self.protocols:
            return False
        return all(not spans or any(value in each for each in spans) for spans, value in wishes)


class Clause(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One filter of one rule, for one family. `dst` empty: any destination."""

    rule: str
    order: tuple[int, str, int]
    family: int
    dst: tuple[Span, ...]
    test: Test
    verdict: Verdict


def lower(rule: TrafficRule, can: Capabilities, upf: str) -> tuple[Clause, ...]:
    """Return what the rule means for the kernel; `Invalid` or `Refused` when it cannot be."""
    matches = check(rule, can, upf)
    if len(matches) > MOST_FILTERS:
        raise Refused(f"the user plane {upf} takes at most {MOST_FILTERS} filters in one rule, not {len(matches)}")
    verdict = _verdict(rule.action, tuple(str(target.get("dstIpAddress")) for target in rule.destinations))
    allowed = families(rule)
    if not allowed:
        raise Refused(f"the user plane {upf} cannot send one packet to an IPv4 and an IPv6 destination")
    clauses = []
    for at, match in enumerate(matches):
        for family in sorted(match.families & allowed):
            clauses.append(_clause(rule, at, match, family, verdict, upf))
    if not clauses:
        raise Invalid("no packet can match: filter and dstInterface are of different address families")
    return tuple(clauses)


def _clause(rule: TrafficRule, at: int, match: Match, family: int, verdict: Verdict, upf: str) -> Clause:
    lists = (match.src, match.dst, match.src_ports, match.dst_ports, match.protocols)
    if max(map(len, lists)) > MOST_VALUES:
        raise Refused(f"trafficFilter[{at}]: the user plane {upf} takes at most {MOST_VALUES} values in one member")
    test = Test(
        src=_merged(match.src, family),
        protocols=match.implied_protocols,
        src_ports=_merged_ports(match.src_ports),
        dst_ports=_merged_ports(match.dst_ports),
        dscp=match.dscp,
        traffic_class=match.traffic_class,
    )
    return Clause(rule.id, (rule.priority, rule.id, at), family, _merged(match.dst, family), test, verdict)


def _merged(spans: tuple[Span, ...], family: int) -> tuple[Span, ...]:
    """Return the spans of one family without overlap, none when they are the whole of it."""
    if not spans:
        return ()
    if len(spans) == 1 and spans[0].family == family and spans[0].first:
        return spans
    done: list[Span] = []
    for each in sorted(span for span in spans if span.family == family):
        if done and each.first <= done[-1].last + 1:
            done[-1] = Span(family, done[-1].first, max(done[-1].last, each.last))
        else:
            done.append(each)
    return () if done == [Span(family, 0, SPACE[family])] else tuple(done)


def _merged_ports(ranges: tuple[Ports, ...]) -> tuple[Ports, ...]:
    """Return the ranges without overlap; the whole range stays, because it still asks for a protocol with ports."""
    if len(ranges) < 2:
        return ranges
    done: list[Ports] = []
    for each in sorted(ranges):
        if done and each.first <= done[-1].last + 1:
            done[-1] = Ports(done[-1].first, max(done[-1].last, each.last))
        else:
            done.append(each)
    return tuple(done)


@lru_cache(4096)
def _verdict(action: str, addresses: tuple[str, ...]) -> Verdict:
    if action == "DROP":
        return Verdict(drop=True)
    if action == "PASSTHROUGH":
        return Verdict()
    exits = [Exit(str(_address(each, f"dstInterface[{at}].dstIpAddress"))) for at, each in enumerate(addresses)]
    if action.startswith("FORWARD"):
        return Verdict(onward=exits[0])
    # MEC 011 7.1.5.2: two destinations; the copy goes to the first, the packet itself on to the second.
    return Verdict(copy=exits[0], onward=exits[1] if len(exits) > 1 else None)


def _address(value: str, place: str) -> IpAddress:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise Invalid(f"{place}: {value!r} is no address", errors=[{"field": place, "detail": "no address"}]) from None
    usable = not (address.is_multicast or address.is_unspecified or address.is_loopback)
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.is_link_local):
        usable = False
    if not usable:
        raise Invalid(f"{place}: {value} is no address that packets can be sent to")
    return address
