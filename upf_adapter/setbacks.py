"""Rules that the user plane took back: tried again after pauses that grow, so that no core is hammered."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import Unavailable


class Setbacks:
    """Counts setbacks per rule and tells how long to wait; one that held for long starts anew."""

    def __init__(self, first: float, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.first, self.longest, self.clock = first, longest, clock
        self._rules: dict[str, tuple[int, float, str]] = {}

    def note(self, rule_id: str, why: str) -> None:
        """Take note that the rule failed now."""
        count, until, _ = self._rules.get(rule_id, (0, 0.0, ""))
        now = self.clock()
        count = count + 1 if now < until + 2 * self.longest else 1
        pause = min(self.longest, self.first * 2.0 ** min(count - 1, 16))
        self._rules[rule_id] = (count, now + pause, why)

    def check(self, rule_id: str) -> None:
        """Raise `Unavailable` with the reason while it is too early to try again."""
        _, until, why = self._rules.get(rule_id, (0, 0.0, ""))
        left = until - self.clock()
        if left > 0:
            raise Unavailable(f"{why}; tried again in {max(1, round(left))} seconds")

    def forget(self, rule_id: str) -> None:
        """Forget a rule that is not wanted any more."""
        self._rules.pop(rule_id, None)
