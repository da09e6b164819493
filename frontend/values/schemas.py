"""Finding one's way in a JSON schema that a stranger wrote: bounded, and never outside of the document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from frontend.values.merging import Path

#: References are followed so many steps far, and so many parts of a schema speak about one value.
_HOPS, _VOICES = 8, 40
_TOGETHER = ("allOf", "anyOf", "oneOf")
_PASSWORD_NAMES = ("password", "passwd", "passphrase", "token", "apikey", "api_key", "secretkey", "privatekey")
#: Shown instead of a secret, and understood as "as it was" where values are typed.
HIDDEN = "(secret, kept as it is)"


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


def is_secret(part: Any, name: str = "", *, derived: bool = False) -> bool:
    """Whether a value is one that is typed but never shown again: `writeOnly`, or of format `password`.

    Where no schema speaks (`derived`), the name has to tell.
    """
    if derived:
        return name.lower().replace("-", "").endswith(_PASSWORD_NAMES)
    return isinstance(part, Mapping) and (part.get("writeOnly") is True or part.get("format") == "password")


def hidden(values: Any, schema: Any, *, derived: bool = False) -> Any:
    """Return the values with `HIDDEN` in the place of each secret."""
    return _hidden(values, [schema], schema, "", derived)


def secret_paths(values: Any, schema: Any, *, derived: bool = False) -> list[Path]:
    """Return where the values hold secrets."""
    found: list[Path] = []

    def walk(value: Any, shown: Any, path: Path) -> None:
        if shown == HIDDEN:
            found.append(path)
        elif isinstance(value, Mapping) and isinstance(shown, Mapping):
            for key in value:
                walk(value[key], shown[key], (*path, str(key)))

    walk(values, hidden(values, schema, derived=derived), ())
    return found


def told_apart(before: Any, now: Any, readers: Iterable[tuple[Any, bool]], other: str) -> tuple[Any, Any]:
    """Return two states of values without their secrets; one that changed is `other` in the second.

    `readers` are the schemas that have a say, each with whether it is only derived: a secret to one is one to all.
    """
    shown_before, shown_now = before, now
    for schema, derived in readers:
        shown_before = hidden(shown_before, schema, derived=derived)
        shown_now = hidden(shown_now, schema, derived=derived)

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


def _hidden(value: Any, voices: list[Any], root: Any, name: str, derived: bool) -> Any:
    heard = _heard(voices, root)
    unknown = derived or not heard
    if value not in ("", None) and (
        any(is_secret(each) for each in heard)
        or (unknown and isinstance(value, str) and is_secret(None, name, derived=True))
    ):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _hidden(inner, _below(heard, str(key)), root, str(key), unknown) for key, inner in value.items()}
    if isinstance(value, list):
        items = [each["items"] for each in heard if isinstance(each.get("items"), Mapping)]
        return [_hidden(inner, items, root, name, unknown) for inner in value]
    return value


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
            waiting += [part[word] for word in ("then", "else") if word in part]
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
