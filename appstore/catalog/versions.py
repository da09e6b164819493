"""Which of two versions is newer: the order of SemVer 2.0.0, kind to versions that do not follow it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

_FORM = re.compile(r"[vV]?(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<rest>.*)", re.DOTALL)
#: How people write a prerelease without SemVer's dash: 1.0b2, 1.0rc1, 2.0.dev3.
_EARLY = re.compile(r"[.\-_]?(?:a|b|c|rc|alpha|beta|pre|preview|dev|snapshot|m)[.\-_]?[0-9]*(?![a-z])", re.IGNORECASE)
Key = tuple[Any, ...]
Row = TypeVar("Row")


def _number(digits: str) -> tuple[int, str]:
    # Compared by length and then as text, so that a version of four thousand digits is no trouble.
    digits = digits.lstrip("0")
    return (len(digits), digits)


def _identifier(text: str) -> tuple[int, tuple[int, str]]:
    # SemVer 2.0.0, 11.4: numbers compare as numbers and come before words.
    return (0, _number(text)) if text.isascii() and text.isdigit() else (1, (0, text))


def key(version: str) -> Key:
    """Return a key that sorts versions from the oldest to the newest; build metadata (`+...`) counts for nothing.

    `1.0` and `1.0.0` are the same. A version without a number at its front comes before all others.
    """
    text = version.strip().partition("+")[0]
    found = _FORM.fullmatch(text)
    if found is None:
        return (0, (), 0, (), text)
    numbers = [_number(part) for part in found["numbers"].split(".")]
    while numbers and not numbers[-1][0]:
        numbers.pop()
    rest = found["rest"]
    if _is_early(rest):
        parts = re.findall(r"[0-9]+|[^0-9.]+", rest.lstrip("-._")) if not rest.startswith("-") else rest[1:].split(".")
        return (1, tuple(numbers), 0, tuple(_identifier(part) for part in parts), "")
    return (1, tuple(numbers), 1, (), rest)


def is_prerelease(version: str) -> bool:
    """Return whether a version says of itself that it is not finished: SemVer's `-rc.1`, but also `1.0b2`."""
    found = _FORM.fullmatch(version.strip().partition("+")[0])
    return found is not None and _is_early(found["rest"])


def _is_early(rest: str) -> bool:
    return rest.startswith("-") or bool(_EARLY.match(rest))


def rank(version: str, *tie: Any) -> Key:
    """Return the key by which the newest release wins: finished ones before prereleases, then the version, then `tie`."""
    return (not is_prerelease(version), key(version), *tie)


def newest_first(rows: Iterable[tuple[str, Row]]) -> list[Row]:
    """Sort `(version, row)` pairs: finished versions from the newest on, then prereleases; equal ones stay in order."""
    return [row for _, row in sorted(rows, key=lambda pair: rank(pair[0]), reverse=True)]
