"""Values as people type them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from frontend.operator.values_text import LONGEST, difference, parse

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", categories=["L", "N"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.text("abcxyz", min_size=1), plain, max_size=4)


@given(mappings)
def test_json_and_yaml_are_read_as_what_was_written(values: dict[str, Any]) -> None:
    assert parse(json.dumps(values)) == values
    assert parse(yaml.safe_dump(values, allow_unicode=True)) == values


@given(mappings)
def test_nothing_differs_from_itself(values: dict[str, Any]) -> None:
    assert difference(values, values) == []


@given(mappings, mappings)
def test_a_difference_is_empty_only_for_equals(before: dict[str, Any], after: dict[str, Any]) -> None:
    def bare(value: Any) -> Any:
        # A key that holds nothing and a key that is not there are the same to Helm.
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if inner is not None and bare(inner) != {}}
        return value

    if difference(before, after) == []:
        assert bare(before) == bare(after)


@given(st.text(max_size=200))
def test_any_text_is_a_mapping_or_a_mistake(text: str) -> None:
    with suppress(Invalid):
        assert isinstance(parse(text), dict)


@pytest.mark.parametrize("text", ["", "  \n", "# only a remark", "---"])
def test_nothing_is_an_empty_mapping(text: str) -> None:
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "Line"),
        ("- one\n- two", "pairs"),
        ("just text", "pairs"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("when: 2026-01-01", "when is read as a date"),
        ("1: one", "must be text"),
        ("a: !!python/object:os.system {}", "Line 1"),
        ("a: !!binary aGk=", "bytes"),
        ("a: " + "x" * LONGEST, "longer"),
        ("[" * 5000 + "]" * 5000, "nested deeper"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested deeper"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parse(text)


def test_a_few_lines_do_not_unfold_to_gigabytes() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(Invalid, match="aliases"):
        parse(bomb)


def test_a_difference_names_the_path() -> None:
    before, after = (
        {"log": {"level": "info"}, "replicas": 1},
        {"log": {"level": "debug"}, "image": "x", "replicas": True},
    )
    assert difference(before, after) == [
        ("image", None, "x"),
        ("log.level", "info", "debug"),
        ("replicas", 1, True),
    ]
