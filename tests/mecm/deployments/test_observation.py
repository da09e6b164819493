"""What a report means: nothing is ever called ready that the node did not call ready for the present wish."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mecm.deployments.observation import Known, judge

states = st.sampled_from(["pending", "progressing", "ready", "failed", "removing", "removed", "abandoned"])
small = st.integers(min_value=0, max_value=4)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
statuses = st.fixed_dictionaries(
    {"state": st.sampled_from(["absent", "progressing", "ready", "failed", "nonsense"]) | anything},
    optional=dict.fromkeys(("reason", "message", "revision", "workloads", "endpoints"), anything),
)


def known(**facts: Any) -> Known:
    return Known(**{"wish": "present", "generation": 2, "observed_generation": 1, "state": "pending", **facts})


@settings(deadline=None)
@given(st.sampled_from(["present", "absent"]), small, small, states, small, statuses)
def test_ready_is_only_said_about_the_present_wish(
    wish: str, generation: int, seen: int, state: str, reported: int, status: dict[str, Any]
) -> None:
    verdict = judge(Known(wish, generation, min(seen, generation), state), reported, status)
    if verdict is None:
        return
    assert verdict.observed_generation == reported <= generation
    if verdict.state == "ready":
        assert (wish, reported, status["state"]) == ("present", generation, "ready")
    if verdict.state == "removed":
        assert (wish, reported, status["state"]) == ("absent", generation, "absent")


@settings(deadline=None)
@given(statuses)
def test_a_hostile_report_becomes_plain_bounded_values(status: dict[str, Any]) -> None:
    verdict = judge(known(), 2, status)
    assert verdict is not None
    assert len(verdict.reason) <= 80
    for each in (*verdict.workloads, *verdict.endpoints):
        assert all(isinstance(value, str | int) for value in each.values())


@pytest.mark.parametrize("reported", [0, 3])
def test_a_report_about_another_time_is_no_news(reported: int) -> None:
    assert judge(known(), reported, {"state": "ready"}) is None


def test_ready_at_the_old_generation_leaves_the_upgrade_pending() -> None:
    verdict = judge(known(observed_generation=1), 1, {"state": "ready", "message": "all fine"})
    assert verdict is not None
    assert (verdict.state, verdict.message, verdict.outcome) == ("pending", "", "")


def test_a_ready_deployment_that_breaks_is_ready_no_longer() -> None:
    verdict = judge(known(state="ready", observed_generation=2), 2, {"state": "progressing", "reason": "ProbeFailing"})
    assert verdict is not None
    assert (verdict.state, verdict.reason) == ("progressing", "ProbeFailing")


def test_a_release_that_vanished_is_being_brought_back() -> None:
    verdict = judge(known(state="ready", observed_generation=2), 2, {"state": "absent"})
    assert verdict is not None
    assert (verdict.state, verdict.message) == ("progressing", "the release is not on the node at the moment")


def test_absent_before_the_removal_arrived_does_not_count_as_removed() -> None:
    verdict = judge(known(wish="absent", state="removing"), 1, {"state": "absent"})
    assert verdict is not None
    assert verdict.state == "removing"


def test_trouble_while_removing_is_told_and_goes_on() -> None:
    verdict = judge(known(wish="absent", state="removing"), 2, {"state": "failed", "message": "no answer"})
    assert verdict is not None
    assert (verdict.state, verdict.message) == ("removing", "no answer")


def test_nothing_is_heard_of_what_is_gone() -> None:
    assert judge(known(wish="absent", state="removed", observed_generation=2), 2, {"state": "ready"}) is None
