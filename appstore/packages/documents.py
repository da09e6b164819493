"""Reading the small texts of a package, all of them hostile until proved otherwise: YAML, JSON, `key: value` blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from core import yamls
from core.archives import Damaged
from core.errors import Invalid
from core.words import say

LONGEST = 2 << 20
_MOST_NODES = 50_000
#: Characters of a document whose aliases are written out: one long text that is named often is a bomb, too.
_MOST_TEXT = 4 * LONGEST
_DEEPEST = 60


class _PlainLoader(yamls.Loader):  # type: ignore[misc]
    """YAML whose scalars stay text, but for true, false and null: version 1.10 is not the number 1.1."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.doubles: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping and remember keys that are there twice (YAML 1.2, 3.2.1.3 forbids them)."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or an object", key_node.start_mark)
            if key in seen:
                self.doubles.append(str(key))
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_NULL = ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"))
_BOOL = ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"))
_MERGE = ("tag:yaml.org,2002:merge", re.compile(r"^<<$"))
_PlainLoader.yaml_implicit_resolvers = {
    **{letter: [_BOOL] for letter in "tTfF"},
    **{letter: [_NULL] for letter in ("~", "n", "N", "")},
    "<": [_MERGE],
}


def read_yaml(content: bytes, place: str, *, doubles: list[str] | None = None) -> Any:
    """Return one YAML document with scalars as text; `Damaged` when it is none, too large, or a bomb of aliases.

    Keys that are there twice are added to `doubles`; the last one counts, as everywhere.
    """
    text = read_text(content, place)
    try:
        _skim(text, place)
        loader = _PlainLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _weigh(node, place)
            document = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise Damaged("bad-yaml", say("{place} is not valid YAML{where}", place=place, where=where), place) from problem
    except (ValueError, TypeError, AttributeError, OverflowError) as problem:
        raise Damaged("bad-yaml", say("{place} is not valid YAML", place=place), place) from problem
    except RecursionError as problem:
        raise Damaged("bad-yaml", say("{place} is nested too deep", place=place), place) from problem
    if doubles is not None:
        doubles.extend(loader.doubles)
    return document


def read_json(content: bytes, place: str) -> Any:
    """Return one JSON document; `Damaged` when it is none."""
    try:
        return json.loads(read_text(content, place))
    except (ValueError, RecursionError) as problem:
        raise Damaged("bad-json", say("{place} is not valid JSON", place=place), place) from problem


def read_text(content: bytes, place: str) -> str:
    """Return UTF-8 text; `Damaged` when it is not, or too long."""
    if len(content) > LONGEST:
        raise Damaged(
            "document-too-large", say("{place} is larger than {longest} bytes", place=place, longest=LONGEST), place
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise Damaged("not-text", say("{place} is not UTF-8 text", place=place), place) from problem


def read_blocks(content: bytes, place: str) -> list[dict[str, str]]:
    """Return the blocks of a TOSCA.meta: lines `Key: value`, blocks apart by empty lines. Keys in lower case."""
    blocks: list[dict[str, str]] = [{}]
    for line in read_text(content, place).splitlines()[:20_000]:
        if not line.strip():
            if blocks[-1]:
                blocks.append({})
            continue
        key, colon, value = line.partition(":")
        if colon:
            blocks[-1].setdefault(key.strip().lower(), value.strip())
    return [block for block in blocks if block]


def _skim(text: str, place: str) -> None:
    """Refuse what is too deep or too long before it is composed."""
    try:
        yamls.skim(text, place, deepest=_DEEPEST, most_nodes=_MOST_NODES)
    except Invalid as problem:
        raise Damaged("yaml-bomb", problem.detail, place) from None


def _weigh(root: Any, place: str) -> None:
    """Refuse documents that contain themselves, or whose aliases would grow beyond bounds when written out."""
    weights: dict[int, tuple[int, int]] = {}
    open_nodes: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        children = _children(node)
        if done:
            open_nodes.discard(id(node))
            inside = [weights[id(child)] for child in children]
            values = 1 + sum(count for count, _ in inside)
            text = sum(length for _, length in inside)
            if isinstance(node, yaml.ScalarNode):
                text = len(node.value)
            if values > _MOST_NODES:
                raise Damaged(
                    "yaml-bomb",
                    say("{place} has more than {most_nodes} values", place=place, most_nodes=_MOST_NODES),
                    place,
                )
            if text > _MOST_TEXT:
                raise Damaged(
                    "yaml-bomb",
                    say("{place} unfolds to more than {most} characters", place=place, most=_MOST_TEXT),
                    place,
                )
            weights[id(node)] = values, text
            continue
        if id(node) in weights:
            continue
        if id(node) in open_nodes:
            raise Damaged("yaml-bomb", say("{place} contains itself", place=place), place)
        open_nodes.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child in children)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
