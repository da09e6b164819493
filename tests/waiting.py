"""Waiting without sleeping blindly: poll until something holds, or fail with what was seen last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

#: How much longer than on an idle machine we wait before we give up; what happens in time is not held up by it.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


def until(look: Callable[[], Seen], timeout: float = 25.0, every: float = 0.02, what: str = "") -> Seen:
    """Return the first true answer of `look`; AssertionError with the last answer after `timeout` seconds (times `PATIENCE`)."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what or look}; last seen: {seen!r}")
        time.sleep(every)
