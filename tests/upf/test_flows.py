"""Filters are read in one way for every user plane, and the judge says which rule decides."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import upf_adapter
from core.errors import Invalid, Missing
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.flows import Packet, Ports, Span, agrees, decide, ports, protocol, read, span
from upf_adapter.limits import check
from upf_adapter.memory import MemoryUpf

ip = ipaddress.ip_address


def rule(key: str, priority: int = 10, action: str = "DROP", **filter_: Any) -> TrafficRule:
    return TrafficRule(key, "FLOW", priority, (filter_,), action)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.77/24", "10.0.0.0", "10.0.0.255"),
        ("10.0.0.0/255.255.0.0", "10.0.0.0", "10.0.255.255"),
        ("10.0.0.5-10.0.0.9", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.5 - 10.0.0.9", "10.0.0.5", "10.0.0.9"),
        ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
        ("2001:db8::/64-2001:db8:0:3::/64", "2001:db8::", "2001:db8:0:3:ffff:ffff:ffff:ffff"),
    ],
)
def test_an_address_is_read_in_every_spelling_of_the_standard(text: str, first: str, last: str) -> None:
    found = span(text)
    assert (found.first, found.last) == (int(ip(first)), int(ip(last)))


@pytest.mark.parametrize(
    "text", ["10.0.0.256", "10.0.0.9-10.0.0.5", "10.0.0.1-2001:db8::1", "host", "-", "10.0.0.0/33"]
)
def test_what_is_no_address_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Invalid, match="dstAddress"):
        read({"dstAddress": [text]})


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_span_has_the_addresses_of_its_prefixes_and_no_others(one: int, other: int, probe: int) -> None:
    found = Span(4, min(one, other), max(one, other))
    address = ipaddress.IPv4Address(probe)
    assert (address in found) == any(address in network for network in found.networks())


def test_ports_and_protocols_come_as_texts_and_numbers() -> None:
    found = read({"dstPort": ["80", "90 - 100"], "srcPort": 53, "protocol": ["tcp", 17]})
    assert found.dst_ports == (Ports(80, 80), Ports(90, 100))
    assert found.src_ports == (Ports(53, 53),)
    assert found.protocols == (6, 17)
    assert protocol("SCTP") == 132
    assert ports("0-65535") == Ports(0, 65535)


@pytest.mark.parametrize("member", [{}, {"srcAddress": [""]}, {"dstPort": []}, {"dSCP": None}, {"protocol": ["ANY"]}])
def test_what_says_nothing_matches_everything(member: dict[str, Any]) -> None:
    match = read(member)
    assert agrees(match, Packet(ip("10.0.0.1"), ip("10.0.0.2")))
    assert agrees(match, Packet(ip("2001:db8::1"), ip("2001:db8::2"), protocol=1))


@pytest.mark.parametrize(("name", "value"), [("dSCP", 64), ("tC", 256), ("qCI", -1), ("dSCP", "many"), ("dSCP", True)])
def test_a_number_out_of_range_is_refused_with_its_place(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=name):
        read({name: value})


def test_a_filter_on_ports_is_about_protocols_that_have_ports() -> None:
    match = read({"dstPort": ["80"]})
    web = {"src": ip("10.0.0.1"), "dst": ip("10.0.0.2"), "dst_port": 80}
    assert agrees(match, Packet(**web, protocol=6))
    assert not agrees(match, Packet(**web, protocol=1))


def test_dscp_is_about_ipv4_and_the_traffic_class_about_ipv6() -> None:
    four = Packet(ip("10.0.0.1"), ip("10.0.0.2"), dscp=46)
    six = Packet(ip("2001:db8::1"), ip("2001:db8::2"), dscp=46, ecn=1)
    assert agrees(read({"dSCP": 46}), four)
    assert not agrees(read({"dSCP": 46}), six)
    assert agrees(read({"tC": 46 << 2 | 1}), six)
    assert not agrees(read({"tC": 46 << 2}), six)
    assert not read({"tC": 4, "srcAddress": ["10.0.0.1"]}).families


def test_the_highest_priority_decides_and_among_equals_the_lower_id() -> None:
    packet = Packet(ip("10.0.0.1"), ip("203.0.113.5"))
    low = rule("a/low", 200)
    high = rule("a/high", 0, dstAddress=["203.0.113.0/24"])
    assert decide([low, high], packet) == high
    assert decide([low, high], Packet(ip("10.0.0.1"), ip("198.51.100.1"))) == low
    assert decide([rule("b", 5), rule("a", 5)], packet) == rule("a", 5)
    assert decide([rule("a", 5, dstAddress=["198.51.100.1"])], packet) is None


def test_what_a_user_plane_cannot_match_is_refused_with_what_it_can() -> None:
    can = MemoryUpf().capabilities()
    narrow = type(can)(actions=can.actions, filters=frozenset({"dstAddress"}), interfaces=frozenset({"IP"}))
    with pytest.raises(Refused, match="cannot match qCI; the nearest it can do: the same without it, by dstAddress"):
        check(rule("a", dstAddress=["10.0.0.1"], qCI=9), narrow, "narrow")


def test_an_adapter_is_made_by_its_name_and_its_options_are_checked() -> None:
    assert upf_adapter.create("memory").name == "memory"
    with pytest.raises(Invalid, match="memory are not usable"):
        upf_adapter.create("memory", {"speed": 3})
    with pytest.raises(Missing, match="memory"):
        upf_adapter.create("teleporter")
