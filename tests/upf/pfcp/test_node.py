"""The association, before a UPF that answers late, twice, not at all, restarts, lets go, or is not the one that speaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from scapy.contrib import pfcp as sc

from core.errors import Rejected, Unavailable
from tests.upf.pfcp.peer import SCAPY, Peer, Refuse, one
from tests.waiting import until
from upf_adapter.contract import TrafficRule
from upf_adapter.pfcp import PfcpUpf
from upf_adapter.pfcp.messages import Kind
from upf_adapter.pfcp.node import RECOVERY

Make = Callable[..., PfcpUpf]
RULE = TrafficRule("app/r1", "FLOW", 10, ({"dstAddress": ["203.0.113.5"]},), "DROP")


def counted(peer: Peer, kind: int) -> int:
    """Return how many messages of a kind came, repetitions included."""
    return sum(1 for each, _ in peer.came if each == kind)


def timestamps(peer: Peer) -> set[int]:
    """Return every Recovery Time Stamp of ours that the UPF has seen."""
    with SCAPY:
        asked = [one(each, sc.IE_RecoveryTimeStamp) for each in peer.requests if each.message_type in (1, 5)]
        told = [one(each, sc.IE_RecoveryTimeStamp) for each in peer.answers if each.message_type in (2, 6)]
    return {each.timestamp for each in asked + told}


# Repetition


def test_a_lost_request_is_sent_again_with_the_same_number(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=0.3)
    upf.replace([])
    peer.deaf = 1
    upf.put(RULE)
    assert upf.node.seen["repeated"] >= 1
    assert len({number for kind, number in peer.came if kind == Kind.MODIFY}) == 1


def test_a_lost_answer_doubles_no_rule(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=0.3)
    upf.replace([])
    before = peer.handled
    peer.mute = 2
    upf.put(RULE)
    assert counted(peer, Kind.MODIFY) >= 3
    assert len({number for kind, number in peer.came if kind == Kind.MODIFY}) == 1
    assert peer.handled == before + 1
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 2


def test_a_lost_answer_to_the_establishment_makes_no_second_session(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=0.3)
    upf.ping()
    peer.mute = 1
    upf.put(RULE)
    assert counted(peer, Kind.ESTABLISH) >= 2
    assert len(peer.sessions) == 1


def test_after_n1_repetitions_the_upf_is_unavailable(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=0.3, n1=2)
    upf.replace([])
    peer.mute = 1 << 30
    with pytest.raises(Unavailable, match="does not answer"):
        upf.put(RULE)
    assert counted(peer, Kind.MODIFY) == 3
    assert not upf.intact()
    assert upf.rules() == {}


def test_a_slow_upf_is_waited_for(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=0.2, n1=9)
    upf.replace([])
    peer.slow = 0.25
    upf.put(RULE)
    peer.slow = 0
    assert set(upf.rules()) == {"app/r1"}
    assert upf.intact()
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 2


def test_an_answer_that_comes_twice_counts_once(peer: Peer, adapter: Make) -> None:
    peer.twice = True
    upf = adapter()
    upf.put(RULE)
    upf.delete("app/r1")
    until(lambda: upf.node.seen["late"] >= 3)
    assert upf.intact()


def test_an_answer_that_cannot_be_read_is_not_the_answer(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.replace([])
    peer.garbage_first = True
    upf.put(RULE)
    assert upf.node.seen["malformed"] >= 1
    assert set(upf.rules()) == {"app/r1"}


def test_numbers_go_round_at_24_bits(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.node._sequence = 0xFFFFFE
    upf.put(RULE)
    upf.ping()
    assert [number for _, number in peer.came] == [0xFFFFFF, 0, 1]


def test_nothing_is_sent_before_something_is_asked(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    assert upf.intact()
    assert upf.rules() == upf.counters() == {}
    upf.delete("app/never")
    assert peer.came == []


# Heartbeats


def test_a_heartbeat_is_answered_with_the_one_time_stamp_of_this_process(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.ping()
    for _ in range(3):
        number = peer.heartbeat()
        until(lambda number=number: peer.answered(number))
    other = adapter()
    other.ping()
    assert timestamps(peer) == {RECOVERY}


def test_a_heartbeat_that_comes_twice_gets_the_same_answer(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.ping()
    for _ in range(2):
        peer.heartbeat(sequence=4711)
    first, second = until(lambda: peer.answered(4711) if len(peer.answered(4711)) == 2 else None)
    assert bytes(first) == bytes(second)
    assert upf.node.seen["duplicates"] == 1


def test_we_send_heartbeats_of_our_own(peer: Peer, adapter: Make) -> None:
    upf = adapter(heartbeat=0.05)
    upf.put(RULE)
    until(lambda: counted(peer, Kind.HEARTBEAT) >= 3)
    assert upf.intact()


def test_a_upf_that_leaves_heartbeats_unanswered_has_lost_us(peer: Peer, adapter: Make) -> None:
    upf = adapter(heartbeat=0.05, t1=0.3, n1=3)
    upf.put(RULE)
    peer.mute = 1 << 30
    until(lambda: not upf.intact())
    assert upf.rules() == {}
    peer.mute = 0
    assert upf.replace([RULE]).in_force == {"app/r1"}
    assert upf.intact()


def test_a_restart_shows_in_the_answer_to_our_heartbeat(peer: Peer, adapter: Make) -> None:
    upf = adapter(heartbeat=0.05)
    upf.put(RULE)
    peer.restart()
    until(lambda: not upf.intact())
    upf.put(TrafficRule("app/r2", "FLOW", 11, RULE.filters, "PASSTHROUGH"))
    assert set(upf.rules()) == {"app/r1", "app/r2"}, "the rules that were lost are put again with the next one"
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 4


def test_a_restart_is_told_from_a_repetition_even_when_the_upf_counts_from_the_start(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    peer.heartbeat(sequence=1)
    until(lambda: peer.answered(1))
    peer.restart()
    peer.heartbeat(sequence=1)
    until(lambda: not upf.intact())


def test_a_restart_that_nobody_told_shows_with_the_next_change(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    peer.restart()
    upf.put(TrafficRule("app/r2", "FLOW", 11, RULE.filters, "PASSTHROUGH"))
    assert set(upf.rules()) == {"app/r1", "app/r2"}
    assert upf.intact()


def test_a_session_that_the_upf_lost_alone_is_made_anew(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    peer.sessions.clear()
    upf.put(TrafficRule("app/r2", "FLOW", 11, RULE.filters, "PASSTHROUGH"))
    assert set(upf.rules()) == {"app/r1", "app/r2"}
    assert counted(peer, Kind.SETUP) == 1


# Association by the UPF


def setup(peer: Peer) -> int:
    with SCAPY:
        return peer.ask(
            sc.PFCPAssociationSetupRequest(
                IE_list=[
                    sc.IE_NodeId(id_type=2, id="upf.edge.example"),
                    sc.IE_RecoveryTimeStamp(timestamp=peer.recovery),
                ]
            )
        )


def test_a_upf_may_set_up_the_association(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    peer.restart()
    peer.associated = "127.0.0.1"
    number = setup(peer)
    (answer,) = until(lambda: peer.answered(number))
    assert one(answer, sc.IE_Cause).cause == 1
    assert one(answer, sc.IE_RecoveryTimeStamp).timestamp == RECOVERY
    assert not upf.intact(), "a new association has no sessions"
    upf.replace([RULE])
    assert counted(peer, Kind.SETUP) == 1, "the association of the UPF is used"
    assert upf.ping().startswith("UPF upf.edge.example by PFCP")


def test_a_upf_may_release_the_association(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    with SCAPY:
        number = peer.ask(sc.PFCPAssociationReleaseRequest(IE_list=[sc.IE_NodeId(id_type=0, ipv4="127.0.0.1")]))
    (answer,) = until(lambda: peer.answered(number))
    assert one(answer, sc.IE_Cause).cause == 1
    assert not upf.intact()
    upf.replace([RULE])
    assert counted(peer, Kind.SETUP) == 2


def test_a_upf_that_asks_to_be_released_is_released(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    with SCAPY:
        wish = sc.IE_PFCPAssociationReleaseRequest(SARR=1)
        number = peer.ask(sc.PFCPAssociationUpdateRequest(IE_list=[sc.IE_NodeId(id_type=0, ipv4="127.0.0.1"), wish]))
    until(lambda: peer.answered(number))
    until(lambda: counted(peer, Kind.RELEASE) == 1)
    until(lambda: not peer.sessions)
    assert not upf.intact()


def test_we_can_release_the_association(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    upf.node.release()
    assert peer.associated is None
    assert not upf.intact()


def test_closing_leaves_the_rules(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.put(RULE)
    upf.close()
    assert counted(peer, Kind.RELEASE) == counted(peer, Kind.DELETE) == 0
    assert len(peer.sessions) == 1


def test_a_node_report_is_answered(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.ping()
    with SCAPY:
        number = peer.ask(sc.PFCPNodeReportRequest(IE_list=[sc.IE_NodeId(id_type=0, ipv4="127.0.0.1")]))
    (answer,) = until(lambda: peer.answered(number))
    assert one(answer, sc.IE_Cause).cause == 1


def test_a_request_of_another_version_is_told_ours(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.ping()
    assert peer._cp
    peer._socket.sendto(b"\x40\x05\x00\x04\x00\x00\x07\x00", peer._cp)
    (answer,) = until(lambda: peer.answered(7))
    assert answer.message_type == Kind.VERSION_ANSWER


def test_an_association_that_is_refused_says_why(peer: Peer, adapter: Make) -> None:
    def no(request: Any) -> None:
        raise Refuse(76)

    peer.mood = no
    with pytest.raises(Rejected, match=r"service not supported \(cause 76\)"):
        adapter().ping()


def test_a_busy_port_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        from tests.upf.pfcp.conftest import options
        from upf_adapter import create

        upf = create("pfcp", options(bind_port=taken.getsockname()[1]))
        with pytest.raises(Unavailable, match="cannot be used for N4"):
            upf.ping()
        upf.close()


# Strangers


@pytest.mark.parametrize("stranger", ["127.0.0.2", "127.0.0.1"])
def test_a_stranger_changes_nothing_and_is_not_answered(peer: Peer, adapter: Make, stranger: str) -> None:
    """Another address is no UPF of ours; another port of its address may ask, but not answer."""
    upf = adapter()
    upf.put(RULE)
    port = upf.node.address[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, SCAPY:
        other.bind((stranger, 0))
        node = sc.IE_NodeId(id_type=0, ipv4=stranger)
        lies = [
            sc.PFCP(version=1, S=1, seid=upf.sessions[0].seid, seq=number)
            / sc.PFCPSessionModificationResponse(IE_list=[sc.IE_Cause(cause=65)])
            for number in range(upf.node._sequence, upf.node._sequence + 20)
        ]
        if stranger != "127.0.0.1":
            lies += [
                sc.PFCP(version=1, S=0, seq=1)
                / sc.PFCPHeartbeatRequest(IE_list=[sc.IE_RecoveryTimeStamp(timestamp=1)]),
                sc.PFCP(version=1, S=0, seq=2) / sc.PFCPAssociationReleaseRequest(IE_list=[node]),
            ]
        for each in lies:
            other.sendto(bytes(each), ("127.0.0.1", port))
        kind = "strangers" if stranger != "127.0.0.1" else "late"
        until(lambda: upf.node.seen[kind] >= len(lies))
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(100)
    upf.put(TrafficRule("app/r2", "FLOW", 11, RULE.filters, "PASSTHROUGH"))
    assert upf.intact()
    assert counted(peer, Kind.SETUP) == counted(peer, Kind.ESTABLISH) == 1


def test_an_answer_from_another_port_is_none_even_with_the_right_number(peer: Peer, adapter: Make) -> None:
    upf = adapter(t1=1.0)
    upf.replace([])
    peer.deaf = 1
    putting = threading.Thread(target=upf.put, args=(RULE,))
    putting.start()
    (number,) = until(lambda: list(upf.node._tries))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, SCAPY:
        lie = sc.PFCP(version=1, S=1, seid=upf.sessions[0].seid, seq=number)
        lie /= sc.PFCPSessionModificationResponse(IE_list=[sc.IE_Cause(cause=1)])
        other.sendto(bytes(lie), ("127.0.0.1", upf.node.address[1]))
    until(lambda: upf.node.seen["late"] == 1)
    putting.join(20)
    (held,) = peer.sessions.values()
    assert len(held.pdrs) == 2 + 2, "the lie was not taken for the answer of the UPF"


def test_the_answers_that_are_kept_do_not_grow(peer: Peer, adapter: Make) -> None:
    upf = adapter()
    upf.ping()
    with SCAPY:
        beat = bytearray(bytes(sc.PFCP(version=1, S=0) / sc.PFCPHeartbeatRequest(
            IE_list=[sc.IE_RecoveryTimeStamp(timestamp=peer.recovery)])))  # fmt: skip
    assert peer._cp
    for number in range(600):
        beat[4:7] = number.to_bytes(3, "big")
        peer._socket.sendto(beat, peer._cp)
        if number % 50 == 49:
            until(lambda number=number: peer.answered(number))
    assert len(upf.node._kept) <= 256
