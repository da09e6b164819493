"""What a person may give a chart as values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid, TooLarge
from mecm.deployments import values

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), plain, max_size=3))
def test_plain_values_come_back_as_they_were(given_values: dict[str, Any]) -> None:
    assert values.check(given_values) == given_values


def nested(levels: int) -> dict[str, Any]:
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    return deep


@pytest.mark.parametrize(
    "wrong",
    [
        ["a list"],
        "text",
        None,
        {"global": {"mep": {"clientId": "mine"}}},
        {"a": "nul\x00"},
        {"nul\x00": 1},
        {"a": "\ud800"},
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": 2**64},
        nested(40),
        nested(50_000),
    ],
    ids=range(12),
)
def test_what_a_chart_cannot_take_is_refused(wrong: Any) -> None:
    with pytest.raises(Invalid):
        values.check(wrong)


def test_values_are_small() -> None:
    with pytest.raises(TooLarge):
        values.check({"a": "x" * values.LARGEST})


def test_other_globals_are_the_users_own() -> None:
    assert values.check({"global": {"region": "north"}}) == {"global": {"region": "north"}}
