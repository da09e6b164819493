"""Where notifications may go: into the networks that the node allows, and nowhere else however it is spelt."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from mep.mp1 import callbacks


@given(st.ip_addresses())
def test_only_allowed_networks_are_called(address: Any) -> None:
    inside = any(address.version == net.version and address in net for net in callbacks.settings.CALLBACK_NETWORKS)
    mapped = getattr(address, "ipv4_mapped", None)
    if not inside and mapped is None:
        with pytest.raises(Invalid):
            callbacks.judge(address)


def test_one_forbidden_address_spoils_a_name() -> None:
    assert str(callbacks.pick(["10.0.0.1", "10.0.0.2"])) == "10.0.0.1"
    with pytest.raises(Invalid, match=r"8\.8\.8\.8"):
        callbacks.pick(["10.0.0.1", "8.8.8.8"])
    with pytest.raises(Invalid):
        callbacks.pick([])
    with pytest.raises(Invalid):
        callbacks.pick(["::ffff:8.8.8.8"])


def test_the_node_itself_is_called_only_when_loopback_is_allowed(settings: Any) -> None:
    address = ipaddress.ip_address("127.0.0.1")
    assert callbacks.judge(address) == address
    settings.CALLBACK_NETWORKS = (ipaddress.ip_network("0.0.0.0/1"),)
    with pytest.raises(Invalid, match="itself"):
        callbacks.judge(address)
    assert callbacks.is_ours(address)
    assert not callbacks.is_ours(ipaddress.ip_address("10.255.254.253"))


@pytest.mark.parametrize(
    ("host", "means"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("::FFFF:0808:0808", "8.8.8.8"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_every_spelling_of_an_address_is_known(host: str, means: str) -> None:
    assert str(callbacks.as_address(host)) == means


@pytest.mark.parametrize("host", ["example.org", "localhost", "", "1.2.3.4.5", "::g"])
def test_a_name_is_no_address(host: str) -> None:
    assert callbacks.as_address(host) is None


@pytest.mark.parametrize("address", ["64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1", "fe80::1", "ff02::1", "::1"])
def test_addresses_that_lead_elsewhere_are_not_private(address: str, settings: Any) -> None:
    settings.CALLBACK_NETWORKS = tuple(ipaddress.ip_network(net) for net in ("10.0.0.0/8", "fc00::/7"))
    with pytest.raises(Invalid, match="may not be sent"):
        callbacks.judge(ipaddress.ip_address(address))
