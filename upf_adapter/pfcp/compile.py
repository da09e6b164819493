"""From traffic rules to PDRs, FARs, QERs and URRs: pure, for one session. `plan` makes messages of it.

A PDR looks for packets of one direction, so each filter becomes one or two legs:

* filterType FLOW is about a flow (MEC 011 7.1.5.2): the filter describes its packets in the direction that it is
  written in, and the packets back belong to it. Both legs carry the same SDF text, as TS 29.244 wants.
* filterType PACKET is about single packets, of either direction, exactly as they are described.

What acts on the described packets is the rule's action. DROP and DUPLICATE act on the packets back as well; with FORWARD and
PASSTHROUGH these go their ordinary way. A FORWARD of type PACKET takes packets to UEs only when it names UEs as
their destination: "port 80" alone would send what the application answers back to it.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import Invalid
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.flows import Match, Ports, Span, families, matches_of
from upf_adapter.pfcp.options import Options, Reading, Site
from upf_adapter.pfcp.wire import IpAddress, Sdf, Tunnel

#: The element of a set that belongs to a rule: the rule's id ("" for what every session has) and a number within it.
Key = tuple[str, int]
UPLINK, DOWNLINK = ("", 1), ("", 2)
#: Precedence of the PDRs of a session that catch what no rule is about; the lower value wins.
LAST = 1 << 24
#: SDF filters that one filter of a rule may become in one direction.
MOST_COMBINATIONS = 64
#: Compiled rules that are remembered; more than that and they are compiled again.
MOST_KNOWN = 20_000


class Action:
    """Bits of Apply Action (8.2.26)."""

    DROP, FORWARD, DUPLICATE = 0x01, 0x02, 0x10


@dataclass(frozen=True, slots=True)
class Pdr:
    """Which packets, and what is done with them. Without filters: all packets of the direction."""

    uplink: bool
    precedence: int
    far: Key
    filters: tuple[Sdf, ...] = ()
    qfi: int | None = None
    qer: Key | None = None
    urr: Key | None = None
    #: Only packets that come from the ordinary side of N6: what an application sends back must not turn around.
    from_core: bool = False


@dataclass(frozen=True, slots=True)
class Far:
    """Where packets go. `instance` is a Network Instance, `outer` the tunnel that they leave in, `copy` that of a copy."""

    action: int
    to_access: bool = False
    instance: str = ""
    outer: Tunnel | None = None
    copy: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """Everything that a session holds."""

    pdrs: dict[Key, Pdr] = field(default_factory=dict)
    fars: dict[Key, Far] = field(default_factory=dict)
    #: A QER here is a closed gate.
    qers: frozenset[Key] = frozenset()
    urrs: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Leg:
    """Packets of one direction that a filter is about; `acts` when the rule's action is for them."""

    uplink: bool
    acts: bool
    filters: tuple[Sdf, ...]
    qfi: int | None = None
    from_core: bool = False


def base(site: Site, options: Options) -> Image:
    """Return what a session holds without any rule: packets go from the radio side to N6, and back."""
    ues = tuple(Sdf(f"permit out ip from any to {_text(network)}") for network in site.ues)
    return Image(
        pdrs={
            UPLINK: Pdr(True, LAST, UPLINK),
            DOWNLINK: Pdr(False, LAST, DOWNLINK, () if site.single else ues),
        },
        fars={
            UPLINK: Far(Action.FORWARD, instance=options.core_instance),
            DOWNLINK: Far(Action.FORWARD, to_access=True, instance=options.access_instance, outer=site.radio),
        },
    )


class Compiler:
    """Compiles for one session, and remembers what it made of each rule: a change of one costs little among thousands."""

    def __init__(self, site: Site, options: Options, reading: Reading) -> None:
        self._site, self._options, self._reading = site, options, reading
        self._known: dict[str, tuple[TrafficRule, Compiled]] = {}

    def rule(self, rule: TrafficRule) -> Compiled:
        """Return what belongs to one rule, at precedence 0; `Refused` when it cannot be said in PFCP."""
        known = self._known.get(rule.id)
        if known is None or known[0] != rule:
            if len(self._known) >= MOST_KNOWN:
                # Rules that were only checked stay here until the next `rules`, which may never come.
                self._known.clear()
            known = rule, compile_rule(rule, self._site, self._options, self._reading)
            self._known[rule.id] = known
        return known[1]

    def rules(self, rules: Iterable[TrafficRule]) -> dict[str, Image]:
        """Return what a session must hold so that these rules are in force, by rule ("" for what every session has)."""
        whole = {"": base(self._site, self._options)}
        places = [0] * 256
        known: dict[str, tuple[TrafficRule, Compiled]] = {}
        for rule in sorted(rules, key=lambda rule: rule.order):
            # By its place among the rules of its priority: the lower id decides, and a new rule moves only those behind it.
            precedence = rule.priority << 16 | places[rule.priority]
            places[rule.priority] += 1
            made = self.rule(rule)
            known[rule.id] = rule, made
            if made.pdrs:
                pdrs = {key: replace(pdr, precedence=precedence) for key, pdr in made.pdrs.items()}
                urrs = frozenset(pdr.urr for pdr in pdrs.values() if pdr.urr)
                whole[rule.id] = Image(pdrs, made.fars, made.closed, urrs)
        self._known = known
        return whole


@dataclass(frozen=True, slots=True)
class Compiled:
    """What belongs to one rule; nothing when no packet of the session's UEs can match."""

    pdrs: dict[Key, Pdr]
    fars: dict[Key, Far]
    closed: frozenset[Key]


def compile_rule(rule: TrafficRule, site: Site, options: Options, reading: Reading) -> Compiled:
    """Return the PDRs, FARs and closed gates of one rule; `Refused` when it cannot be said in PFCP."""
    pdrs: dict[Key, Pdr] = {}
    fars: dict[Key, Far] = {}
    closed: set[Key] = set()
    gate = rule.action == "DROP" and options.drop == "gate"
    numbers = itertools.count(1)
    grouped: dict[tuple[bool, bool, int | None, bool], dict[Sdf, None]] = {}
    for at, match in enumerate(matches_of(rule)):
        for leg in legs(rule, match, site, reading, f"trafficFilter[{at}]"):
            key = (leg.uplink, leg.acts, leg.qfi, leg.from_core)
            grouped.setdefault(key, {}).update(dict.fromkeys(leg.filters))
    for (uplink, acts, qfi, from_core), filters in grouped.items():
        ordinary = UPLINK if uplink else DOWNLINK
        far = ordinary
        if acts and not gate and rule.action != "PASSTHROUGH":
            far = (rule.id, 1 if uplink else 2)
            fars[far] = far_of(rule, uplink, site, options, reading)
        qer = (rule.id, 1) if acts and gate else None
        closed |= {qer} if qer else set()
        for chunk in _chunks(list(filters), options.filters_per_pdr):
            pdrs[rule.id, next(numbers)] = Pdr(
                uplink,
                0,
                far,
                tuple(chunk),
                qfi,
                qer,
                (rule.id, 1) if options.counters else None,
                from_core and bool(options.core_instance),
            )
    return Compiled(pdrs, fars, frozenset(closed))


def far_of(rule: TrafficRule, uplink: bool, site: Site, options: Options, reading: Reading) -> Far:
    """Return where the packets go that the rule acts on; `Refused` when PFCP has no way of saying it."""
    if rule.action == "DROP":
        return Far(Action.DROP)
    if rule.action == "FORWARD_DECAPSULATED":
        return Far(Action.FORWARD, instance=instance_of(rule.destinations[0], reading))
    if rule.action == "FORWARD_ENCAPSULATED":
        return Far(Action.FORWARD, instance=options.core_instance, outer=tunnel_of(rule.destinations[0], reading))
    # DUPLICATE_ENCAPSULATED: the last destination gets the copy, the one before it, when there is one, the packet itself.
    copy = tunnel_of(rule.destinations[-1], reading)
    both = Action.FORWARD | Action.DUPLICATE
    if len(rule.destinations) == 2:
        outer = tunnel_of(rule.destinations[0], reading)
        return Far(both, instance=options.core_instance, outer=outer, copy=copy)
    if uplink:
        return Far(both, instance=options.core_instance, copy=copy)
    return Far(both, to_access=True, instance=options.access_instance, outer=site.radio, copy=copy)


def instance_of(target: Any, reading: Reading) -> str:
    """Return the Network Instance behind which a destination is reached."""
    if target.get("interfaceType") != "IP":
        raise Refused("FORWARD_DECAPSULATED takes packets out of their tunnel", nearest="FORWARD_ENCAPSULATED")
    text = str(target.get("dstIpAddress") or "")
    address = _address(text, "dstInterface.dstIpAddress")
    name = reading.instance(address)
    if name is None:
        raise Refused(
            f"PFCP has no next hop, and no Network Instance is configured for {text}",
            nearest=", ".join(f"{network} by {name}" for network, name in reading.destinations[:10]),
        )
    return name


def tunnel_of(target: Any, reading: Reading) -> Tunnel:
    """Return the GTP-U tunnel of a destination. MEC 011 has no place for a TEID: tunnelSpecificData or the options tell it."""
    info = target.get("tunnelInfo") or {}
    if target.get("interfaceType") != "TUNNEL":
        raise Refused("this needs a tunnel of type GTP_U as destination", nearest="FORWARD_DECAPSULATED")
    text = str(info.get("tunnelDstAddress") or "")
    address = _address(text, "dstInterface.tunnelInfo.tunnelDstAddress")
    given = info.get("tunnelSpecificData")
    teid = given.get("teid") if isinstance(given, dict) else None
    if teid is None:
        teid = reading.tunnels.get(address)
    if teid is None:
        raise Refused(
            f"the TEID of the tunnel to {text} is not known: name it in tunnelSpecificData.teid or in the option tunnels",
            nearest=", ".join(f"a tunnel to {known}" for known in list(reading.tunnels)[:10]),
        )
    if isinstance(teid, bool) or not isinstance(teid, int) or not 1 <= teid <= 0xFFFFFFFF:
        raise Invalid(f"tunnelSpecificData.teid: {teid!r} is no TEID")
    return Tunnel(teid, address)


def legs(rule: TrafficRule, match: Match, site: Site, reading: Reading, place: str) -> Iterator[Leg]:
    """Return the legs of one filter in this session."""
    qfi = None
    if match.qci is not None:
        qfi = reading.qfis.get(match.qci)
        if qfi is None:
            known = ", ".join(str(each) for each in sorted(reading.qfis))
            raise Refused(
                f"{place}.qCI: no QFI is configured for {match.qci}", nearest=f"one of {known}" if known else ""
            )
    sources, targets = _shared(match.src, site.spans), _shared(match.dst, site.spans)
    names_ues = (
        bool(match.dst) and bool(targets) and all(any(_within(each, ue) for ue in site.spans) for each in match.dst)
    )
    forwards = rule.action.startswith("FORWARD")
    versions = sorted(match.families & families(rule))
    up = _filters(match, versions, sources, match.src_ports, match.dst, match.dst_ports, place)
    down = _filters(match, versions, targets, match.dst_ports, match.src, match.src_ports, place)
    if rule.filter_type == "PACKET":
        yield from _leg(True, True, up, qfi)
        # Packets to UEs carry no QFI yet when they arrive.
        if qfi is None and (names_ues or not forwards):
            yield from _leg(False, True, down, None, from_core=forwards)
        return
    # Packets of a flow are described as they leave the UE, unless the filter can only mean what comes to it.
    described_down = names_ues and not (match.src and sources)
    back = rule.action == "DROP" or rule.action.startswith("DUPLICATE")
    described = down if described_down else up
    if qfi is not None:
        yield from _leg(True, back if described_down else True, described, qfi)
        return
    yield from _leg(not described_down, True, described, None, from_core=described_down and forwards)
    yield from _leg(described_down, back, described, None)


def _leg(uplink: bool, acts: bool, filters: Sequence[Sdf], qfi: int | None, from_core: bool = False) -> Iterator[Leg]:
    if filters:
        yield Leg(uplink, acts, tuple(filters), qfi, from_core)


def _filters(
    match: Match,
    versions: Sequence[int],
    ues: Sequence[Span],
    ue_ports: tuple[Ports, ...],
    remote: tuple[Span, ...],
    remote_ports: tuple[Ports, ...],
    place: str,
) -> list[Sdf]:
    """Return every combination as one SDF filter; a filter of PFCP holds one network and one range of ports per side."""
    tos = None
    if match.dscp is not None:
        tos = (match.dscp << 2, 0xFC)
    elif match.traffic_class is not None:
        tos = (match.traffic_class, 0xFF)
    protocols = [str(number) for number in match.implied_protocols] or ["ip"]
    found: list[Sdf] = []
    for version in versions:
        theirs = [text for each in remote if each.family == version for text in _texts(each)]
        ours = [text for each in ues if each.family == version for text in _texts(each)]
        ends = [_end(each, ports) for each in (theirs if remote else ["any"]) for ports in remote_ports or (None,)]
        homes = [_end(each, ports) for each in ours for ports in ue_ports or (None,)]
        if len(found) + len(ends) * len(homes) * len(protocols) > MOST_COMBINATIONS:
            raise Refused(
                f"{place}: it needs more than {MOST_COMBINATIONS} SDF filters",
                nearest="fewer addresses, protocols and ports in one filter, and ranges that are whole prefixes",
            )
        found += [
            Sdf(f"permit out {protocol} from {end} to {home}", tos)
            for protocol in protocols
            for end in ends
            for home in homes
        ]
    return found


def _address(text: str, place: str) -> IpAddress:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        raise Invalid(f"{place}: {text!r} is no IP address") from None


def _end(address: str, ports: Ports | None) -> str:
    if ports is None:
        return address
    return f"{address} {ports.first}" if ports.first == ports.last else f"{address} {ports.first}-{ports.last}"


def _text(network: Any) -> str:
    """A network as IPFilterRule writes it: a single address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _texts(span: Span) -> list[str]:
    """The networks of a span."""
    if span.first == span.last:
        return [str((ipaddress.IPv4Address if span.family == 4 else ipaddress.IPv6Address)(span.first))]
    return [_text(network) for network in span.networks()]


def _shared(spans: tuple[Span, ...], ues: tuple[Span, ...]) -> list[Span]:
    """Return which UEs a side of a filter is about; every UE when the side is empty."""
    if not spans:
        return list(ues)
    both = {
        Span(ue.family, max(ue.first, each.first), min(ue.last, each.last))
        for ue in ues
        for each in spans
        if ue.family == each.family
    }
    return sorted(each for each in both if each.first <= each.last)


def _within(inner: Span, outer: Span) -> bool:
    return inner.family == outer.family and outer.first <= inner.first and inner.last <= outer.last


def _chunks(items: list[Sdf], size: int) -> Iterator[list[Sdf]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
