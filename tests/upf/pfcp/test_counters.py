"""What the UPF tells: counters that agree with the packets, and reports that it sends by itself."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.contrib import pfcp as sc

from core.errors import Unavailable
from tests.upf.pfcp.making import ELSEWHERE, FROM_SERVER, TO_SERVER, Make, rule
from tests.upf.pfcp.peer import SCAPY, Peer, Refuse, every, one, usage
from tests.waiting import until
from upf_adapter.contract import Counters
from upf_adapter.pfcp.messages import Kind


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
    upf = adapter(t1=0.3)
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


def test_a_upf_that_counts_no_packets_is_not_asked_to(peer: Peer, adapter: Make) -> None:
    """MNOP is one of its features or it is not."""
    for features, asked in ((b"\x10\x00\x10\x00", 1), (b"\x10\x00\x00\x00", 0)):
        peer.features = features
        peer.requests.clear()
        adapter().put(rule("DROP"))
        (request,) = [each for each in peer.requests if each.message_type == Kind.ESTABLISH]
        (urr,) = every(request, sc.IE_CreateURR)
        assert len(every(urr, sc.IE_MeasurementInformation)) == asked


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


def test_counters_that_find_the_session_gone_tell_of_it(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(rule("DROP"))
    peer.sessions.clear()
    with pytest.raises(Unavailable, match="session context not found"):
        upf.counters()
    assert not upf.intact()
    upf.replace([rule("DROP")])
    assert upf.counters() == {"app/r1": Counters(0, 0)}


@pytest.mark.parametrize("cause", [0, 3])
def test_an_answer_without_sense_ends_the_session_at_both_ends(peer: Peer, adapter: Make, cause: int) -> None:
    """Accepted in part, or no cause at all: what the UPF holds now is not known, so it is made anew."""
    upf = adapter()
    upf.put(rule("DROP"))
    (before,) = peer.sessions
    answered = []

    def mood(request: Any) -> None:
        if request.message_type == 52 and not answered:
            answered.append(request)
            raise Refuse(cause)

    peer.mood = mood
    upf.put(rule("PASSTHROUGH", "app/r2"))
    assert upf.intact()
    assert set(upf.rules()) == {"app/r1", "app/r2"}
    assert len(peer.sessions) == 1
    assert before not in peer.sessions


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
