"""Waiting without sleeping blindly: poll until something holds, or fail with what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen], timeout: float = 10.0, every: float = 0.02, what: str = "") -> Seen:
    """Return the first true answer of `look`; AssertionError with the last answer after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what or look}; last seen: {seen!r}")
        time.sleep(every)
