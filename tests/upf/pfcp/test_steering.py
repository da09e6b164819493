"""Rules as the UPF carries them out: packets before and after."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from typing import Any

import pytest

from core.errors import Rejected
from tests.upf.pfcp.making import ELSEWHERE, FILTER, FROM_SERVER, TO_N6, TO_SERVER, TO_UE, TUNNEL, Make, rule
from tests.upf.pfcp.peer import Peer
from upf_adapter.contract import Counters
from upf_adapter.flows import Packet


def test_without_rules_packets_go_to_n6_and_back(peer: Peer, adapter: Make) -> None:
    adapter().replace([])
    assert peer.packet(TO_SERVER) == TO_N6
    assert peer.packet(FROM_SERVER, uplink=False) == TO_UE


@pytest.mark.parametrize(
    ("action", "there", "back"),
    [
        ("DROP", {"action": "DROP"}, {"action": "DROP"}),
        ("PASSTHROUGH", TO_N6, TO_UE),
        ("FORWARD_DECAPSULATED", {**TO_N6, "instance": "mec.apps"}, TO_UE),
        ("FORWARD_ENCAPSULATED", {**TO_N6, "outer": (5, "198.51.100.9"), "kind": 15}, TO_UE),
        (
            "DUPLICATE_ENCAPSULATED",
            {**TO_N6, "action": "FORW+DUPL", "copy": (5, "198.51.100.9")},
            {**TO_UE, "action": "FORW+DUPL", "copy": (5, "198.51.100.9")},
        ),
    ],
)
def test_an_action_is_for_the_packets_of_the_rule_and_no_others(
    peer: Peer, adapter: Make, action: str, there: dict[str, Any], back: dict[str, Any]
) -> None:
    upf = adapter(duplicate=True)
    upf.put(rule(action))
    assert peer.packet(TO_SERVER) == there
    assert peer.packet(FROM_SERVER, uplink=False) == back
    assert peer.packet(ELSEWHERE) == TO_N6
    upf.delete("app/r1")
    assert peer.packet(TO_SERVER) == TO_N6
    assert peer.packet(FROM_SERVER, uplink=False) == TO_UE


def test_a_drop_may_be_a_closed_gate(peer: Peer, adapter: Make) -> None:
    upf = adapter(drop="gate")
    upf.put(rule("DROP"))
    assert peer.packet(TO_SERVER) == {"action": "gate"}
    assert peer.packet(FROM_SERVER, uplink=False) == {"action": "gate"}
    upf.put(rule("PASSTHROUGH"))
    assert peer.packet(TO_SERVER) == TO_N6
    (held,) = peer.sessions.values()
    assert held.qers == {}


def test_the_original_may_be_sent_elsewhere_than_the_copy(peer: Peer, adapter: Make) -> None:
    other = {**TUNNEL, "tunnelInfo": {**TUNNEL["tunnelInfo"], "tunnelSpecificData": {"teid": 6}}}  # type: ignore[dict-item]
    adapter(duplicate=True).put(rule("DUPLICATE_ENCAPSULATED", destinations=(TUNNEL, other)))
    met = peer.packet(TO_SERVER)
    assert (met["outer"], met["copy"]) == ((5, "198.51.100.9"), (6, "198.51.100.9"))


def test_the_higher_priority_decides_and_among_equals_the_lower_id(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP", "app/b", priority=10))
    upf.put(rule("FORWARD_DECAPSULATED", "app/c", priority=10))
    assert peer.packet(TO_SERVER)["action"] == "DROP"
    upf.put(rule("PASSTHROUGH", "app/a", priority=10))
    assert peer.packet(TO_SERVER) == TO_N6
    upf.put(rule("FORWARD_ENCAPSULATED", "app/z", priority=9))
    assert peer.packet(TO_SERVER)["kind"] == 15
    assert upf.intact()


def test_dscp_decides(peer: Peer, adapter: Make) -> None:
    adapter().put(rule("DROP", filters=({**FILTER, "dSCP": 46},)))
    assert peer.packet(dataclasses.replace(TO_SERVER, dscp=46, ecn=1))["action"] == "DROP"
    assert peer.packet(TO_SERVER) == TO_N6


def test_a_qci_decides_by_its_qfi(peer: Peer, adapter: Make) -> None:
    adapter(qfis={"9": 5}).put(rule("DROP", filters=({**FILTER, "qCI": 9},)))
    assert peer.packet(TO_SERVER, qfi=5)["action"] == "DROP"
    assert peer.packet(TO_SERVER, qfi=6) == TO_N6
    assert peer.packet(FROM_SERVER, uplink=False) == TO_UE


def test_what_an_application_sends_back_does_not_turn_round(peer: Peer, adapter: Make) -> None:
    """A FORWARD of packets to UEs is only for those that come from the ordinary side of N6."""
    upf = adapter()
    upf.put(rule("FORWARD_DECAPSULATED", filters=({"dstAddress": ["10.45.0.2"], "srcAddress": ["203.0.113.5"]},)))
    assert peer.packet(FROM_SERVER, uplink=False)["instance"] == "mec.apps"
    (held,) = peer.sessions.values()
    (steering,) = [each for each in held.pdrs.values() if not each.uplink and each.filters]
    assert steering.instance == "internet"


def test_the_upf_chooses_the_tunnel_once_and_later_rules_name_it(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.replace([])
    upf.put(rule("DROP"))
    (held,) = peer.sessions.values()
    assert {each.teid for each in held.pdrs.values() if each.uplink} == {held.chosen}
    assert upf.sessions[0].writer.access


def test_a_tunnel_that_is_given_is_used(peer: Peer, adapter: Make) -> None:
    peer.features = b"\0\0"
    session = {"ue": ["10.45.0.2"], "radio": {"address": "192.0.2.7", "teid": 77}}
    with pytest.raises(Rejected, match="F-TEID allocation"):
        adapter(sessions=[session]).replace([])
    given = {**session, "access": {"address": "127.0.0.1", "teid": 99}}
    adapter(sessions=[given]).put(rule("DROP"))
    (held,) = peer.sessions.values()
    assert {each.teid for each in held.pdrs.values() if each.uplink} == {99}


def test_every_session_gets_the_rules_and_their_counters_are_added_up(peer: Peer, adapter: Make) -> None:
    sessions = [
        {"ue": [f"10.45.0.{number}"], "radio": {"address": "192.0.2.7", "teid": 70 + number}} for number in (2, 3)
    ]
    upf = adapter(sessions=sessions)
    upf.put(rule("DROP", filters=({"dstAddress": ["203.0.113.5"]},)))
    upf.put(rule("DROP", "app/one", filters=({"srcAddress": ["10.45.0.3"]},)))
    assert [len(held.pdrs) for held in peer.sessions.values()] == [4, 6]
    for held in peer.sessions.values():
        for numbers in held.urrs.values():
            numbers[:] = [100, 0, 1, 0]
    assert upf.counters() == {"app/r1": Counters(2, 200), "app/one": Counters(1, 100)}
    upf.replace([])
    assert [len(held.pdrs) for held in peer.sessions.values()] == [2, 2]


def test_a_pool_of_ues_is_matched_by_the_filters(peer: Peer, adapter: Make) -> None:
    pool = {"ue": ["10.45.0.0/16"], "radio": {"address": "192.0.2.7", "teid": 77}}
    upf = adapter(sessions=[pool])
    upf.put(rule("DROP"))
    stranger = dataclasses.replace(TO_SERVER, src=ip_address("10.45.9.9"))
    assert peer.packet(TO_SERVER)["action"] == "DROP"
    assert peer.packet(stranger) == TO_N6
    assert peer.packet(dataclasses.replace(FROM_SERVER, dst=ip_address("10.45.9.9")), uplink=False) == TO_UE
    assert peer.packet(dataclasses.replace(FROM_SERVER, dst=ip_address("10.46.9.9")), uplink=False) == {
        "action": "none"
    }


def test_ipv6_is_steered_by_traffic_class(peer: Peer, adapter: Make) -> None:
    both = {"ue": ["10.45.0.2", "2001:db8:45::/64"], "radio": {"address": "192.0.2.7", "teid": 77}}
    upf = adapter(sessions=[both], destinations={"2001:db8:60::/48": "mec.apps"})
    app = {"interfaceType": "IP", "dstIpAddress": "2001:db8:60::2"}
    found = {"dstAddress": ["2001:db8:c::/48"], "tC": 184}
    upf.put(rule("FORWARD_DECAPSULATED", filters=(found,), destinations=(app,)))
    packet = Packet(ip_address("2001:db8:45::9"), ip_address("2001:db8:c::1"), 17, 1, 2, dscp=46)
    assert peer.packet(packet)["instance"] == "mec.apps"
    assert peer.packet(dataclasses.replace(packet, dscp=0)) == TO_N6
    assert peer.packet(dataclasses.replace(packet, src=ip_address("2001:db8:46::9"))) == {"action": "none"}
    assert peer.packet(TO_SERVER) == TO_N6


def test_a_network_instance_may_be_plain_text(peer: Peer, adapter: Make) -> None:
    adapter(instance_form="text").put(rule("FORWARD_DECAPSULATED"))
    (request,) = [each for each in peer.requests if each.message_type == 50]
    assert b"\x00\x16\x00\x08mec.apps" in bytes(request.original)
    assert b"\x03mec\x04apps" not in bytes(request.original)
