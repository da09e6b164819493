"""A simulated user plane: keeps rules in memory and steers no packet."""

from __future__ import annotations

import threading
from typing import ClassVar

from core.errors import Invalid
from upf_adapter.contract import Counters, TrafficRule, UpfAdapter

_DESTINATIONS = {
    "DROP": (0, 0),
    "PASSTHROUGH": (0, 1),
    "FORWARD_DECAPSULATED": (1, 1),
    "FORWARD_ENCAPSULATED": (1, 1),
    "DUPLICATE_DECAPSULATED": (1, 2),
    "DUPLICATE_ENCAPSULATED": (1, 2),
}


class MemoryUpf(UpfAdapter):
    """Checks rules as a real user plane would and remembers them; its counters stay at zero."""

    name: ClassVar[str] = "memory"
    simulated: ClassVar[bool] = True

    def __init__(self) -> None:
        self._rules: dict[str, TrafficRule] = {}
        self._lock = threading.Lock()

    def put(self, rule: TrafficRule) -> None:
        bounds = _DESTINATIONS.get(rule.action)
        if bounds is None:
            raise Invalid(f"{rule.action!r} is not an action of MEC 011; use one of {', '.join(_DESTINATIONS)}")
        if not bounds[0] <= len(rule.destinations) <= bounds[1]:
            raise Invalid(f"{rule.action} takes {bounds[0]} to {bounds[1]} destinations, not {len(rule.destinations)}")
        if not 0 <= rule.priority <= 255:
            raise Invalid(f"priority must be 0 to 255, not {rule.priority}")
        if not rule.filters:
            raise Invalid("a rule needs at least one traffic filter")
        with self._lock:
            self._rules[rule.id] = rule

    def delete(self, rule_id: str) -> None:
        with self._lock:
            self._rules.pop(rule_id, None)

    def rules(self) -> dict[str, TrafficRule]:
        with self._lock:
            return dict(self._rules)

    def counters(self) -> dict[str, Counters]:
        with self._lock:
            return {rule_id: Counters() for rule_id in self._rules}

    def ping(self) -> str:
        return "simulated user plane in memory"
