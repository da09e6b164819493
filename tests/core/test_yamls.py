"""YAML that others wrote is bounded before anything is built of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import yamls
from core.errors import Invalid

BOMBS = {
    "deep flow": "[" * 100_000,
    "deep blocks": "".join(" " * level + f"k{level}:\n" for level in range(200)),
    "alias bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "contains itself": "a: &a [*a]",
    "many values": "[" + "1," * 60_000 + "1]",
    "no yaml": "a: [1, 2",
    "object": "!!python/object/apply:os.system [ls]",
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_hostile_document_is_refused_in_words(name: str) -> None:
    with pytest.raises(Invalid, match="The values"):
        yamls.load(BOMBS[name], "The values")


def test_what_is_refused_is_not_quoted() -> None:
    with pytest.raises(Invalid) as caught:
        yamls.load("password: hunter2\n  broken: [", "The file")
    assert "hunter2" not in caught.value.detail
    assert "line" in caught.value.detail


def test_an_ordinary_document_is_read() -> None:
    assert yamls.load("replicas: 2\nimage: {name: web}\n", "The values") == {"replicas": 2, "image": {"name": "web"}}


@given(st.text(max_size=200))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    with contextlib.suppress(Invalid):
        yamls.load(text, "The text")
