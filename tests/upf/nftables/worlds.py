"""Random rules and packets in a small world, so that they meet often."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from upf_adapter.contract import TrafficRule
from upf_adapter.flows import Packet, Span, matches_of

#: The places of the lab: where UEs, apps and the internet are.
UES = {4: ["10.45.0.2", "10.45.0.3"], 6: ["fd45::2", "fd45::3"]}
APPS = {4: ["10.60.0.2", "10.60.0.3"], 6: ["fd60::2", "fd60::3"]}
SMALL = {4: ["203.0.113.0/24"], 6: ["2001:db8:cafe::/120"]}
LARGE = {
    4: [f"203.0.{n}.0/24" for n in range(100, 116)],
    6: [f"2001:db8:cafe:{n}::/120" for n in range(8)],
}
Places = dict[int, list[str]]
PORTS = [1, 79, 80, 81, 90, 91, 4000, 65535]
ACTIONS = ["DROP", "PASSTHROUGH", "FORWARD_DECAPSULATED", "DUPLICATE_DECAPSULATED"]


def network(dice: random.Random, base: str) -> str:
    """Return some address, prefix or range inside `base`."""
    whole = ipaddress.ip_network(base)
    first = whole[dice.randrange(min(whole.num_addresses, 256))]
    longest = whole.max_prefixlen
    match dice.randrange(4):
        case 0:
            return str(first)
        case 1:
            return f"{first}/{dice.randint(longest - 8, longest)}"
        case 2:
            other = whole[dice.randrange(min(whole.num_addresses, 256))]
            return f"{min(first, other)}-{max(first, other)}"  # type: ignore[type-var]
        case _:
            return dice.choice([base, f"{first}/{longest}"])


def filter_(dice: random.Random, family: int, places: Places) -> dict[str, Any]:
    """Return a TrafficFilter of one family, or one that says nothing about it."""
    found: dict[str, Any] = {}
    # In a large world few rules are about everything, or the others never have their say.
    if dice.random() < (0.8 if places is SMALL else 0.98):
        found["dstAddress"] = [network(dice, dice.choice(places[family])) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    if dice.random() < 0.4:
        found["srcAddress"] = dice.sample(
            [*UES[family], "10.45.0.0/16" if family == 4 else "fd45::/16"], dice.choice([1, 2])
        )
    if dice.random() < 0.5:
        low, high = sorted(dice.sample(PORTS, 2))
        found["dstPort"] = dice.choice([[str(low)], [f"{low}-{high}"], [str(low), str(high)], ["0-65535"]])
    if dice.random() < 0.2:
        found["srcPort"] = dice.choice([["1000"], ["1000-1001", "5000"]])
    if dice.random() < 0.4:
        found["protocol"] = dice.choice([["UDP"], ["TCP"], ["UDP", "TCP"], ["ICMP", "UDP"], ["ANY"], ["132", "6"]])
        if not {"UDP", "TCP", "ANY", "132"} & set(found["protocol"]):
            found.pop("dstPort", None)
    if dice.random() < 0.2:
        found["dSCP" if family == 4 else "tC"] = dice.choice([0, 46]) << (0 if family == 4 else 2)
    return found


def rule(dice: random.Random, key: str, places: Places = SMALL) -> TrafficRule:
    """Return a random rule."""
    family = dice.choice([4, 4, 6])
    action = dice.choice(ACTIONS)
    ends = {"DROP": [0], "PASSTHROUGH": [0], "FORWARD_DECAPSULATED": [1], "DUPLICATE_DECAPSULATED": [1, 2]}[action]
    targets = tuple(
        {"interfaceType": "IP", "dstIpAddress": address} for address in dice.sample(APPS[family], dice.choice(ends))
    )
    filters = tuple(filter_(dice, family, places) for _ in range(dice.choice([1, 1, 2])))
    priority = dice.choice([0, 1, 7, 100, 255]) if places is SMALL else dice.randint(0, 255)
    return TrafficRule(key, dice.choice(["FLOW", "PACKET"]), priority, filters, action, targets)


def packet(dice: random.Random, rules: list[TrafficRule] | None = None, places: Places = SMALL) -> Packet:
    """Return a random packet, often at the edge of what some rule is about."""
    family = dice.choice([4, 4, 6])
    whole = ipaddress.ip_network(dice.choice(places[family]))
    dst: Any = whole[dice.randrange(256)]
    if rules and dice.random() < 0.6:
        spans = [s for match in matches_of(dice.choice(rules)) for s in match.dst if s.family == family]
        if spans:
            dst = edge(dice, dice.choice(spans), whole)
    return Packet(
        src=ipaddress.ip_address(dice.choice(UES[family])),
        dst=dst,
        protocol=dice.choice([17, 17, 6]),
        src_port=dice.choice([1000, 1001, 5000, 5001]),
        dst_port=dice.choice([*PORTS, 2, 85, 4001]),
        dscp=dice.choice([0, 0, 46]),
    )


def edge(dice: random.Random, span: Span, within: Any) -> Any:
    """Return an address at the edge of the span, or just beyond, inside `within`."""
    number = dice.choice([span.first - 1, span.first, span.last, span.last + 1])
    number = min(max(number, int(within[0])), int(within[-1]))
    return type(within[0])(number)
