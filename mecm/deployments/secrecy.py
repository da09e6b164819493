"""Which values of a chart are secret: the one judgement, for the API, the pages and whatever else shows values. Pure.

A chart's schema was written by a stranger: it is followed in bounds, and never outside of the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import Invalid
from core.words import say

#: Where a value stands: the keys on the way to it.
Path = tuple[str, ...]

#: References are followed so many steps far, and so many parts of a schema speak about one value.
_HOPS, _VOICES = 8, 40
_TOGETHER = ("allOf", "anyOf", "oneOf")
#: What lists the values that are allowed tells everybody what they are.
_OPEN = ("enum", "const")
_PASSWORD_NAMES = ("password", "passwd", "passphrase", "token", "apikey", "api_key", "secretkey", "privatekey")
#: Shown instead of a secret, and understood as "as it was" where values are typed.
HIDDEN = "(secret, kept as it is)"
#: The schema of a chart that cannot be read: nobody knows which of its values are secret, so all are.
UNREAD: Mapping[str, Any] = {"additionalProperties": {"writeOnly": True}}


def resolved(part: Any, root: Any) -> tuple[Any, tuple[str, ...]]:
    """Follow `$ref` inside the document; return the part and the references on the way. Others lead to nothing."""
    way: tuple[str, ...] = ()
    while isinstance(part, Mapping) and isinstance(part.get("$ref"), str):
        reference = part["$ref"]
        if reference in way or len(way) >= _HOPS or not (reference == "#" or reference.startswith("#/")):
            return {}, (*way, reference)
        way = (*way, reference)
        target: Any = root
        for step in reference[2:].split("/")[:30] if reference != "#" else ():
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        beside = {key: value for key, value in part.items() if key != "$ref"}
        part = {**target, **beside} if isinstance(target, Mapping) else target
    return part, way


def is_secret(part: Any) -> bool:
    """Whether a schema calls a value one that is typed but never shown again: `writeOnly`, or of format `password`."""
    return isinstance(part, Mapping) and (part.get("writeOnly") is True or part.get("format") == "password")


def named_secret(name: str, value: Any, *heard: Any) -> bool:
    """Whether the name of a text or number tells that it is secret.

    Unless a schema (`heard`) says otherwise: by `writeOnly: false`, or because it lists what the value may be.
    """
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    for part in heard:
        if isinstance(part, Mapping) and (part.get("writeOnly") is False or any(word in part for word in _OPEN)):
            return False
    return name.lower().replace("-", "").endswith(_PASSWORD_NAMES)


def hidden(values: Any, *schemas: Any) -> Any:
    """Return the values with `HIDDEN` in the place of each secret; a secret to one of the schemas is one to all."""
    for schema in schemas or ({},):
        values = _hidden(values, [schema], schema, "")
    return values


def secret_paths(values: Any, *schemas: Any) -> list[Path]:
    """Return where the values hold secrets; those in a list are told as the list."""
    found: list[Path] = []

    def walk(value: Any, shown: Any, path: Path) -> None:
        if shown == HIDDEN:
            found.append(path)
        elif isinstance(value, Mapping) and isinstance(shown, Mapping):
            for key in value:
                walk(value[key], shown[key], (*path, str(key)))
        elif value != shown:
            found.append(path)

    walk(values, hidden(values, *schemas), ())
    return found


def secrets_in(values: Any, *schemas: Any) -> set[str]:
    """Return the secrets themselves as texts, so that they can be looked for elsewhere; never to be shown."""
    found: set[str] = set()

    def everything(value: Any) -> None:
        if isinstance(value, Mapping):
            for inner in value.values():
                everything(inner)
        elif isinstance(value, list):
            for inner in value:
                everything(inner)
        elif value not in ("", None) and not isinstance(value, bool):
            found.add(str(value))

    def walk(value: Any, shown: Any) -> None:
        if shown == HIDDEN:
            everything(value)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, shown[key])
        elif isinstance(value, list):
            for inner, told in zip(value, shown, strict=True):
                walk(inner, told)

    walk(values, hidden(values, *schemas))
    # What came in as the mark itself is no secret.
    return found - {HIDDEN}


class NothingToKeep(Invalid):
    """A mark stands where there is no secret to keep; `errors` names the field."""


def kept(values: Any, present: Any, path: Path = ()) -> Any:
    """Return the values with what is `present` in the place of each mark; `NothingToKeep` where there is nothing.

    In a list entries are found again by their `name`, else by their place; a list that became shorter does not say
    which of its secrets went, so its marks are refused.
    """
    if values == HIDDEN:
        if present is _NOTHING:
            where = ".".join(("values", *path))
            raise NothingToKeep(
                say(
                    "{where}: there is no secret to keep here; write the secret in the place of the mark.", where=where
                ),
                errors=[{"field": where, "detail": say("holds the mark of a kept secret, but there is none to keep")}],
            )
        return present
    if isinstance(values, Mapping):
        below = present if isinstance(present, Mapping) else {}
        return {key: kept(inner, below.get(key, _NOTHING), (*path, str(key))) for key, inner in values.items()}
    if isinstance(values, list):
        there = present if isinstance(present, list) else []
        return [kept(inner, _twin(inner, n, there, len(values)), (*path, str(n))) for n, inner in enumerate(values)]
    return values


class _Nothing:
    pass


_NOTHING = _Nothing()


def _twin(entry: Any, number: int, present: list[Any], length: int) -> Any:
    """Return the entry of a list that this one was before."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if name is not None:
        same = [each for each in present if isinstance(each, Mapping) and each.get("name") == name]
        return same[0] if len(same) == 1 else _NOTHING
    return present[number] if length >= len(present) and number < len(present) else _NOTHING


def told_apart(before: Any, now: Any, schemas: Iterable[Any], other: str) -> tuple[Any, Any]:
    """Return two states of values without their secrets; one that changed is `other` in the second.

    A secret to one of the schemas is one to all.
    """
    readers = list(schemas)
    shown_before, shown_now = hidden(before, *readers), hidden(now, *readers)

    def marked(shown: Any, was: Any, value: Any) -> Any:
        if shown == HIDDEN:
            return HIDDEN if was == value else other
        if isinstance(shown, Mapping):
            below = was if isinstance(was, Mapping) else {}
            return {key: marked(inner, below.get(key), value[key]) for key, inner in shown.items()}
        if isinstance(shown, list):
            there = was if isinstance(was, list) else []
            return [marked(inner, there[n] if n < len(there) else None, value[n]) for n, inner in enumerate(shown)]
        return shown

    return shown_before, marked(shown_now, before, now)


def _hidden(value: Any, voices: list[Any], root: Any, name: str) -> Any:
    heard = _heard(voices, root)
    if value not in ("", None) and (any(is_secret(each) for each in heard) or named_secret(name, value, *heard)):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _hidden(inner, _below(heard, str(key)), root, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        items = _entries(heard)
        return [_hidden(inner, items, root, name) for inner in value]
    return value


def _entries(heard: list[Mapping[str, Any]]) -> list[Any]:
    """Return what speaks about the entries of a list: what is said of any of them counts for all."""
    found: list[Any] = []
    for part in heard:
        for word in ("items", "additionalItems", "prefixItems", "contains"):
            said = part.get(word)
            found += said[:_VOICES] if isinstance(said, list) else [said] if isinstance(said, Mapping) else []
    return found


def _heard(voices: list[Any], root: Any) -> list[Mapping[str, Any]]:
    """Return every part of the schema that speaks about one value."""
    waiting, found = list(voices), list[Mapping[str, Any]]()
    while waiting and len(found) < _VOICES:
        part, _ = resolved(waiting.pop(), root)
        if isinstance(part, Mapping):
            found.append(part)
            for word in _TOGETHER:
                more = part.get(word)
                waiting += more[:_VOICES] if isinstance(more, list) else []
            waiting += [part[word] for word in ("if", "then", "else") if word in part]
            for word in ("dependentSchemas", "dependencies"):
                more = part.get(word)
                waiting += list(more.values())[:_VOICES] if isinstance(more, Mapping) else []
    return found


def _below(heard: list[Mapping[str, Any]], key: str) -> list[Any]:
    found: list[Any] = []
    for part in heard:
        properties = part.get("properties")
        if isinstance(properties, Mapping) and key in properties:
            found.append(properties[key])
            continue
        found += [part["additionalProperties"]] if isinstance(part.get("additionalProperties"), Mapping) else []
        # Patterns of strangers are not run here: what any of them says counts.
        patterns = part.get("patternProperties")
        found += list(patterns.values())[:_VOICES] if isinstance(patterns, Mapping) else []
    return found
