"""A rule that this UPF takes, and the packets that it is about and not about."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from upf_adapter.contract import TrafficRule
from upf_adapter.flows import Packet
from upf_adapter.pfcp import PfcpUpf

Make = Callable[..., PfcpUpf]
FILTER = {"srcAddress": ["10.45.0.2"], "dstAddress": ["203.0.113.5"], "protocol": ["UDP"], "dstPort": ["4000"]}
APP = {"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}
TUNNEL = {
    "interfaceType": "TUNNEL",
    "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "198.51.100.9", "tunnelSpecificData": {"teid": 5}},
}
TO_SERVER = Packet(ip_address("10.45.0.2"), ip_address("203.0.113.5"), 17, 5000, 4000)
FROM_SERVER = Packet(ip_address("203.0.113.5"), ip_address("10.45.0.2"), 17, 4000, 5000)
ELSEWHERE = Packet(ip_address("10.45.0.2"), ip_address("203.0.113.6"), 17, 5000, 4000)
TO_N6 = {"action": "FORW", "to": 1, "instance": "internet", "kind": 17}
TO_UE = {"action": "FORW", "to": 0, "outer": (77, "192.0.2.7"), "kind": 11}


def rule(action: str, key: str = "app/r1", **changes: Any) -> TrafficRule:
    targets = {"FORWARD_DECAPSULATED": (APP,), "FORWARD_ENCAPSULATED": (TUNNEL,), "DUPLICATE_ENCAPSULATED": (TUNNEL,)}
    whole = {
        "filter_type": "FLOW",
        "priority": 10,
        "filters": (FILTER,),
        "destinations": targets.get(action, ()),
    } | changes
    return TrafficRule(id=key, action=action, **whole)
