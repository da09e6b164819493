"""The packet tester: which rule decides about a packet, and what happens then, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import prefetch_related_objects

from core.errors import BreakwaterError
from core.words import say
from mep.console.rule_forms import address_of
from mep.mp1.models import TrafficRule
from mep.mp1.states import Enforcement, RuleState
from mep.mp1.steering import as_rule
from upf_adapter import flows
from upf_adapter.contract import TrafficRule as TrafficRuleOfUpf

#: Rules whose filters are kept in typed form.
MOST_READ = 50_000


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


#: key of a row -> (its revision, its rule, its filters in typed form; None when it cannot be read)
Read = tuple[int, TrafficRuleOfUpf, tuple[flows.Match, ...] | None]
_read: dict[int, Read] = {}


def judge(packet: flows.Packet, rows: Iterable[TrafficRule]) -> Verdict:
    """Decide about a packet by the active rules; the first that matches, by priority and id, wins.

    It is `flows.decide`, rule by rule, so that one that cannot be read hides no other and the one that should decide
    is told beside the one that does.
    """
    active = [(row, _typed(row)) for row in rows if row.state == RuleState.ACTIVE]
    unreadable = sum(matches is None for _, (_, _, matches) in active)
    active.sort(key=lambda pair: pair[1][1].order)
    wished: TrafficRule | None = None
    for row, (_, _, matches) in active:
        if not any(flows.agrees(match, packet) for match in matches or ()):
            continue
        wished = wished or row
        if row.enforcement == Enforcement.IN_FORCE:
            return Verdict(row, wished, unreadable)
    return Verdict(None, wished, unreadable)


def _typed(row: TrafficRule) -> Read:
    """Return a row's filters in typed form; reading ten thousand takes a second, so they are kept by revision."""
    known = _read.get(row.pk)
    if known is not None and known[0] == row.revision:
        return known
    key = f"{row.app_id}/{row.rule_id}"
    try:
        rule = as_rule(key, row)
        made: Read = (row.revision, rule, flows.matches_of(rule))
    except (BreakwaterError, KeyError, TypeError, AttributeError):
        made = (row.revision, TrafficRuleOfUpf(key, "FLOW", 255, (), ""), None)
    if len(_read) > MOST_READ:
        _read.clear()
    _read[row.pk] = made
    return made


def by_database(packet: flows.Packet) -> Verdict:
    """Decide by the rules of this node; two queries."""
    verdict = judge(packet, TrafficRule.objects.filter(state=RuleState.ACTIVE))
    prefetch_related_objects([rule for rule in (verdict.now, verdict.wished) if rule is not None], "app")
    return verdict


def fate(rule: TrafficRule | None) -> str:
    """Return what happens to a packet that this rule decides about."""
    if rule is None:
        return say("No rule is about it: it goes its ordinary way, to the internet.")
    action, ends = rule.body.get("action", ""), targets(rule.body)
    where = say("{one} and {other}", one=ends[0], other=ends[1]) if len(ends) == 2 else ", ".join(ends)
    named = rule.app.name
    if action == "DROP":
        return say("It is dropped.")
    if action == "PASSTHROUGH":
        return say("It goes its ordinary way, to the internet; no later rule may change that.")
    if action.startswith("DUPLICATE"):
        return say("It goes its ordinary way, and a copy goes to {app} at {where}.", app=named, where=where)
    if action == "FORWARD_ENCAPSULATED":
        return say("It goes to {app} at {where}, still in its tunnel.", app=named, where=where)
    return say("It goes to {app} at {where}, out of its tunnel.", app=named, where=where)


def targets(body: Mapping[str, Any]) -> list[str]:
    """Return the addresses that a rule sends to."""
    return [address_of(target)[1] or address_of(target)[0] for target in body.get("dstInterface") or ()]
