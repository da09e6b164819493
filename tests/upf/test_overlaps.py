"""What rules do to each other is told rightly: no packet ever proves a finding wrong."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.upf.nftables import worlds
from upf_adapter.contract import TrafficRule
from upf_adapter.flows import Match, agrees, decide, families, read
from upf_adapter.overlaps import Finding, common, covers, findings, possible

dice_of = st.integers(0, 2**32).map(random.Random)
EDGE = ({"interfaceType": "IP", "dstIpAddress": "10.60.0.2"},)


def rule(key: str, priority: int, action: str = "DROP", **filter_: Any) -> TrafficRule:
    to = EDGE if action.startswith("FORWARD") else ()
    return TrafficRule(key, "FLOW", priority, (filter_,), action, to)


def told(*rules: TrafficRule) -> list[tuple[str, str, list[str]]]:
    return [(each.kind, each.rule.id, [other.id for other in each.others]) for each in findings(rules)]


def match(dice: random.Random) -> Match:
    return read(worlds.filter_(dice, dice.choice([4, 4, 6]), worlds.SMALL))


def test_a_rule_behind_a_wider_one_never_decides() -> None:
    wide = rule("a", 1, dstAddress=["203.0.113.0/24"])
    narrow = rule("b", 9, "FORWARD_DECAPSULATED", dstAddress=["203.0.113.7"], dstPort=["80"])
    assert told(wide, narrow) == [("never", "b", ["a"])]
    assert told(narrow, rule("c", 10, "FORWARD_DECAPSULATED", dstAddress=["203.0.113.7"], dstPort=["80"])) == [
        ("idle", "c", ["b"])
    ]


def test_other_values_of_what_no_packet_shows_are_not_covered() -> None:
    one, both = rule("a", 1, uri=["/a"]), rule("b", 2, "PASSTHROUGH", uri=["/b", "/a"], packetLabel="x")
    assert told(one, both) == []
    assert told(rule("b", 1, uri=["/b", "/a"]), rule("a", 2, "PASSTHROUGH", uri="/a", packetLabel="x")) == [
        ("never", "a", ["b"])
    ]


def test_two_halves_of_a_rule_may_be_taken_by_two_others() -> None:
    low = rule("low", 1, dstAddress=["203.0.113.0/25"])
    high = rule("high", 2, "PASSTHROUGH", dstAddress=["203.0.113.128/25"])
    late = TrafficRule(
        "late", "FLOW", 3, ({"dstAddress": ["203.0.113.4"]}, {"dstAddress": ["203.0.113.200"]}), "DROP", ()
    )
    assert told(low, high, late) == [("never", "late", ["low", "high"])]


def test_equal_priorities_with_different_ends_are_a_tie_with_an_example() -> None:
    one = rule("one", 5, dstAddress=["203.0.113.0/24"])
    two = rule("two", 5, "FORWARD_DECAPSULATED", dstPort=["80"])
    (found,) = findings([one, two])
    assert (found.kind, found.rule, found.others) == ("tie", two, (one,))
    assert found.example is not None
    assert decide([two, one], found.example) is one
    assert findings([one, rule("two", 6, "FORWARD_DECAPSULATED", dstPort=["80"])]) == []


def test_a_filter_that_contradicts_itself_is_told_and_takes_nothing() -> None:
    no = rule("no", 1, srcAddress=["10.0.0.1"], dstAddress=["fd00::1"])
    assert told(no, rule("b", 2, dstAddress=["fd00::1"])) == [("contradiction", "no", [])]
    assert told(rule("icmp", 1, protocol=["ICMP"], dstPort=["80"])) == [("contradiction", "icmp", [])]


def test_what_no_packet_shows_is_not_taken_for_covered() -> None:
    tagged = rule("tagged", 1, tag=["vip"], dstAddress=["203.0.113.0/24"])
    assert told(tagged, rule("plain", 2, "PASSTHROUGH", dstAddress=["203.0.113.7"])) == []
    assert covers(read({"qCI": 5}), read({"qCI": 5}))
    assert not covers(read({"qCI": 5}), read({"qCI": 6}))


@given(dice_of)
def test_a_common_packet_matches_both_and_where_there_is_none_none_does(dice: random.Random) -> None:
    for _ in range(20):
        a, b = match(dice), match(dice)
        shared = common(a, b)
        if shared is not None:
            assert agrees(a, shared)
            assert agrees(b, shared)
        else:
            packets = (worlds.packet(dice) for _ in range(20))
            assert not any(agrees(a, packet) and agrees(b, packet) for packet in packets)


@given(dice_of)
def test_what_covers_another_matches_all_that_it_matches(dice: random.Random) -> None:
    for _ in range(30):
        a, b = match(dice), match(dice)
        if not covers(a, b):
            continue
        probe = common(b, b)
        packets = [worlds.packet(dice) for _ in range(20)] + ([probe] if probe else [])
        assert all(agrees(a, packet) for packet in packets if agrees(b, packet))


@given(dice_of)
def test_a_rule_that_is_said_never_to_decide_never_does(dice: random.Random) -> None:
    rules = [worlds.rule(dice, f"r{number}") for number in range(12)]
    found: list[Finding] = findings(rules)
    silent = {each.rule.id for each in found if each.kind != "tie"}
    for _ in range(60):
        verdict = decide(rules, worlds.packet(dice, rules))
        assert verdict is None or verdict.id not in silent
    for each in found:
        if each.kind == "tie" and each.example:
            assert agrees_with(each.rule, each.example)
            assert agrees_with(each.others[0], each.example)


def agrees_with(rule: TrafficRule, packet: Any) -> bool:
    matching = any(agrees(read(each), packet) for each in rule.filters)
    return matching and packet.src.version in families(rule)


def test_everything_can_match_but_what_contradicts_itself() -> None:
    assert possible(read({}))
    assert not possible(read({"dSCP": 10}), frozenset({6}))
