"""How a UPF judges packets by PDRs (TS 29.244, 5.2.1), written from the standard: SDF texts are read anew here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from upf_adapter.flows import Packet

_RULE = re.compile(
    r"permit out (?P<protocol>ip|\d+) from (?P<remote>\S+)(?: (?P<remote_ports>[\d-]+))?"
    r" to (?P<ue>\S+)(?: (?P<ue_ports>[\d-]+))?"
)


@dataclass
class Rule:
    """One PDR as this UPF keeps it."""

    uplink: bool
    precedence: int
    far: Any
    filters: list[tuple[str, tuple[int, int] | None]] = field(default_factory=list)
    qfi: int | None = None
    qers: list[int] = field(default_factory=list)
    urrs: list[int] = field(default_factory=list)
    ue: Any = None
    teid: int | None = None
    instance: str = ""


def winner(rules: Iterable[Rule], packet: Packet, uplink: bool, qfi: int | None = None) -> Rule | None:
    """Return the PDR with the lowest precedence among those that match."""
    found = [rule for rule in rules if rule.uplink == uplink and matches(rule, packet, qfi)]
    return min(found, key=lambda rule: rule.precedence, default=None)


def matches(rule: Rule, packet: Packet, qfi: int | None) -> bool:
    """Every part of the PDI must agree; of several SDF filters any may."""
    if rule.qfi is not None and rule.qfi != qfi:
        return False
    ue = packet.src if rule.uplink else packet.dst
    if rule.ue and not any(ue in network for network in rule.ue):
        return False
    return not rule.filters or any(sdf_matches(text, tos, packet, rule.uplink) for text, tos in rule.filters)


def sdf_matches(text: str, tos: tuple[int, int] | None, packet: Packet, uplink: bool) -> bool:
    """The text is written as for the packet to the UE; in an uplink PDR it is turned round."""
    if tos and (packet.dscp << 2 | packet.ecn) & tos[1] != tos[0]:
        return False
    if not text:
        return True
    found = _RULE.fullmatch(text)
    assert found, f"not an IPFilterRule that every UPF reads: {text}"
    if found["protocol"] != "ip" and int(found["protocol"]) != packet.protocol:
        return False
    ends = [(packet.src, packet.src_port), (packet.dst, packet.dst_port)]
    remote, ue = reversed(ends) if uplink else ends
    return _end(found["remote"], found["remote_ports"], *remote) and _end(found["ue"], found["ue_ports"], *ue)


def _end(where: str, ports: str | None, address: Any, port: int) -> bool:
    if where not in ("any", "assigned") and address not in ipaddress.ip_network(where):
        return False
    if ports is None:
        return True
    first, _, last = ports.partition("-")
    return int(first) <= port <= int(last or first)
