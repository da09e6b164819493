"""A simulated user plane: keeps rules in memory and steers no packet."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from upf_adapter.contract import ACTIONS, Capabilities, Counters, TrafficRule, UpfAdapter

_FILTERS = frozenset(
    {
        "srcAddress", "dstAddress", "srcPort", "dstPort", "protocol", "tag", "token", "uri", "packetLabel",
        "srcTunnelAddress", "tgtTunnelAddress", "srcTunnelPort", "dstTunnelPort", "qCI", "dSCP", "tC",
    }
)  # fmt: skip


class MemoryUpf(UpfAdapter):
    """Checks rules as a real user plane would and remembers them; its counters stay at zero."""

    name: ClassVar[str] = "memory"
    simulated: ClassVar[bool] = True

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._rules: dict[str, TrafficRule] = {}
        self._lock = threading.Lock()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            actions=frozenset(ACTIONS),
            filters=_FILTERS,
            interfaces=frozenset({"IP", "MAC", "TUNNEL/GTP_U", "TUNNEL/GRE"}),
            counters=True,
            notes=("Simulated: rules are checked and remembered, no packet is steered.",),
        )

    def put(self, rule: TrafficRule) -> None:
        self.check(rule)
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
