"""Lowering by example: most rules differ from one seen before in their id, priority and one destination only.

What the first of a kind became is remembered, and the next is made after it without reading the rest again. Whatever is
not exactly so is lowered in the ordinary way, with its own checks and errors.
"""

from __future__ import annotations

import msgspec

from upf_adapter.contract import Capabilities, TrafficRule
from upf_adapter.flows import plain_span
from upf_adapter.nftables.lowering import Clause, lower

#: Kinds that are remembered, and octets of the longest.
MOST, LONGEST = 4096, 2000
_encode = msgspec.json.Encoder().encode


class Examples:
    """Lowers rules for one user plane."""

    def __init__(self, can: Capabilities, upf: str) -> None:
        self._can, self._upf = can, upf
        self._known: dict[tuple[bytes, int], Clause] = {}

    def lower(self, rule: TrafficRule) -> tuple[Clause, ...]:
        """Return the same as `lowering.lower`."""
        if len(rule.filters) != 1 or not 0 <= rule.priority <= 255:
            return self._lower(rule)
        rest = dict(rule.filters[0])
        values = rest.pop("dstAddress", None)
        if not isinstance(values, list) or len(values) != 1 or not isinstance(values[0], str):
            return self._lower(rule)
        dst = plain_span(values[0])
        # From zero on it may be the whole address space, which is no destination at all.
        if dst is None or not dst.first:
            return self._lower(rule)
        # Everything else that the rule says, told apart as JSON tells it.
        kind = _encode((rule.action, rule.filter_type, rest, rule.destinations)), dst.family
        like = self._known.get(kind)
        if like is not None:
            return (Clause(rule.id, (rule.priority, rule.id, 0), dst.family, (dst,), like.test, like.verdict),)
        clauses = self._lower(rule)
        if len(clauses) == 1 and len(kind[0]) <= LONGEST:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[kind] = clauses[0]
        return clauses

    def _lower(self, rule: TrafficRule) -> tuple[Clause, ...]:
        return lower(rule, self._can, self._upf)
