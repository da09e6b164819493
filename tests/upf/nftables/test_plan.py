"""The compiled layout means what the rules mean: it is held against `flows.decide`, whole and changed step by step."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from tests.upf.nftables import worlds
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.flows import decide
from upf_adapter.nftables import CAPABILITIES
from upf_adapter.nftables.examples import Examples
from upf_adapter.nftables.lowering import Clause, lower
from upf_adapter.nftables.plan import Delta, Element, Jump, Plan, difference, is_single, is_small, moving

seeds = st.integers(0, 2**32).map(random.Random)


def compiled(rules: list[TrafficRule]) -> dict[str, tuple[Clause, ...]]:
    return {rule.id: lower(rule, CAPABILITIES, "nftables") for rule in rules}


def code(clause: Clause) -> bytes:
    return repr((clause.order, clause.test, clause.verdict)).encode()


def plans(clauses: dict[str, tuple[Clause, ...]]) -> dict[int, Plan]:
    return {
        family: Plan([c for each in clauses.values() for c in each if c.family == family], code) for family in (4, 6)
    }


def never_missed(old: set[Element], delta: Delta) -> None:
    """Check what a packet finds that looks for a single address before a switch and for an interval after it."""
    new = (old - delta.gone_elements) | delta.elements
    before = {first: name for first, _, name in filter(is_single, old)}
    kept = {first: name for first, _, name in moving(delta)}
    after = {first: name for first, _, name in filter(is_single, new)}
    assert not kept.keys() & before.keys(), "the kernel takes an address once"
    wide = [sorted(each for each in found if not is_single(each)) for found in (old, new)]

    def led(found: list[Element], address: int) -> str:
        return next((name for first, last, name in found if first <= address <= last), "")

    for address in {edge + by for first, last, _ in (*old, *new) for edge in (first, last) for by in (-1, 0, 1)}:
        was = before.get(address) or led(wide[0], address)
        assert kept.get(address, was) == was, "what is put beforehand changes nothing"
        late = before.get(address) or kept.get(address) or led(wide[1], address)
        assert late in (was, after.get(address) or led(wide[1], address))


def world(dice: random.Random, most: int = 25) -> list[TrafficRule]:
    found = []
    for n in range(dice.randint(0, most)):
        rule = worlds.rule(dice, f"app-{n % 5}/r{n}")
        try:
            lower(rule, CAPABILITIES, "nftables")
        except Invalid:
            continue
        found.append(rule)
    return found


def agree(rules: list[TrafficRule], made: dict[int, Plan], dice: random.Random, count: int = 30) -> None:
    for _ in range(count):
        packet = worlds.packet(dice, rules)
        judged = decide(rules, packet)
        found = made[packet.src.version].decide(packet)
        assert (found and found.rule) == (judged and judged.id), packet


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_the_layout_decides_as_the_rules_say(dice: random.Random) -> None:
    rules = world(dice)
    agree(rules, plans(compiled(rules)), dice)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_change_step_by_step_leads_to_the_layout_made_at_once(dice: random.Random) -> None:
    rules = {rule.id: rule for rule in world(dice)}
    clauses = compiled(list(rules.values()))
    made = plans(clauses)
    kernel = {family: (dict(plan.chains), set(plan.elements())) for family, plan in made.items()}
    for _ in range(6):
        rule = worlds.rule(dice, dice.choice([*rules, "new/1", "new/2"]))
        try:
            come = () if dice.random() < 0.3 else lower(rule, CAPABILITIES, "nftables")
        except Invalid:
            continue
        gone = clauses.get(rule.id, ())
        if not is_small(*gone, *come):
            continue
        for family, plan in made.items():
            delta = plan.change(*([c for c in each if c.family == family] for each in (gone, come)))
            chains, elements = kernel[family]
            assert not delta.chains.keys() & chains.keys()
            chains |= delta.chains
            assert delta.gone_elements <= elements
            never_missed(elements, delta)
            elements = (elements - delta.gone_elements) | delta.elements
            for name in delta.gone_chains:
                del chains[name]
            kernel[family] = chains, elements
        rules.pop(rule.id, None)
        clauses.pop(rule.id, None)
        if come:
            rules[rule.id], clauses[rule.id] = rule, come
        fresh = plans(clauses)
        for family in (4, 6):
            chains, elements = kernel[family]
            assert elements == set(fresh[family].elements()) == set(made[family].elements())
            assert chains.keys() >= fresh[family].chains.keys()
            assert all(chains[name] == made[family].chains[name] for name in made[family].chains)
            leading = {name for *_, name in elements}
            unled = chains.keys() - fresh[family].chains.keys()
            assert not unled & leading
        agree(list(rules.values()), made, dice, 10)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_the_difference_of_two_layouts_turns_one_into_the_other(dice: random.Random) -> None:
    old, new = plans(compiled(world(dice)))[4], plans(compiled(world(dice)))[4]
    delta = difference(old, new)
    assert (set(old.elements()) - delta.gone_elements) | delta.elements == set(new.elements())
    chains = dict(old.chains)
    for name, steps in delta.chains.items():
        assert all(step.chain in chains for step in steps if isinstance(step, Jump)), "jumps lead to what is there"
        chains[name] = steps
    for name in delta.gone_chains:
        users = [each for each, steps in chains.items() if Jump(name) in steps]
        assert not users, "who jumps goes first"
        del chains[name]
    assert chains.keys() == new.chains.keys()


def many(count: int, **more: Any) -> list[TrafficRule]:
    """Return rules of one address each, and some without a destination among them."""
    rules = [
        TrafficRule(
            f"a/{n:05}", "FLOW", 100, ({"dstAddress": [f"203.{n >> 8}.{n & 255}.1"], "dstPort": ["80"]},), "DROP"
        )
        for n in range(count)
    ]
    anywhere = [
        TrafficRule(f"a/{n * count // 20:05}x", "FLOW", 100, ({"dstPort": [str(5000 + n)]},), "DROP") for n in range(20)
    ]
    return rules + anywhere


def test_rules_without_a_destination_are_not_copied_into_every_chain() -> None:
    plan = plans(compiled(many(2000)))[4]
    steps = sum(len(chain) for chain in plan.chains.values())
    assert len(plan.intervals) == 2000
    assert steps < 2000 * 6, "a chain holds its own clause and a few jumps"


def test_equal_lists_of_rules_share_one_chain() -> None:
    spread = TrafficRule("a/1", "FLOW", 1, ({"dstAddress": [f"203.0.113.{n}" for n in range(1, 99, 2)]},), "DROP")
    plan = plans(compiled([spread]))[4]
    assert len(plan.intervals) == 49
    assert len(plan.chains) == 1


def test_nested_jumps_stay_within_what_the_kernel_allows() -> None:
    rules = [TrafficRule(f"a/{n:04}", "FLOW", 1, ({"dstPort": [str(n + 1)]},), "DROP") for n in range(1500)]
    plan = plans(compiled(rules))[4]

    def depth(name: str) -> int:
        return 1 + max((depth(step.chain) for step in plan.chains[name] if isinstance(step, Jump)), default=0)

    assert depth(plan.fallback) <= 8


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"action": "FORWARD_ENCAPSULATED"}, "FORWARD_DECAPSULATED"),
        ({"destinations": ({"interfaceType": "IP", "dstIpAddress": "224.0.0.1"},)}, "can be sent to"),
        ({"destinations": ({"interfaceType": "IP", "dstIpAddress": "app"},)}, "no address"),
        ({"destinations": ({"interfaceType": "IP"},)}, "no address"),
        ({"destinations": ({"interfaceType": "IP", "dstIpAddress": "fd60::2"},)}, "different address families"),
        (
            {
                "action": "DUPLICATE_DECAPSULATED",
                "destinations": tuple({"interfaceType": "IP", "dstIpAddress": a} for a in ("10.60.0.2", "fd60::2")),
            },
            "IPv4 and an IPv6",
        ),
        ({"filters": ({"dstAddress": [f"10.0.{n}.1" for n in range(256)] + ["10.1.0.1"]},)}, "at most 256 values"),
        ({"filters": ({"dstAddress": ["10.0.0.1"]},) * 65}, "at most 64 filters"),
    ],
)
def test_what_the_kernel_cannot_do_is_refused_with_the_reason(changes: dict[str, Any], says: str) -> None:
    plain = {
        "filter_type": "FLOW",
        "priority": 1,
        "filters": ({"dstAddress": ["203.0.113.1"]},),
        "action": "FORWARD_DECAPSULATED",
        "destinations": ({"interfaceType": "IP", "dstIpAddress": "10.60.0.2"},),
    }
    lower(TrafficRule("a/1", **plain), CAPABILITIES, "nftables")
    with pytest.raises((Refused, Invalid), match=says):
        lower(TrafficRule("a/1", **{**plain, **changes}), CAPABILITIES, "nftables")


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_a_rule_lowered_by_example_is_what_it_is_by_itself(dice: random.Random) -> None:
    examples = Examples(CAPABILITIES, "nftables")
    seen = [worlds.rule(dice, f"a/{n}") for n in range(6)]
    # The same again, each with the destination and priority of another.
    for n, (one, other) in enumerate([*zip(seen, seen, strict=True), *itertools.product(seen, repeat=2)]):
        filters = tuple({**each, **only(other, "dstAddress")} for each in one.filters)
        rule = dataclasses.replace(one, id=f"b/{n}", priority=other.priority, filters=filters)
        assert outcome(examples.lower, rule) == outcome(lambda r: lower(r, CAPABILITIES, "nftables"), rule)


def only(rule: TrafficRule, member: str) -> dict[str, Any]:
    return {member: rule.filters[0][member]} if member in rule.filters[0] else {}


def outcome(how: Callable[[TrafficRule], tuple[Clause, ...]], rule: TrafficRule) -> Any:
    try:
        return [msgspec.structs.astuple(clause) for clause in how(rule)]
    except Invalid as problem:
        return type(problem), problem.detail
