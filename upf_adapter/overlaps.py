"""What rules do to each other: one that never decides because others come first, and two that only their ids part."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from upf_adapter.contract import TrafficRule
from upf_adapter.flows import WITH_PORTS, IpAddress, Match, Packet, families, matches_of

_ALL_PORTS = ((0, 65535),)
_ALL = {4: ((0, 2**32 - 1),), 6: ((0, 2**128 - 1),)}
_OF_NO_PACKET = ("qci", "tags", "tunnel_src", "tunnel_dst", "tunnel_src_ports", "tunnel_dst_ports")

Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is odd about `rule`. `others` are the rules that make it so, in the order in which they decide.

    `kind` is `never` (others decide about all its packets, to another end), `idle` (the same, to the same end),
    `contradiction` (no packet can match) or `tie` (equal priority, another end: the lower id decides). `example` is a
    packet of a tie.
    """

    kind: str
    rule: TrafficRule
    others: tuple[TrafficRule, ...] = ()
    example: Packet | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    rule: TrafficRule
    families: frozenset[int]
    matches: tuple[Match, ...]

    @property
    def end(self) -> Any:
        """What becomes of the packets, comparable."""
        return self.rule.action, tuple(sorted(repr(sorted(each.items())) for each in self.rule.destinations))


def findings(rules: Iterable[TrafficRule]) -> list[Finding]:
    """Return what is odd about a set of rules, by the order in which they decide; compares every two of them.

    A filter counts as taken when one filter of an earlier rule covers it; several that cover it only together are not
    noticed. What no packet shows (tunnels, tags, QCI) is never taken for covered by another value.
    """
    found: list[Finding] = []
    earlier: list[_Read] = []
    for rule in sorted(rules, key=lambda each: each.order):
        me = _Read(rule, families(rule), matches_of(rule))
        able = [match for match in me.matches if possible(match, me.families)]
        if not able:
            found.append(Finding("contradiction", rule))
            continue
        takers = [_taker(match, me, earlier) for match in able]
        if all(takers):
            others = tuple(
                sorted({taker.rule.id: taker.rule for taker in takers if taker}.values(), key=lambda r: r.order)
            )
            same = all(taker.end == me.end for taker in takers if taker)
            found.append(Finding("idle" if same else "never", rule, others))
        else:
            found += _ties(me, earlier)
        earlier.append(me)
    return found


def _taker(match: Match, me: _Read, earlier: Sequence[_Read]) -> _Read | None:
    return next(
        (one for one in earlier if any(covers(each, match, one.families, me.families) for each in one.matches)), None
    )


def _ties(me: _Read, earlier: Sequence[_Read]) -> list[Finding]:
    found = []
    for one in earlier:
        if one.rule.priority != me.rule.priority or one.end == me.end:
            continue
        both = one.families & me.families
        example = next(
            (packet for a in one.matches for b in me.matches if (packet := common(a, b, both)) is not None), None
        )
        if example is not None:
            found.append(Finding("tie", me.rule, (one.rule,), example))
    return found


def possible(match: Match, of: frozenset[int] = frozenset({4, 6})) -> bool:
    """Return whether any packet of these address families can match."""
    return common(match, match, of) is not None


def covers(
    a: Match, b: Match, of_a: frozenset[int] = frozenset({4, 6}), of_b: frozenset[int] = frozenset({4, 6})
) -> bool:
    """Return whether every packet that `b` matches is matched by `a` as well."""
    if any(getattr(a, name) and getattr(a, name) != getattr(b, name) for name in _OF_NO_PACKET if name != "qci"):
        return False
    if a.qci is not None and a.qci != b.qci:
        return False
    told = dict(b.others)
    # Any value of a list may agree, so fewer match less; none at all matches everything.
    if any(not told.get(name) or not set(told[name]) <= set(values) for name, values in a.others):
        return False
    seen = b.families & of_b
    if not seen <= a.families & of_a:
        return False
    if (a.dscp is not None and a.dscp != b.dscp) or (
        a.traffic_class is not None and a.traffic_class != b.traffic_class
    ):
        return False
    if a.implied_protocols or a.src_ports or a.dst_ports:
        asked = b.implied_protocols
        if not asked or not set(asked) <= set(a.implied_protocols):
            return False
    return (
        all(
            _inside(_of(mine, family) or _whole(mine, family), _of(theirs, family) or _whole(theirs, family))
            for family in seen
            for mine, theirs in ((a.src, b.src), (a.dst, b.dst))
        )
        and _inside(_ports(a.src_ports), _ports(b.src_ports))
        and _inside(_ports(a.dst_ports), _ports(b.dst_ports))
    )


def common(a: Match, b: Match, of: frozenset[int] = frozenset({4, 6})) -> Packet | None:
    """Return a packet of one of these families that both match; None when there is none."""
    protocol = _common_protocol(a, b)
    if protocol is None:
        return None
    src_ports = _both(_ports(a.src_ports), _ports(b.src_ports))
    dst_ports = _both(_ports(a.dst_ports), _ports(b.dst_ports))
    if not src_ports or not dst_ports:
        return None
    ported = protocol in WITH_PORTS
    for family in sorted(a.families & b.families & of):
        octet = _octet(a, b, family)
        src = _both(_of(a.src, family) or _whole(a.src, family), _of(b.src, family) or _whole(b.src, family))
        dst = _both(_of(a.dst, family) or _whole(a.dst, family), _of(b.dst, family) or _whole(b.dst, family))
        if octet is not None and src and dst:
            return Packet(
                _address(family, src[0][0]),
                _address(family, dst[0][0]),
                protocol,
                src_ports[0][0] if ported else 0,
                dst_ports[0][0] if ported else 0,
                octet >> 2,
                octet & 3,
            )
    return None


def _common_protocol(a: Match, b: Match) -> int | None:
    limits = [
        set(match.implied_protocols)
        for match in (a, b)
        if match.implied_protocols or match.src_ports or match.dst_ports
    ]
    if not limits:
        return 17
    both = set.intersection(*limits)
    return (17 if 17 in both else min(both)) if both else None


def _octet(a: Match, b: Match, family: int) -> int | None:
    """Return a traffic class octet that suits both; None when none does."""
    if family == 4:
        asked = {match.dscp << 2 for match in (a, b) if match.dscp is not None}
    else:
        asked = {match.traffic_class for match in (a, b) if match.traffic_class is not None}
    return None if len(asked) > 1 else asked.pop() if asked else 0


def _of(spans: tuple[Any, ...], family: int) -> Intervals:
    return tuple((each.first, each.last) for each in spans if each.family == family)


def _whole(spans: tuple[Any, ...], family: int) -> Intervals:
    # Addresses of the other family only: no packet of this one.
    return () if spans else _ALL[family]


def _ports(spans: tuple[Any, ...]) -> Intervals:
    return tuple((each.first, each.last) for each in spans) or _ALL_PORTS


def _both(a: Intervals, b: Intervals) -> Intervals:
    """Return what lies in both, lowest first."""
    return tuple(sorted((max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b if max(x[0], y[0]) <= min(x[1], y[1])))


def _inside(a: Intervals, b: Intervals) -> bool:
    """Return whether all of `b` lies in `a`."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(a):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return all(any(first <= low and high <= last for first, last in merged) for low, high in b)


def _address(family: int, number: int) -> IpAddress:
    return ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number)
