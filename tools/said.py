"""Finds the sentences of services in the code: what `say` is given, and where an error speaks without it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.terms import term  # noqa: E402
from core.words import places  # noqa: E402

ROOMS = ("frontend", "core", "appstore", "mecm", "developer", "engines", "mep/console")
#: What speaks to programs or in a terminal, in English: registries, commands, the start of a stack, the jail of checks.
ENGLISH = ("appstore/oci/", "appstore/certification/running/", "/management/", "/migrations/", "mecm/runtime/")
#: The words themselves, whose templates are made.
MAKERS = ("core/words.py",)
_ROOT_ERROR = "BreakwaterError"
#: The positions of sentences where an error does not begin with its own, and in what else services say.
_POSITIONS = {
    "Damaged": (1,), "Refusal": (1,), "NoPath": (0, 1), "Finding": (3, 4), "Skip": (0,), "Progress": (1,), "progress": (1,),
}  # fmt: skip


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and the tree of each file of the centre, the engines and the console of a node."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place not in MAKERS:
                yield place, ast.parse(path.read_text("utf-8"))


@lru_cache(maxsize=1)
def read() -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return `(template, path)` of every sentence, and what is wrong with how services speak."""
    trees = list(sources())
    errors = kinds_of_errors(tree for _, tree in trees)
    found: list[tuple[str, str]] = []
    wrong: list[str] = []
    for path, tree in trees:
        found += [(template, path) for template in templates(tree)]
        wrong += [f"{path}:{line}: {what}" for line, what in misspoken(tree)]
        if not any(place in path for place in ENGLISH):
            wrong += [f"{path}:{line}: {what}" for line, what in unsaid(tree, errors)]
    return tuple(found), tuple(wrong)


def templates(tree: ast.Module) -> Iterator[str]:
    """Yield the templates that `say` is given."""
    for call in _calls(tree, "say"):
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
            yield call.args[0].value


def misspoken(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and problem of each `say` that cannot be translated, or would fail when it is said."""
    for call in _calls(tree, "say"):
        template = call.args[0] if len(call.args) == 1 else None
        if not isinstance(template, ast.Constant) or not isinstance(template.value, str):
            yield call.lineno, "what say() is given must be one literal, so that it can be translated"
            continue
        if any(keyword.arg is None for keyword in call.keywords):
            yield call.lineno, "the facts of say() must be named one by one"
            continue
        asked, given = set(places(template.value)), {str(keyword.arg) for keyword in call.keywords}
        if asked != given:
            yield call.lineno, f"{template.value!r} asks for {sorted(asked)} and is given {sorted(given)}"
        elif "{" in (left := _without_places(template.value)) or "}" in left:
            yield call.lineno, f"{template.value!r} has a brace that is neither a place nor doubled"
        for keyword in call.keywords:
            for word in _literals(keyword.value):
                if not term(str(keyword.arg), word):
                    yield call.lineno, f"the fact {word!r} is a word; say() it as well, or add it to core/terms.py"


def unsaid(tree: ast.Module, errors: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield line and problem of each error, finding or note of an operation that is made of a bare text with words."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or (name := _name(node)) not in errors | _POSITIONS.keys():
            continue
        for position in _POSITIONS.get(name, (0,)):
            for text in _ways(node.args[position]) if len(node.args) > position else ():
                if isinstance(text, ast.JoinedStr) and any(
                    isinstance(each, ast.Constant) and any(letter.isalpha() for letter in str(each.value))
                    for each in text.values
                ):
                    yield text.lineno, f"{name} speaks a bare f-string; use say()"
                elif isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value:
                    yield text.lineno, f"{name} speaks a bare text; use say()"


def _literals(fact: ast.expr) -> Iterator[str]:
    """Yield the words that a fact may be, where it is written out; signs and numbers are no words."""
    if isinstance(fact, ast.BoolOp):
        for value in fact.values:
            yield from _literals(value)
        return
    for way in _ways(fact):
        if isinstance(way, ast.Constant) and isinstance(way.value, str) and any(map(str.isalpha, way.value)):
            yield way.value


def _ways(text: ast.expr) -> Iterator[ast.expr]:
    if isinstance(text, ast.IfExp):
        yield from _ways(text.body)
        yield from _ways(text.orelse)
    else:
        yield text


def kinds_of_errors(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Return the names of all classes below BreakwaterError."""
    bases: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    found = {_ROOT_ERROR}
    while fresh := {name for name, above in bases.items() if above & found} - found:
        found |= fresh
    return frozenset(found)


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    # Another function or a method of that name speaks elsewhere.
    if not any(isinstance(node, ast.ImportFrom) and node.module == "core.words" for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _name(call: ast.Call) -> str:
    function = call.func
    # `cms.Refused` is no error of ours, though another one of that name is.
    if isinstance(function, ast.Attribute) and function.attr == "progress":
        return function.attr
    if isinstance(function, ast.Attribute):
        return function.attr if isinstance(function.value, ast.Name) and function.value.id == "errors" else ""
    return function.id if isinstance(function, ast.Name) else ""


def _without_places(template: str) -> str:
    for name in places(template):
        template = template.replace(f"{{{name}}}", "")
    return template.replace("{{", "").replace("}}", "")
