"""The packet tester: which rule decides about a packet, and what happens then, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import BreakwaterError
from mep.console.rule_forms import address_of
from mep.mp1.models import TrafficRule
from mep.mp1.states import Enforcement, RuleState
from mep.mp1.steering import as_rule
from upf_adapter import flows


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a packet now, and what would once every active rule is in force."""

    now: TrafficRule | None
    wished: TrafficRule | None
    #: Active rules that cannot be read and so decide nothing.
    unreadable: int = 0

    @property
    def agree(self) -> bool:
        """Whether what is and what should be are the same."""
        return (self.now and self.now.pk) == (self.wished and self.wished.pk)


def judge(packet: flows.Packet, rows: Iterable[TrafficRule]) -> Verdict:
    """Decide about a packet by the active rules; the first that matches, by priority and id, wins."""
    rules = []
    unreadable = 0
    for row in rows:
        if row.state != RuleState.ACTIVE:
            continue
        try:
            rules.append((as_rule(f"{row.app_id}/{row.rule_id}", row), row))
        except (KeyError, TypeError):
            unreadable += 1
    rules.sort(key=lambda pair: pair[0].order)
    wished: TrafficRule | None = None
    for rule, row in rules:
        try:
            fitting = flows.decide([rule], packet) is not None
        except BreakwaterError:
            unreadable += 1
            continue
        if not fitting:
            continue
        wished = wished or row
        if row.enforcement == Enforcement.IN_FORCE:
            return Verdict(row, wished, unreadable)
    return Verdict(None, wished, unreadable)


def by_database(packet: flows.Packet) -> Verdict:
    """Decide by the rules of this node; one query."""
    return judge(packet, TrafficRule.objects.filter(state=RuleState.ACTIVE).select_related("app"))


def fate(rule: TrafficRule | None) -> str:
    """Return what happens to a packet that this rule decides about."""
    if rule is None:
        return "No rule is about it: it goes its ordinary way, to the internet."
    action, where = rule.body.get("action", ""), " and ".join(targets(rule.body))
    named = rule.app.name
    if action == "DROP":
        return "It is dropped."
    if action == "PASSTHROUGH":
        return "It goes its ordinary way, to the internet; no later rule may change that."
    if action.startswith("DUPLICATE"):
        return f"It goes its ordinary way, and a copy goes to {named} at {where}."
    form = "still in its tunnel" if action == "FORWARD_ENCAPSULATED" else "out of its tunnel"
    return f"It goes to {named} at {where}, {form}."


def targets(body: Mapping[str, Any]) -> list[str]:
    """Return the addresses that a rule sends to."""
    return [address_of(target)[1] or address_of(target)[0] for target in body.get("dstInterface") or ()]
