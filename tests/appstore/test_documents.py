"""The small texts of packages, all of them hostile."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appstore.packages.documents import read_blocks, read_json, read_yaml
from appstore.packages.manifest import read_manifest
from appstore.packages.tosca import compute_of, describe, read_template
from core.archives import Damaged

LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))


def test_scalars_stay_as_they_are_written() -> None:
    text = b"{v: 1.10, n: 010, d: 2021-01-01, y: yes, t: true, f: False, z: null, e: , s: 'true', x: 0x1F, i: .inf}"
    assert read_yaml(text, "x") == {
        "v": "1.10", "n": "010", "d": "2021-01-01", "y": "yes", "t": True, "f": False, "z": None, "e": None, "s": "true",
        "x": "0x1F", "i": ".inf",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [", "bad-yaml"),
        ("a: &a [*a]", "yaml-bomb"),
        (f"a0: &a0 [x, x, x]\n{LAUGHS}", "yaml-bomb"),
        (f"a: &a {'x' * 400_000}\nb: [{','.join(['*a'] * 2000)}]", "yaml-bomb"),
        ("[" * 100_000, "yaml-bomb"),
        ("- " * 100_000, "yaml-bomb"),
        ("{a: " * 100_000, "yaml-bomb"),
        ("[" + "a," * 200_000 + "]", "yaml-bomb"),
        ("!!python/object/apply:os.system ['id']", "bad-yaml"),
        ("!!int nothing", "bad-yaml"),
        ("? [a]\n: b", "bad-yaml"),
        ("--- a\n--- b", "bad-yaml"),
        ("a: *nobody", "bad-yaml"),
        ("x" * (3 << 20), "document-too-large"),
    ],
)
def test_hostile_yaml_is_refused(text: str, code: str) -> None:
    with pytest.raises(Damaged) as problem:
        read_yaml(text.encode(), "x")
    assert problem.value.finding == code


def test_a_few_aliases_are_fine() -> None:
    assert read_yaml(b"a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}", "x") == {
        "a": {"b": "1"}, "c": {"b": "1"}, "d": {"b": "1", "e": "2"},
    }  # fmt: skip


def test_keys_that_are_there_twice_are_told() -> None:
    doubles: list[str] = []
    assert read_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3", "x", doubles=doubles) == {"a": "3", "b": {"c": "2"}}
    assert sorted(doubles) == ["a", "c"]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "NaN,", "\udcff"])
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(Damaged):
        read_json(text.encode("utf-8", "surrogateescape"), "x")


def test_blocks_of_a_meta_file() -> None:
    assert read_blocks(b"\xef\xbb\xbfA: 1\r\nCreated-By: x: y\r\n\r\n\r\nName: b\nodd line\n", "x") == [
        {"a": "1", "created-by": "x: y"}, {"name": "b"},
    ]  # fmt: skip


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    for read in (read_yaml, read_json, read_blocks):
        try:
            read(content, "x")
        except Damaged:
            continue
    try:
        read_manifest(content, "x", [])
    except Damaged:
        return


WORDS = (
    "type properties capabilities virtual_compute virtual_memory virtual_mem_size artifacts file get_input "
    "appTrafficRule sw_image_data name vdu_profile derived_from default"
)
yaml_like = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4),
    max_leaves=15,
)


@given(yaml_like, yaml_like, yaml_like)
@settings(max_examples=300, deadline=None)
def test_any_template_is_read_or_told(nodes: object, inputs: object, types: object) -> None:
    findings: list[object] = []
    document = {"topology_template": {"node_templates": nodes, "inputs": inputs}, "node_types": types, "imports": types}
    template = read_template(document, "x", findings)  # type: ignore[arg-type]
    compute_of(template, findings)  # type: ignore[arg-type]
    for node in template.nodes:
        describe(node.properties, "x", findings)  # type: ignore[arg-type]
