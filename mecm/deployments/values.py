"""The values that a person gives to a chart: plain, bounded JSON without what belongs to the platform."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.errors import Invalid, TooLarge
from core.words import say

LARGEST, DEEPEST = 64 * 1024, 32


def check(values: Any) -> dict[str, Any]:
    """Return the values; `Invalid` or `TooLarge` says what is wrong with them.

    `global.mep` is refused: there the platform puts the identity of the application.
    """
    if not isinstance(values, Mapping):
        raise Invalid(say("values must be an object"), errors=[{"field": "values", "detail": say("must be an object")}])
    _walk(values)
    shared = values.get("global")
    if isinstance(shared, Mapping) and "mep" in shared:
        raise Invalid(
            say("values must not hold global.mep: the platform puts the application's identity there"),
            errors=[{"field": "values.global.mep", "detail": say("is set by the platform")}],
        )
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    if len(text.encode()) > LARGEST:
        raise TooLarge(say("values must be at most {largest} KiB of JSON", largest=LARGEST // 1024))
    plain: dict[str, Any] = json.loads(text)
    return plain


def _walk(values: Any) -> None:
    """Refuse what JSON, the database or Helm cannot hold. Goes level by level, so depth costs no stack."""
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        following: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                following += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple):
                following += each
            elif isinstance(each, str):
                _text(each)
            elif isinstance(each, float) and (each != each or each in (float("inf"), float("-inf"))):
                raise Invalid(say("values must hold finite numbers only"), field="values")
            elif isinstance(each, int) and not -(2**63) <= each < 2**63:
                raise Invalid(say("values must hold numbers of at most 64 bits"), field="values")
        if not following:
            return
        level = following
    raise Invalid(say("values must be nested at most {deepest} levels deep", deepest=DEEPEST), field="values")


def _text(text: str) -> None:
    # PostgreSQL stores no NUL in JSON, and a lone surrogate is no Unicode.
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Invalid(say("values must hold Unicode text without NUL"), field="values")
