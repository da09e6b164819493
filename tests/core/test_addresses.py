"""Which addresses we connect to when a stranger named them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import addresses

FORBIDDEN = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:a00:1::f5ff:fffe",
]  # fmt: skip


def each(text: str) -> addresses.Address:
    return ipaddress.ip_address(text)


@pytest.mark.parametrize("text", FORBIDDEN)
def test_nothing_inside_is_reached_however_it_is_written(text: str) -> None:
    assert not addresses.permitted(each(text), "https")


@pytest.mark.parametrize("text", ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"])
def test_the_open_internet_is_reached_by_https_only(text: str) -> None:
    assert addresses.permitted(each(text), "https")
    assert not addresses.permitted(each(text), "http")


def test_a_network_that_is_allowed_by_name_is_reached_by_both_schemes_and_in_all_spellings() -> None:
    allowed = addresses.networks([" 10.2.0.0/16 ", "", "fd00::/8"])
    for text in ("10.2.3.4", "::ffff:10.2.3.4", "64:ff9b::a02:304", "fd00::7"):
        assert addresses.permitted(each(text), "http", allowed)
    assert not addresses.permitted(each("10.3.0.1"), "https", allowed)


def test_a_network_with_host_bits_is_refused_where_the_setting_is_strict() -> None:
    assert addresses.networks(["10.2.0.1/16"]) == addresses.networks(["10.2.0.0/16"])
    with pytest.raises(ValueError, match="host bits"):
        addresses.networks(["10.2.0.1/16"], strict=True)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_each_of_its_ipv6_spellings(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    spellings = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    for written in spellings:
        assert addresses.real(written) == inner
        assert addresses.is_public(written) == addresses.is_public(inner)
