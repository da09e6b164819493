"""How far a recall got: decided from facts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mecm.recalls.progress import Facts, Standing, counts, standing

RUNS = Facts("stop", recalled_still=True, state="ready", reason="", current=True, linked=True, told=False)
DONE, UNDER_WAY, DARK = Standing.DONE, Standing.UNDER_WAY, Standing.DARK


@pytest.mark.parametrize(
    ("changes", "expected", "what"),
    [
        ({}, UNDER_WAY, "is being stopped"),
        ({"linked": False}, DARK, "may still run"),
        ({"state": "failed", "reason": "recalled"}, DONE, "stopped"),
        ({"state": "failed", "reason": "recalled", "linked": False}, DONE, "stopped"),
        ({"state": "failed", "reason": "CrashLoop"}, UNDER_WAY, "is being stopped"),
        ({"state": "failed", "reason": "recalled", "current": False}, UNDER_WAY, "is being stopped"),
        ({"state": "removed"}, DONE, "removed"),
        ({"recalled_still": False}, DONE, "runs another release"),
        ({"recalled_still": False, "current": False}, UNDER_WAY, "is being stopped"),
        ({"recalled_still": False, "current": False, "linked": False}, DARK, "may still run"),
        ({"recalled_still": False, "state": "progressing"}, UNDER_WAY, "is being stopped"),
        ({"action": "warn"}, UNDER_WAY, "is being told"),
        ({"action": "warn", "told": True}, DONE, "told"),
        ({"told": True}, UNDER_WAY, "is being stopped"),
    ],
)
def test_one_place(changes: dict[str, object], expected: Standing, what: str) -> None:
    assert standing(replace(RUNS, **changes)) == (expected, what)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Standing))))
def test_every_node_is_counted_once_and_is_as_far_as_its_last_deployment(places: list[tuple[int, Standing]]) -> None:
    found = counts(places)
    assert found.total == len({node for node, _ in places}) == found.done + found.under_way + found.dark
    assert found.dark == len({node for node, how in places if how is DARK})
    assert found.finished == all(how is DONE for _, how in places)


def test_the_sum_in_words() -> None:
    assert str(counts([(1, DONE), (2, DONE), (3, DARK)])) == "2 of 3 done, 1 dark"
    assert str(counts([(1, DONE), (1, UNDER_WAY)])) == "0 of 1 done, 1 under way"
    assert str(counts([])) == "runs nowhere"
