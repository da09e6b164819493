"""A form made of a values schema: what is drawn, what stands in it, what it means. No database, no chart."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from frontend.values import merging, typed
from frontend.values.fields import DEEPEST, MOST, Field, Tree, tree
from frontend.values.merging import UNSET, merged, overriding, pruned
from frontend.values.sides import side_by_side
from mecm.deployments import secrecy

#: Enough to find what a careless change breaks; `VALUES_EXAMPLES=2000` looks longer.
MANY = int(os.environ.get("VALUES_EXAMPLES", "25"))
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=12)
NAMES = st.sampled_from(["a", "b/c", "d~e", "f.g", "h i", "ü"])
WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | WHOLE
PLAIN = st.recursive(
    st.booleans() | WHOLE | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


def one(schema: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any, Any]]:
    """A schema with what the chart has (or nothing) and what is wanted."""
    return st.tuples(st.just(schema), values | st.just(UNSET), values)


LISTS = st.sampled_from(
    [("string", TEXT), ("integer", WHOLE), ("number", NUMBERS), ("boolean", st.booleans())]
).flatmap(lambda pair: one({"type": "array", "items": {"type": pair[0]}}, st.lists(pair[1], max_size=3)))
LEAVES = st.one_of(
    one({"type": "string"}, TEXT),
    one({"type": "integer"}, WHOLE),
    one({"type": "number"}, NUMBERS),
    one({"type": "boolean"}, st.booleans()),
    one({"enum": ["a", 1, True, 1.5]}, st.sampled_from(["a", 1, True, 1.5])),
    one({"oneOf": [{"type": "string"}, {"type": "object"}]}, PLAIN),
    one({"type": "object", "additionalProperties": {}}, st.dictionaries(NAMES, PLAIN, max_size=2)),
    LISTS,
)


def grouped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def together(parts: dict[str, tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
        return (
            {"type": "object", "properties": {name: part[0] for name, part in parts.items()}},
            {name: part[1] for name, part in parts.items() if part[1] is not UNSET},
            {name: part[2] for name, part in parts.items()},
        )

    return st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(together)


CASES = grouped(st.recursive(LEAVES, grouped, max_leaves=6))


def told(least: Any, fields: Tree) -> Any:
    """What a form can say of an override: a field that is left empty says nothing, unless the chart has a text there."""
    for field in fields.leaves():
        if field.kind == "text" and field.own is UNSET and merging.at(least, field.path) == "":
            least = merging.placed(least, field.path, UNSET)
    return least


@given(CASES)
@example(({"properties": {"a": {"type": "object", "additionalProperties": {}}}}, {"a": {"b": []}}, {"a": {}}))
@settings(max_examples=MANY)
def test_what_a_form_shows_is_read_again_as_the_same_values(case: tuple[Any, Any, Any]) -> None:
    schema, own, wanted = case
    drawn = tree(schema, own)
    # What is wanted is a whole, not an override: what it lacks of the chart's own, Helm takes away only for a null.
    least = overriding(own, wanted) or {}
    found, problems = typed.read(drawn, typed.write(drawn, own, least), own, {})
    assert problems == {}
    assert merging.same(merged(own, found), merged(own, told(least, drawn)))


@given(CASES, st.dictionaries(NAMES, PLAIN | st.none() | st.text(max_size=5), max_size=3))
@settings(max_examples=MANY)
def test_what_nobody_touched_stays_exactly_as_it_was_also_where_it_does_not_fit(case: Any, present: Any) -> None:
    schema, own, _ = case
    drawn = tree(schema, own)
    sent = {name: text.replace("\n", "\r\n") for name, text in typed.write(drawn, own, present).items()}
    assert typed.read(drawn, sent, own, present) == (present, {})


@given(st.dictionaries(NAMES, PLAIN, max_size=3), st.dictionaries(NAMES, PLAIN, max_size=3))
@settings(max_examples=MANY)
def test_the_least_override_makes_one_of_the_other(own: Any, wanted: Any) -> None:
    least = overriding(own, wanted)
    assert merging.same(merged(own, {} if least is UNSET else least), wanted)
    assert merging.same(merged(own, pruned(least or {}, own)), wanted)


def test_what_was_pinned_before_stays_although_the_chart_has_it_by_itself() -> None:
    own, given_now = {"a": 1, "b": 2, "c": {"d": 3}}, {"a": 1, "b": 2, "c": {"d": 3}}
    assert pruned(given_now, own) == {}
    assert pruned(given_now, own, {"a": 1, "b": 9, "c": {"d": 3}}) == {"a": 1, "c": {"d": 3}}


def only(schema: dict[str, Any], own: Any = UNSET) -> Field:
    root = {"type": "object", "properties": {"it": schema}, "definitions": {"loop": {"$ref": "#/definitions/loop"}}}
    (field,) = tree(root, {} if own is UNSET else {"it": own}).fields
    return field


@pytest.mark.parametrize(
    ("schema", "kind", "why"),
    [
        ({"type": "string", "maxLength": 3}, "text", ""),
        ({"type": ["string", "null"]}, "text", ""),
        ({"enum": ["a", 1]}, "choice", ""),
        ({"const": 4}, "choice", ""),
        ({"type": "array", "items": {"type": "integer"}}, "list", ""),
        ({"type": "object", "properties": {"x": {"type": "string"}}}, "group", ""),
        ({"type": "array", "items": {"type": "object"}}, "yaml", "more than single values"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "yaml", "names are free"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "yaml", "alternatives"),
        ({"type": ["string", "integer"]}, "yaml", "More than one type"),
        ({"enum": list(range(500))}, "yaml", "too many choices"),
        ({"$ref": "#/definitions/loop"}, "yaml", "does not say what this is"),
        ({"$ref": "http://192.0.2.1/x"}, "yaml", "does not say what this is"),
        ({"$ref": "#/definitions/nowhere"}, "yaml", "does not say what this is"),
        (True, "yaml", "does not say what this is"),
        (
            {"type": 7, "title": [], "description": {}, "required": "x", "properties": 3, "enum": 5},
            "yaml",
            "does not say",
        ),
    ],
)
def test_what_can_be_drawn_is_and_what_cannot_says_why(schema: Any, kind: str, why: str) -> None:
    field = only(schema)
    assert field.kind == kind
    assert why in field.why
    assert bool(why) == bool(field.why)


def test_without_a_schema_the_fields_are_read_off_the_charts_own_values() -> None:
    own = {"replicas": 1, "ratio": 0.5, "on": True, "image": {"tag": "v1"}, "hosts": ["a"], "env": {}, "rules": [{}]}
    drawn = tree({}, own)
    kinds = {field.label: field.kind for field in drawn.leaves()}
    assert drawn.derived
    assert kinds == {
        "replicas": "integer", "ratio": "number", "on": "boolean", "image.tag": "text", "hosts": "list",
        "env": "yaml", "rules": "yaml",
    }  # fmt: skip


def test_values_that_the_schema_forgot_get_fields_too_unless_it_forbids_them() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": "string"}}}
    own = {"a": "x", "b": 1}
    assert [(field.label, field.derived) for field in tree(schema, own).leaves()] == [("a", False), ("b", True)]
    strict = {**schema, "additionalProperties": False}
    assert [field.label for field in tree(strict, own).leaves()] == ["a"]


@pytest.mark.parametrize(
    ("schema", "text", "words"),
    [
        ({"type": "integer"}, "many", "whole number"),
        ({"type": "integer"}, "1.5", "whole number"),
        ({"type": "integer"}, "9" * 20, "64 bits"),
        ({"type": "integer"}, "9" * 5000, "whole number"),
        ({"type": "number"}, "nan", "must be a number"),
        ({"type": "number"}, "1e999", "too large"),
        ({"type": "boolean"}, "maybe", "true or false"),
        ({"enum": ["a", 1]}, "true", "one of the list"),
        ({"type": "string"}, "a\x00b", "NUL"),
        ({"type": "string"}, "a\x1b[31m", "cannot be seen"),
        ({"type": "array", "items": {"type": "integer"}}, "1\nx", "Line 2"),
        ({"type": "array", "items": {"type": "string"}}, '"a', "double quote"),
        ({"oneOf": []}, "a: [", "Line 2, column"),
        ({"oneOf": []}, "&a [*a]", "aliases"),
        ({"type": "string"}, "x" * 70_000, "KiB"),
    ],
)
def test_nonsense_is_told_and_not_guessed_at(schema: Any, text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        typed.meant(only(schema), text)


def test_an_emptied_field_is_the_charts_own_again_but_an_emptied_text_is_empty() -> None:
    own = {"n": 3, "t": "x", "l": ["a"]}
    schema = {"properties": {"n": {"type": "integer"}, "t": {"type": "string"},
                             "l": {"type": "array", "items": {"type": "string"}}}}  # fmt: skip
    found, problems = typed.read(tree(schema, own), {"v/n": "", "v/t": "", "v/l": ""}, own, {"n": 5})
    assert (found, problems) == ({"t": "", "l": []}, {})


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        made = {"type": "object", "properties": {"x": made}}
    return made


def fanned() -> dict[str, Any]:
    """Thirty levels that each unfold ten times: more groups than atoms."""
    definitions = {
        f"d{level}": {"type": "object", "properties": {name: {"$ref": f"#/definitions/d{level + 1}"} for name in "abcdefghij"}}
        for level in range(30)
    }  # fmt: skip
    return {"properties": {"top": {"$ref": "#/definitions/d0"}}, "definitions": definitions}


def hollow() -> dict[str, Any]:
    made: Any = False
    definitions = {}
    for level in range(9):
        definitions[f"d{level}"] = {"properties": dict.fromkeys("abcdefghijklmnop", made)}
        made = {"$ref": f"#/definitions/d{level}"}
    return {"properties": {"top": made}, "definitions": definitions}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"f{number}": {"type": "string"} for number in range(5000)}},
        deep(900),
        fanned(),
        hollow(),
        {"$ref": "#"},
        {"properties": {"me": {"$ref": "#"}}},
        {"allOf": [{"$ref": "#"}] * 50, "properties": {"x": {"pattern": "(a+)+" * 5000}}},
        {"properties": {"a": {"$ref": "#/" + "x/" * 10_000}}},
    ],
    ids=["wide", "deep", "fanned", "hollow", "self", "child", "patterns", "long"],
)
def test_a_hostile_schema_makes_a_bounded_form(schema: dict[str, Any]) -> None:
    began = time.process_time()
    drawn = tree(schema, {})
    fields = list(drawn.leaves())
    assert len(fields) <= MOST
    assert all(len(field.path) <= DEEPEST for field in fields)
    secrecy.hidden({"me": {"me": {"me": {"x": "y"}}}, "top": {"a": {"a": 1}}}, schema)
    assert time.process_time() - began < 3


def test_a_form_of_five_hundred_fields_says_what_it_left_out_only_beyond_its_limit() -> None:
    wide = {"properties": {f"f{number}": {"type": "string"} for number in range(500)}}
    assert tree(wide, {}).left_out == 0
    wide["properties"] |= {f"g{number}": {"type": "string"} for number in range(500)}
    assert tree(wide, {}).left_out == 1000 - MOST


SECRETS = {
    "properties": {
        "password": {"type": "string", "format": "password"},
        "users": {"type": "array", "items": {"properties": {"key": {"writeOnly": True}}}},
        "any": {"anyOf": [{"type": "null"}, {"properties": {"pin": {"type": "integer", "writeOnly": True}}}]},
        "map": {"additionalProperties": {"format": "password"}},
        "token": {"type": "string"},
        "designToken": {"type": "string", "writeOnly": False},
    }
}
GIVEN = {"password": "p1", "users": [{"key": "p2", "name": "n"}], "any": {"pin": 7777}, "map": {"x": "p3"},
         "token": "p5", "designToken": "shown", "free": {"adminPassword": "p4"}}  # fmt: skip


def test_secrets_are_hidden_wherever_a_schema_calls_them_so() -> None:
    shown = json.dumps(secrecy.hidden(GIVEN, SECRETS))
    assert not any(secret in shown for secret in ("p1", "p2", "p3", "p4", "p5", "7777"))
    assert "shown" in shown  # the schema says that this one is none, whatever its name
    assert '"n"' in shown


def test_a_changed_secret_is_told_as_changed_and_never_as_what_it_is() -> None:
    before, now = secrecy.told_apart(GIVEN, {**GIVEN, "password": "p9"}, [SECRETS], "(another)")
    assert (before["password"], now["password"]) == (secrecy.HIDDEN, "(another)")
    assert "p9" not in json.dumps(now)
    assert now["users"] == before["users"]


def test_a_secret_is_never_in_its_field() -> None:
    field = only({"type": "string", "format": "password"})
    assert typed.shown(field, "hunter2") == ""


def test_aliases_that_unfold_to_gigabytes_are_not_unfolded() -> None:
    layer: Any = ["x"] * 10
    for _ in range(20):
        layer = [layer] * 10
    assert merging.plain({"bomb": layer}) is UNSET


def test_two_texts_stand_side_by_side_with_what_stayed_folded() -> None:
    left = "\n".join([*(f"same{number}: 1" for number in range(20)), "a: 1", "gone: x"])
    right = "\n".join([*(f"same{number}: 1" for number in range(20)), "a: 2"])
    lines = side_by_side(left, right)
    assert [line.kind for line in lines] == ["folded", "same", "same", "same", "changed", "removed"]
    assert (lines[0].count, lines[-2].left, lines[-2].right) == (17, "a: 1", "a: 2")
