"""What the centre wants of an app's rules, laid over what the descriptor says.

The wish of one app instance is one row: it is there before the app is and stays when it goes, so an app that comes back,
or comes as another release, has its rules as wished from its first moment. `overlay` is the decision, a pure function;
`mep.mp1.rules` makes it so. What could not be heeded, and why, is written on the row for whoever reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import BreakwaterError, Invalid
from core.mecrules import dns_rule, traffic_members, traffic_rule
from mep.mp1.models import RuleWish
from mep.mp1.states import RuleOrigin, RuleState

TRAFFIC, DNS = "traffic", "dns"
KINDS = (TRAFFIC, DNS)
APPLIED, REFUSED, LOST = "applied", "refused", "lost"
#: Of a whole wish, beside applied and refused: its app is not here yet.
WAITING = "waiting"


@dataclass(slots=True)
class Overlaid:
    """The rules of one kind that an app should have: columns by rule id, the states wished for, what became of each wish."""

    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, RuleState] = field(default_factory=dict)
    outcomes: list[dict[str, str]] = field(default_factory=list)


def overlay(
    kind: str,
    described: Mapping[str, Mapping[str, Any]],
    wished: Mapping[str, Mapping[str, Any]],
    local: Collection[str],
    check: Callable[[str, Mapping[str, Any]], None],
) -> Overlaid:
    """Lay what is wished for over what the descriptor says.

    `local` are the ids of rules that the operator made at this node, which nobody takes away. `check` raises for the body
    of a traffic rule that the user plane cannot express; such a wish is refused and the rule stays the descriptor's.
    """
    found = Overlaid({key: {**columns, "origin": RuleOrigin.DESCRIPTOR} for key, columns in described.items()})
    for key, entry in sorted(wished.items()):
        outcome, reason = APPLIED, ""
        try:
            if key not in described and not entry.get("made"):
                outcome, reason = LOST, "The package has no rule of this name any more"
            elif key in local and key not in described:
                raise Invalid("The operator at the node has made a rule of this name")
            else:
                _lay(found, kind, key, entry, check)
        except BreakwaterError as problem:
            outcome, reason = REFUSED, problem.detail[:500]
        found.outcomes.append({"kind": kind, "id": key, "outcome": outcome, "reason": reason})
    return found


def _lay(
    found: Overlaid,
    kind: str,
    key: str,
    entry: Mapping[str, Any],
    check: Callable[[str, Mapping[str, Any]], None],
) -> None:
    state = state_of(entry)
    raw = entry.get("rule")
    if raw is None and key not in found.columns:
        raise Invalid("A rule that is added needs its content")
    if raw is not None:
        columns = columns_of(kind, raw)
        if kind == TRAFFIC:
            check(key, columns["body"])
        before = found.columns.get(key, {})
        found.columns[key] = {**before, **columns, "origin": RuleOrigin.CENTRE}
    else:
        found.columns[key] = {**found.columns[key], "origin": RuleOrigin.CENTRE}
    if state is not None:
        found.states[key] = state


def columns_of(kind: str, raw: Any) -> dict[str, Any]:
    """Return the columns of a rule of MEC 011; `Invalid` when it is none."""
    if kind == TRAFFIC:
        return {"body": traffic_members(traffic_rule(raw))}
    rule = dns_rule(raw)
    columns = {
        "domain_name": rule.domain_name,
        "family": rule.ip_address_type,
        "address": rule.ip_address,
        "ttl": rule.ttl,
    }
    # A rule that says nothing about the scope leaves it to the management of this node.
    return columns if rule.scope is None else {**columns, "scope": rule.scope}


def wish_of(app_instance_id: str) -> Mapping[str, Any]:
    """Return what the centre wants of this app's rules, by kind and id; empty when it wants nothing."""
    found = RuleWish.objects.filter(pk=app_instance_id).values_list("spec", flat=True).first()
    return found if isinstance(found, dict) else {}


def became(row: RuleWish, *, here: bool) -> str:
    """Return what became of a whole wish: applied, refused when part of it was, or waiting for an app that is not `here`."""
    if not here:
        return WAITING
    return REFUSED if any(each["outcome"] != APPLIED for each in row.outcomes) else APPLIED


def held(apps: Collection[str]) -> list[dict[str, Any]]:
    """Return which wishes this platform holds, of which generation, and what became of each; `apps` are those here."""
    return [
        {"appInstanceId": row.pk, "generation": row.generation, "state": became(row, here=row.pk in apps)}
        for row in RuleWish.objects.defer("spec").order_by("pk")
    ]


def wished(spec: Mapping[str, Any], kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the entries of one kind that can be read as such."""
    entries = spec.get(kind)
    entries = entries if isinstance(entries, dict) else {}
    return {key: entry for key, entry in entries.items() if isinstance(entry, dict) and usable_id(key)}


def usable_id(text: object) -> bool:
    """Return whether a rule can be called so."""
    return isinstance(text, str) and 0 < len(text) <= 255 and "/" not in text and text.isprintable()


def heeded(app_instance_id: str, kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the entries of one kind that are in effect, by rule id; what was refused or lost is not among them."""
    return heeded_in(RuleWish.objects.filter(pk=app_instance_id).first(), kind)


def heeded_in(row: RuleWish | None, kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the same of a wish that was read already."""
    if row is None:
        return {}
    done = {each["id"] for each in row.outcomes if (each["kind"], each["outcome"]) == (kind, APPLIED)}
    return {key: entry for key, entry in wished(row.spec, kind).items() if key in done}


def scoped(entries: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the ids of the DNS rules whose scope the centre has set."""
    rules = {key: entry.get("rule") for key, entry in entries.items()}
    return {key for key, rule in rules.items() if isinstance(rule, dict) and rule.get("scope") is not None}


def state_of(entry: Mapping[str, Any]) -> RuleState | None:
    """Return the state that is wished for; None when it is the app's own business."""
    said = entry.get("state")
    return RuleState(said) if said in ("ACTIVE", "INACTIVE") else None


def write_down(app_instance_id: str, outcomes: Iterable[Mapping[str, str]]) -> None:
    """Remember what became of the wish."""
    RuleWish.objects.filter(pk=app_instance_id).update(outcomes=list(outcomes))
