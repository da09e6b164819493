"""A message that is refused as a whole does not say which part was wrong: halves tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from core.errors import BreakwaterError
from mep.dns.backends.contract import Key

Part = TypeVar("Part")
#: Messages that one batch may cost; 500 parts with a handful of bad ones take fewer.
MOST = 80


def settle(
    parts: Mapping[Key, Part], send: Callable[[Mapping[Key, Part]], BreakwaterError | None], most: int = MOST
) -> dict[Key, BreakwaterError | None]:
    """Send parts, in halves where they are refused together; returns what became of each.

    `send` returns the error that concerns one of the parts, and raises what concerns everything. Parts that
    are still together after `most` messages share the error of their message.
    """
    outcome: dict[Key, BreakwaterError | None] = {}
    waiting = [dict(parts)] if parts else []
    sent = 0
    while waiting:
        some = waiting.pop()
        problem = send(some)
        sent += 1
        if problem is None or len(some) == 1 or sent + len(waiting) + 2 > most:
            outcome |= dict.fromkeys(some, problem)
            continue
        keys = list(some)
        half = len(keys) // 2
        waiting += [{key: some[key] for key in keys[half:]}, {key: some[key] for key in keys[:half]}]
    return outcome
