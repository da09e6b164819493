"""Filters become IP flows that every 5G core reads, and never more of them than were allowed."""

from __future__ import annotations

import ipaddress
import re
import tracemalloc
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.upf.core5g import schemas
from upf_adapter.contract import Refused
from upf_adapter.flow_descriptions import flows, only_ue
from upf_adapter.flows import PROTOCOLS, Packet, agrees, read


def of(most: int = 32, *, names: bool = False, **members: Any) -> list[tuple[str, str]]:
    (found,) = flows([read(members)], most, names=names)
    return [(flow.uplink, flow.downlink) for flow in found]


def test_a_filter_is_written_for_both_directions_as_seen_by_the_ue() -> None:
    assert of(srcAddress="10.45.0.2", dstAddress="203.0.113.5", protocol="UDP", srcPort="5000", dstPort="4000") == [
        (
            "permit in 17 from 10.45.0.2 5000 to 203.0.113.5 4000",
            "permit out 17 from 203.0.113.5 4000 to 10.45.0.2 5000",
        )
    ]


def test_what_is_not_said_is_any() -> None:
    assert of(dstAddress="203.0.113.5") == [
        ("permit in ip from any to 203.0.113.5", "permit out ip from 203.0.113.5 to any")
    ]
    assert of() == [("permit in ip from any to any", "permit out ip from any to any")]


def test_names_of_protocols_are_for_peers_that_want_them() -> None:
    assert of(protocol=["UDP"], names=True)[0][0] == "permit in udp from any to any"
    assert of(protocol=["250"], names=True)[0][0] == "permit in 250 from any to any"


def test_several_values_become_several_flows() -> None:
    found = of(dstAddress=["203.0.113.0/28", "2001:db8::5"], dstPort=["80", "8000-8080"], protocol=["TCP"])
    assert [uplink for uplink, _ in found] == [
        "permit in 6 from any to 203.0.113.0/28 80",
        "permit in 6 from any to 203.0.113.0/28 8000-8080",
        "permit in 6 from any to 2001:db8::5 80",
        "permit in 6 from any to 2001:db8::5 8000-8080",
    ]


def test_families_are_not_mixed() -> None:
    found = of(srcAddress=["10.0.0.0/8", "2001:db8:1::/48"], dstAddress=["203.0.113.5", "2001:db8::5"])
    assert [uplink for uplink, _ in found] == [
        "permit in ip from 10.0.0.0/8 to 203.0.113.5",
        "permit in ip from 2001:db8:1::/48 to 2001:db8::5",
    ]
    assert len(of(dstAddress=["203.0.113.5", "2001:db8::5"], dSCP=46)) == 1, "a DSCP is about IPv4"


def test_a_range_becomes_the_fewest_prefixes() -> None:
    assert [uplink.split()[-1] for uplink, _ in of(dstAddress="203.0.113.5-203.0.113.8")] == [
        "203.0.113.5", "203.0.113.6/31", "203.0.113.8",
    ]  # fmt: skip


def test_ports_without_a_protocol_are_those_of_the_protocols_that_have_them() -> None:
    assert [uplink.split()[2] for uplink, _ in of(dstPort="80")] == ["6", "17", "132"]
    assert of(dstPort="0-65535", protocol="TCP")[0][0] == "permit in 6 from any to any"


def test_more_flows_than_allowed_are_refused_with_a_way_out() -> None:
    wide = {"dstAddress": [f"203.0.113.{n}" for n in range(0, 34, 2)], "protocol": ["TCP", "UDP"]}
    with pytest.raises(Refused, match=r"more than 32 IP flows.*prefixes in place of"):
        of(**wide)
    assert len(of(most=34, **wide)) == 34
    with pytest.raises(Refused):
        flows([read({"dstAddress": "203.0.113.1-203.0.113.14"})] * 6, 32)


def test_a_hostile_filter_costs_no_memory() -> None:
    everything = [f"10.{a}.{b}.1-10.{a}.{b}.254" for a in range(40) for b in range(40)]
    match = read({"srcAddress": everything, "dstAddress": everything, "dstPort": [str(n) for n in range(1, 2000)]})
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            flows([match], 32)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("filters", "ue"),
    [
        ([{"srcAddress": "10.45.0.2"}], "10.45.0.2"),
        ([{"srcAddress": ["10.45.0.2/32"]}, {"srcAddress": ["10.45.0.2"], "dstPort": "80"}], "10.45.0.2"),
        ([{"srcAddress": "2001:db8::2"}], "2001:db8::2"),
        ([{"srcAddress": "10.45.0.0/31"}], None),
        ([{"srcAddress": ["10.45.0.2", "10.45.0.3"]}], None),
        ([{"srcAddress": "10.45.0.2"}, {"srcAddress": "10.45.0.3"}], None),
        ([{"srcAddress": "10.45.0.2"}, {}], None),
        ([{}], None),
    ],
)
def test_a_rule_is_about_one_ue_only_when_all_its_filters_are(filters: list[Any], ue: str | None) -> None:
    assert only_ue([read(each) for each in filters]) == (ipaddress.ip_address(ue) if ue else None)


def covers(text: str, packet: Packet) -> bool:
    """Judge a packet by an uplink description, written down anew from RFC 6733."""
    found = re.fullmatch(r"permit in (\S+) from (\S+)(?: ([\d-]+))? to (\S+)(?: ([\d-]+))?", text)
    assert found is not None, text

    def inside(address: Any, side: str) -> bool:
        return side == "any" or address in ipaddress.ip_network(side)

    def among(port: int, ports: str | None) -> bool:
        if ports is None:
            return True
        low, _, high = ports.partition("-")
        return int(low) <= port <= int(high or low)

    protocol, source, source_ports, target, target_ports = found.groups()
    return (
        protocol in ("ip", str(packet.protocol))
        and inside(packet.src, source)
        and inside(packet.dst, target)
        and among(packet.src_port, source_ports)
        and among(packet.dst_port, target_ports)
    )


few_addresses = st.integers(0, 40).map(lambda n: f"203.0.113.{n}")
address_texts = st.one_of(
    few_addresses,
    st.integers(27, 31).map(lambda bits: f"203.0.113.0/{bits}"),
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda n: f"203.0.113.{n[0]}-203.0.113.{n[0] + n[1]}"),
    st.just("2001:db8::/120"),
)
port_texts = st.one_of(st.integers(0, 9).map(str), st.integers(0, 9).map(lambda n: f"{n}-{n + 3}"))
filters = st.fixed_dictionaries(
    {},
    optional={
        "srcAddress": st.lists(address_texts, max_size=2),
        "dstAddress": st.lists(address_texts, max_size=2),
        "srcPort": st.lists(port_texts, max_size=2),
        "dstPort": st.lists(port_texts, max_size=2),
        "protocol": st.lists(st.sampled_from(["TCP", "UDP", "ICMP", "ANY"]), max_size=2),
    },
)
packets = st.builds(
    Packet,
    src=few_addresses.map(ipaddress.ip_address),
    dst=few_addresses.map(ipaddress.ip_address),
    protocol=st.sampled_from([PROTOCOLS["TCP"], PROTOCOLS["UDP"], PROTOCOLS["ICMP"]]),
    src_port=st.integers(0, 12),
    dst_port=st.integers(0, 12),
)


@given(filters, st.lists(packets, min_size=1, max_size=20))
def test_the_flows_are_about_the_packets_that_the_filter_is_about(members: Any, some: list[Packet]) -> None:
    match = read(members)
    assume(match.families and not ((match.src_ports or match.dst_ports) and not match.implied_protocols))
    (found,) = flows([match], 1000)
    assert found
    for flow in found:
        for text in flow.both:
            jsonschema.validate(text, schemas.FLOW)
    for packet in some:
        assert any(covers(flow.uplink, packet) for flow in found) == agrees(match, packet)
