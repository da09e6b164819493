"""The values schema of a chart as a table for people: what can be set, of what kind, with which default."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST, _DEEPEST = 200, 6


@dataclass(frozen=True, slots=True)
class Row:
    """One value that can be set; `name` is its path with dots."""

    name: str
    kind: str = ""
    default: str = ""
    description: str = ""
    required: bool = False
    limits: str = ""


def rows(schema: Any) -> list[Row]:
    """Return the properties of a JSON schema, nested ones by path; at most `MOST`."""
    if not isinstance(schema, Mapping):
        return []
    found: list[Row] = []
    for row in _properties(schema, schema, "", 0):
        found.append(row)
        if len(found) >= MOST:
            break
    return found


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], path: str, depth: int) -> Iterator[Row]:
    properties = schema.get("properties")
    needed = schema.get("required")
    required = {each for each in needed if isinstance(each, str)} if isinstance(needed, list) else set()
    for name, raw in properties.items() if isinstance(properties, Mapping) else ():
        told = _resolved(raw, root)
        if not isinstance(told, Mapping):
            continue
        place = f"{path}{str(name)[:80]}"
        nested = isinstance(told.get("properties"), Mapping) and depth < _DEEPEST
        if not nested or told.get("description") or "default" in told:
            yield Row(
                place, _kind(told, root), _short(told["default"]) if "default" in told else "",
                str(told.get("description") or told.get("title") or "")[:500], name in required, _limits(told),
            )  # fmt: skip
        if nested:
            yield from _properties(told, root, f"{place}.", depth + 1)


def _resolved(raw: Any, root: Mapping[str, Any]) -> Any:
    """Follow a reference inside the document, some steps far; others lead nowhere."""
    for _ in range(8):
        reference = raw.get("$ref") if isinstance(raw, Mapping) else None
        if not isinstance(reference, str):
            return raw
        if not reference.startswith("#/"):
            return {}
        target: Any = root
        for step in reference[2:].split("/")[:20]:
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        raw = target
    return {}


def _kind(told: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    kind = told.get("type")
    if isinstance(kind, list):
        return " or ".join(str(each)[:20] for each in kind[:6])
    if isinstance(kind, str):
        items = _resolved(told.get("items"), root)
        inner = items.get("type") if isinstance(items, Mapping) else None
        return f"array of {inner[:20]}" if kind == "array" and isinstance(inner, str) else kind[:40]
    return "one of a list" if isinstance(told.get("enum"), list) else ""


def _limits(told: Mapping[str, Any]) -> str:
    parts: list[str] = []
    choices = told.get("enum")
    if isinstance(choices, list):
        parts.append("one of " + ", ".join(_short(each) for each in choices[:12]))
    names = {"minimum": "at least", "maximum": "at most", "minLength": "length from", "maxLength": "length to"}
    names |= {"minItems": "entries from", "maxItems": "entries to", "pattern": "like", "format": "format"}
    for key, word in names.items():
        if isinstance(told.get(key), str | int | float):
            parts.append(f"{word} {str(told[key])[:80]}")
    return "; ".join(parts)[:300]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"
