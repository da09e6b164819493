"""What the UPF refuses, and how a set of rules is cut into messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Rejected, Unavailable
from tests.upf.pfcp.making import Make, rule
from tests.upf.pfcp.peer import Peer, Refuse
from upf_adapter.contract import TrafficRule


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
