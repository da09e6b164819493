"""IP flows as the 5G core reads them: the IPFilterRule of RFC 6733 4.3.1 as TS 29.212 5.3.8 and TS 29.214 5.3.8 narrow it.

Only `permit`, no options, no `!`, no `assigned`. Every description holds one address or prefix and one port or range
for each side, which every peer understands; what has several becomes several flows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from upf_adapter.contract import Refused
from upf_adapter.flows import PROTOCOLS, IpAddress, Match, Ports, Span

#: Addresses that one description can name: a span as texts, of one family, or any.
Side = tuple[int | None, str]
_NAMES = {number: name.lower() for name, number in reversed(PROTOCOLS.items())}


@dataclass(frozen=True, slots=True)
class Flow:
    """One IP flow in both directions, as seen by the UE: `uplink` from it, `downlink` to it."""

    uplink: str
    downlink: str

    @property
    def both(self) -> list[str]:
        """The descriptions as FlowInfo and MediaSubComponent hold them: at most two."""
        return [self.uplink, self.downlink]


def only_ue(matches: Sequence[Match]) -> IpAddress | None:
    """Return the one UE that all filters are about by their source address; None when they are about several or any."""
    spans = {match.src for match in matches}
    if len(spans) != 1:
        return None
    (found,) = spans
    if len(found) != 1 or found[0].first != found[0].last:
        return None
    return (IPv4Address if found[0].family == 4 else IPv6Address)(found[0].first)


def flows(matches: Sequence[Match], most: int, *, names: bool = False) -> list[list[Flow]]:
    """Return the flows of each filter. `Refused` when all together are more than `most`.

    `names` writes `udp` where the RFC has `17`, for peers that want it.
    """
    found = [_expanded(match, most, names) for match in matches]
    if sum(len(each) for each in found) > most:
        raise _too_many(most)
    return found


def _expanded(match: Match, most: int, names: bool) -> list[Flow]:
    # A DSCP is about IPv4 and a traffic class about IPv6, so they leave out addresses of the other family.
    sources, targets = (
        _sides([span for span in spans if span.family in match.families], most) for spans in (match.src, match.dst)
    )
    source_ports, target_ports = _ports(match.src_ports), _ports(match.dst_ports)
    protocols = [_protocol(number, names) for number in match.implied_protocols] or ["ip"]
    # Counted before it is made: a hostile filter must not cost memory.
    sizes = [len(each) for each in (sources, targets, source_ports, target_ports, protocols)]
    if math.prod(sizes) > 2 * most:
        raise _too_many(most)
    return [
        Flow(
            uplink=f"permit in {protocol} from {source}{source_port} to {target}{target_port}",
            downlink=f"permit out {protocol} from {target}{target_port} to {source}{source_port}",
        )
        for protocol in protocols
        for family, source in sources
        for other, target in targets
        if family is None or other is None or family == other
        for source_port in source_ports
        for target_port in target_ports
    ]


def _sides(spans: Sequence[Span], most: int) -> list[Side]:
    if not spans:
        return [(None, "any")]
    found: list[Side] = []
    for span in spans:
        for network in span.networks():
            text = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
            found.append((span.family, text))
        if len(found) > 2 * most:
            raise _too_many(most)
    return found


def _ports(ranges: Sequence[Ports]) -> list[str]:
    if not ranges or any(each.first == 0 and each.last == 65535 for each in ranges):
        return [""]
    return [f" {each.first}" if each.first == each.last else f" {each.first}-{each.last}" for each in ranges]


def _protocol(number: int, names: bool) -> str:
    return _NAMES.get(number, str(number)) if names else str(number)


def _too_many(most: int) -> Refused:
    return Refused(
        f"the rule's filters make more than {most} IP flows, the most that is asked of the core for one rule",
        nearest="prefixes in place of ranges and lists, or several rules",
    )
