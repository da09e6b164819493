"""Values on top of a chart's own, as Helm lays them: mappings grow together, all else replaces, null takes away. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

#: Stands for "nothing is set here", which is something else than null.
UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET", "__bool__": lambda self: False})()

Path = tuple[str, ...]


def merged(own: Any, given: Any) -> Any:
    """Return what a chart with its `own` values works with when `given` ones are laid on top."""
    if not isinstance(own, Mapping) or not isinstance(given, Mapping):
        return given
    found = dict(own)
    for key, value in given.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            found[key] = merged(found.get(key) if isinstance(found.get(key), Mapping) else {}, value)
        else:
            found[key] = value
    return found


def overriding(own: Any, wanted: Any) -> Any:
    """Return the least that makes `own` into `wanted`; `UNSET` when they are the same already."""
    if same(own, wanted):
        return UNSET
    if not isinstance(own, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    found: dict[str, Any] = {key: None for key in own if key not in wanted and own[key] is not None}
    for key, value in wanted.items():
        change = overriding(own[key], value) if key in own else value
        if change is not UNSET:
            found[key] = change
    return found


def pruned(given: Mapping[str, Any], own: Any, keep: Any = UNSET) -> dict[str, Any]:
    """Return `given` without what the chart has so by itself; what stands the same in `keep` stays.

    `keep` are values that are wished for already: an upgrade must not quietly drop what somebody pinned.
    """
    found: dict[str, Any] = {}
    for key, value in given.items():
        kept = keep.get(key, UNSET) if isinstance(keep, Mapping) else UNSET
        if kept is not UNSET and same(kept, value):
            found[key] = value
            continue
        there = own.get(key, UNSET) if isinstance(own, Mapping) else UNSET
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            inner = pruned(value, there, kept)
            if inner:
                found[key] = inner
        elif not same(there, value):
            found[key] = value
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to a chart: 1, 1.0 and true are three."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def at(values: Any, path: Path) -> Any:
    """Return what stands at `path`; `UNSET` when nothing does."""
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return UNSET
        values = values[step]
    return values


def placed(values: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return `values` with `value` at `path`; `UNSET` takes it away, with the mappings that become empty by that."""
    step, rest = path[0], path[1:]
    found = dict(values)
    if rest:
        inner = found.get(step)
        value = placed(inner if isinstance(inner, Mapping) else {}, rest, value) or UNSET
    if value is UNSET:
        found.pop(step, None)
    else:
        found[step] = value
    return found


def pointer(path: Sequence[str]) -> str:
    """Return the path as a JSON pointer (RFC 6901)."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in path)


def steps(text: str) -> Path:
    """Return the path that a JSON pointer writes."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def plain(values: Any, most: int = 20_000, deepest: int = 40) -> Any:
    """Return values from YAML as JSON has them, in a copy of at most `most` parts; `UNSET` when there are more.

    A few aliases may unfold to gigabytes, so nothing else may walk through what YAML made.
    """
    left = [most]

    def copy(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > deepest:
            raise OverflowError
        if isinstance(value, Mapping):
            return {_key(key): copy(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [copy(inner, depth + 1) for inner in value]
        if isinstance(value, date | datetime):
            return value.isoformat()
        return value if value is None or isinstance(value, str | bool | int | float) else str(value)

    try:
        return copy(values, 0)
    except OverflowError:
        return UNSET


def _key(key: Any) -> str:
    return key if isinstance(key, str) else {True: "true", False: "false", None: "null"}.get(key, str(key))
