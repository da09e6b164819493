"""The rules: what a run comes to, and what still holds for a new release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.certification.contract import Outcome, Part
from appstore.certification.verdicts import Before, Demand, Seen, holds, judge

DEMANDS = [Demand("basic", ("a",)), Demand("standard", ("b",)), Demand("telco", ("a", "b"), "warning")]
OUTCOMES = ["", *map(str, Outcome)]
FINE = {"passed", "warned", "skipped"}


def seen(name: str = "x", outcome: str = "passed", suites: tuple[str, ...] = ("a",), **facts: Any) -> Seen:
    defaults: dict[str, Any] = {
        "version": "1", "digest": "d", "kind": "static", "options": {"n": 1}, "parts": frozenset({"chart"}),
        "suite_digests": frozenset({"s"}),
    }  # fmt: skip
    return Seen(name=name, outcome=outcome, suites=suites, **{**defaults, **facts})


def test_levels_come_one_after_the_other() -> None:
    verdict = judge([seen("x"), seen("y", suites=("b",))], DEMANDS, ["a", "b"])
    assert (verdict.passed, verdict.level, verdict.levels) == (True, "telco", ["basic", "standard", "telco"])
    verdict = judge([seen("x", "failed"), seen("y", suites=("b",))], DEMANDS, ["a", "b"])
    assert (verdict.passed, verdict.level) == (False, "")
    assert verdict.reasons == ["basic: x (failed)"]


def test_a_warning_stands_in_the_way_only_where_warnings_gate() -> None:
    verdict = judge([seen("x", "warned"), seen("y", suites=("b",))], DEMANDS, ["a", "b"])
    assert (verdict.passed, verdict.level) == (True, "standard")
    assert verdict.reasons == ["telco: x (warned)"]


def test_a_suite_that_did_not_run_gives_nothing() -> None:
    assert judge([seen("x")], DEMANDS, ["a"]).reasons == ["standard: b did not run"]


def test_checks_that_all_do_not_apply_prove_nothing() -> None:
    assert judge([seen("x", "skipped")], DEMANDS, ["a"]).level == ""


def test_a_check_can_be_left_out_of_a_level() -> None:
    demand = Demand("basic", ("a",), without=frozenset({"y"}))
    assert judge([seen("x"), seen("y", "failed")], [demand], ["a"]).level == "basic"


def test_nothing_is_no_pass() -> None:
    assert not judge([], DEMANDS, ["a"]).passed


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=6))
def test_a_level_is_never_given_beside_a_check_that_failed_broke_or_waits(outcomes: list[str]) -> None:
    verdict = judge([seen(str(n), o) for n, o in enumerate(outcomes)], DEMANDS[:1], ["a"])
    good = set(outcomes) <= FINE
    assert verdict.passed == good
    assert bool(verdict.level) == (good and bool({"passed", "warned"} & set(outcomes)))
    assert verdict.waiting == bool({"", "waiting"} & set(outcomes))


PARTS = {"chart": "1", "manifest": "2"}
ENVIRONMENT = {"breakwater": "1", "advisories": "", "values": ""}


def before(**facts: Any) -> Before:
    return Before(PARTS, ENVIRONMENT, {"x": seen(**facts)})


def test_a_result_holds_when_nothing_it_looks_at_differs() -> None:
    assert holds(seen(outcome=""), before(), {**PARTS, "manifest": "other"}, ENVIRONMENT)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "2"},
        {"digest": "other"},
        {"options": {"n": 2}},
        {"suite_digests": frozenset({"s", "t"})},
        {"suite_digests": frozenset()},
        {"parts": frozenset()},
        {"parts": frozenset({"chart", "images"})},
    ],
)
def test_a_result_holds_no_longer_when_the_check_is_another(changed: dict[str, Any]) -> None:
    assert not holds(seen(outcome="", **changed), before(), PARTS, ENVIRONMENT)


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - {"passed", "warned", "failed"}))
def test_what_was_not_found_out_is_not_carried(outcome: str) -> None:
    assert not holds(seen(outcome=""), before(outcome=outcome), PARTS, ENVIRONMENT)


def test_a_result_of_another_environment_does_not_hold() -> None:
    assert not holds(seen(outcome=""), before(), PARTS, {**ENVIRONMENT, "advisories": "new"})
    sandbox = {**ENVIRONMENT, "sandbox": {"node": "trial-1"}}
    assert holds(seen(outcome=""), before(), PARTS, sandbox)  # a static check does not notice the node
    assert not holds(seen(outcome="", kind="live"), before(kind="live"), PARTS, sandbox)


@given(
    st.dictionaries(st.sampled_from(sorted(map(str, Part))), st.sampled_from("123")),
    st.sets(st.sampled_from(sorted(map(str, Part)))),
)
def test_a_result_holds_exactly_when_every_part_of_it_is_known_and_the_same(
    now: dict[str, str], parts: set[str]
) -> None:
    old = dict.fromkeys(map(str, Part), "1")
    earlier = Before(old, ENVIRONMENT, {"x": seen(parts=frozenset(parts))})
    expected = bool(parts) and all(now.get(part) == "1" for part in parts)
    assert holds(replace(seen(outcome=""), parts=frozenset(parts)), earlier, now, ENVIRONMENT) == expected
