"""Rules as the UPF carries them out: packets before and after, counters that agree, refusals of the UPF, reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from scapy.contrib import pfcp as sc

from core.errors import Rejected, Unavailable
from tests.upf.pfcp.peer import SCAPY, Peer, Refuse, every, one, usage
from tests.waiting import until
from upf_adapter.contract import Counters, TrafficRule
from upf_adapter.flows import Packet
from upf_adapter.pfcp import PfcpUpf
from upf_adapter.pfcp.messages import Kind

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


# Counters


def test_the_counters_agree_with_the_packets(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    upf.put(rule("PASSTHROUGH", "app/r2", filters=({"dstPort": ["53"]},)))
    for _ in range(3):
        peer.packet(TO_SERVER, octets=100)
    assert upf.counters() == {"app/r1": Counters(3, 300), "app/r2": Counters(0, 0)}
    peer.packet(FROM_SERVER, uplink=False, octets=50)
    peer.packet(ELSEWHERE)
    assert upf.counters()["app/r1"] == Counters(4, 350)
    assert upf.counters()["app/r1"] == Counters(4, 350), "a report tells what came since the one before"


def test_a_lost_usage_report_is_not_lost(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.packet(TO_SERVER)
    peer.mute = 1
    assert upf.counters() == {"app/r1": Counters(1, 100)}


def test_a_rule_that_is_put_anew_counts_from_zero(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.packet(TO_SERVER)
    upf.counters()
    upf.delete("app/r1")
    upf.put(rule("DROP", "app/other"))
    assert upf.counters() == {"app/other": Counters(0, 0)}


def test_a_rule_that_changes_keeps_its_count(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.packet(TO_SERVER)
    upf.put(rule("FORWARD_DECAPSULATED", priority=3))
    assert upf.counters() == {"app/r1": Counters(1, 100)}


def test_many_counters_are_asked_in_parts(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.replace([rule("DROP", f"app/{number:02}", filters=({"dstPort": [str(number + 1)]},)) for number in range(20)])
    before = len(peer.requests)
    assert len(upf.counters()) == 20
    assert [len(every(each, sc.IE_QueryURR)) for each in peer.requests[before:]] == [15, 5]


def test_a_report_that_the_upf_sends_by_itself_counts(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.packet(TO_SERVER)
    (held,) = peer.sessions.values()
    with SCAPY:
        report = usage(sc.IE_UsageReport_SRR, held, 1)
        number = peer.ask(sc.PFCPSessionReportRequest(IE_list=[sc.IE_ReportType(USAR=1), report]), seid=held.cp_seid)
    until(lambda: peer.answered(number))
    assert upf.counters() == {"app/r1": Counters(1, 100)}


def test_without_counters_no_urr_is_made(peer: Peer, adapter: Make) -> None:
    upf = adapter(counters=False)
    upf.put(rule("DROP"))
    (held,) = peer.sessions.values()
    assert held.urrs == {}
    assert upf.counters() == {}
    assert not upf.capabilities().counters


def test_counters_of_lost_sessions_are_unavailable(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.restart()
    peer.heartbeat()
    until(lambda: not upf.intact())
    with pytest.raises(Unavailable, match="lost its sessions"):
        upf.counters()


# Session reports


def report(peer: Peer, seid: int, *elements: Any) -> Any:
    with SCAPY:
        number = peer.ask(sc.PFCPSessionReportRequest(IE_list=list(elements)), seid=seid)
    (answer,) = until(lambda: peer.answered(number))
    return answer


def test_buffered_traffic_that_is_reported_for_a_drop_is_acknowledged(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    (seid,) = peer.sessions
    data = sc.IE_DownlinkDataReport(IE_list=[sc.IE_PDR_Id(id=3)])
    answer = report(peer, upf.sessions[0].seid, sc.IE_ReportType(DLDR=1), data)
    assert answer.message_type == Kind.REPORT_ANSWER
    assert (answer.seid, one(answer, sc.IE_Cause).cause) == (seid, 1)
    assert upf.intact()


def test_a_report_about_a_session_that_we_do_not_have_is_refused(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    answer = report(peer, 1, sc.IE_ReportType(DLDR=1))
    assert (answer.seid, one(answer, sc.IE_Cause).cause) == (0, 65)


def test_a_report_without_its_type_is_refused(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    answer = report(peer, upf.sessions[0].seid, sc.IE_PDR_Id(id=1))
    assert one(answer, sc.IE_Cause).cause == 66


# What the UPF refuses


def no_port(port: int, cause: int = 73) -> Callable[[Any], None]:
    """Refuse every message that has a filter on this port."""

    def mood(request: Any) -> None:
        if request.message_type in (50, 52) and f" {port} " in repr(request):
            raise Refuse(cause, 3)

    return mood


def numbered(count: int) -> list[TrafficRule]:
    return [
        rule("DROP", f"app/{port}", filters=({"dstPort": [str(port)], "protocol": ["UDP"]},))
        for port in range(1, count + 1)
    ]


def test_a_rule_that_the_upf_refuses_is_told_with_its_words_and_the_others_are_in_force(
    peer: Peer, adapter: Make
) -> None:
    peer.mood = no_port(3)
    outcome = adapter().replace(numbered(5))
    assert outcome.in_force == {"app/1", "app/2", "app/4", "app/5"}
    problem = outcome.problems["app/3"]
    assert isinstance(problem, Rejected)
    assert (
        problem.detail
        == "the UPF refuses the change: rule creation or modification failure (cause 73), because of PDR 3"
    )
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 8


def test_a_refused_change_takes_the_old_rule_out(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.replace(numbered(2))
    peer.mood = no_port(3)
    with pytest.raises(Rejected, match="because of PDR 3"):
        upf.put(rule("DROP", "app/1", filters=({"dstPort": ["3"], "protocol": ["UDP"]},)))
    assert set(upf.rules()) == {"app/2"}
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 2
    assert upf.intact()


def test_a_upf_without_room_is_worth_a_retry(peer: Peer, adapter: Make) -> None:
    peer.mood = no_port(1, cause=75)
    upf = adapter()
    with pytest.raises(Unavailable, match=r"no resources available \(cause 75\)"):
        upf.put(numbered(1)[0])
    peer.mood = lambda request: None
    upf.put(numbered(1)[0])
    assert upf.intact()


def test_what_one_session_refuses_is_in_none(peer: Peer, adapter: Make) -> None:
    sessions = [
        {"ue": [f"10.45.0.{number}"], "radio": {"address": "192.0.2.7", "teid": 70 + number}} for number in (2, 3)
    ]
    upf = adapter(sessions=sessions)

    def mood(request: Any) -> None:
        if "203.0.113.5 to 10.45.0.3" in repr(request):
            raise Refuse(73)

    peer.mood = mood
    outcome = upf.replace([rule("DROP", filters=({"dstAddress": ["203.0.113.5"]},)), *numbered(1)])
    assert outcome.in_force == {"app/1"}
    assert [len(held.pdrs) for held in peer.sessions.values()] == [4, 4]


def test_a_upf_that_refuses_the_session_itself_is_told_as_that(peer: Peer, adapter: Make) -> None:
    def mood(request: Any) -> None:
        if request.message_type == 50:
            raise Refuse(69)

    peer.mood = mood
    upf = adapter()
    with pytest.raises(Rejected, match="mandatory information element incorrect"):
        upf.replace(numbered(2))
    assert upf.rules() == {}
    assert not upf.intact() or not upf.sessions[0].alive


# Messages


def test_a_whole_set_goes_in_as_few_messages_as_it_fits_into(peer: Peer, adapter: Make) -> None:
    upf = adapter(message_octets=1400)
    upf.replace(numbered(40))
    sizes = [len(each.original) for each in peer.requests if each.message_type in (50, 52)]
    assert max(sizes) <= 1400
    assert len(sizes) <= sum(sizes) // 1400 + 3
    large = adapter(message_octets=60000)
    before = len(peer.requests)
    large.replace(numbered(40))
    assert sum(each.message_type in (50, 52) for each in peer.requests[before:]) == 1


def test_a_set_that_is_in_force_sends_nothing(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.replace(numbered(3))
    before = len(peer.requests)
    assert upf.replace(numbered(3)).in_force == {"app/1", "app/2", "app/3"}
    assert len(peer.requests) == before


def test_a_rule_larger_than_a_message_goes_alone(peer: Peer, adapter: Make) -> None:
    upf = adapter(message_octets=500)
    large = rule("DROP", filters=({"dstPort": [str(port) for port in range(100, 120)], "protocol": ["UDP", "TCP"]},))
    upf.replace([*numbered(2), large])
    assert set(upf.rules()) == {"app/1", "app/2", "app/r1"}
    assert max(len(each.original) for each in peer.requests) > 1000


def test_more_rules_than_the_upf_holds_are_refused_the_lowest_priority_first(peer: Peer, adapter: Make) -> None:
    upf = adapter(most_pdrs=6)
    rules = [dataclasses.replace(each, priority=9 - at) for at, each in enumerate(numbered(3))]
    outcome = upf.replace(rules)
    assert outcome.in_force == {"app/2", "app/3"}
    assert "6" in outcome.problems["app/1"].detail
