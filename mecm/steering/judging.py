"""The rules that a node's MEP reported, in the order in which its user plane asks them, and what they make of a packet."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _

from core.errors import BreakwaterError
from mecm.edge.models import ReportedObject
from upf_adapter import flows, overlaps
from upf_adapter.contract import TrafficRule

#: Rules of which every two are compared; a page is no place for an hour of it.
MOST_COMPARED = 300
#: Rules that decide about a packet; no user plane of ours takes more.
MOST_READ = 20_000


@dataclass(frozen=True, slots=True)
class Reported:
    """One rule as a node told it. `matches` is None when it cannot be read, and `problem` says why."""

    rule: TrafficRule
    name: str
    app: str
    active: bool
    in_force: bool
    enforcement: str = ""
    reason: str = ""
    matches: tuple[flows.Match, ...] | None = None
    problem: str = ""

    def about(self, packet: flows.Packet) -> bool:
        """Whether the rule is about this packet."""
        if self.matches is None or packet.src.version not in flows.families(self.rule):
            return False
        return any(flows.agrees(match, packet) for match in self.matches)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What decides about a packet `now`, what would once every active rule is in force, and who matches but comes later."""

    now: Reported | None
    wished: Reported | None
    later: tuple[Reported, ...] = ()
    sleeping: tuple[Reported, ...] = ()

    @property
    def agree(self) -> bool:
        """Whether what is and what should be are the same."""
        return self.now is self.wished


@dataclass(frozen=True, slots=True)
class Steering:
    """All rules of a node by the order in which they decide, and what they do to each other."""

    rules: tuple[Reported, ...] = ()
    findings: tuple[overlaps.Finding, ...] = ()
    adapter: str = ""
    simulated: bool = False

    @property
    def compared(self) -> bool:
        """Whether the rules were few enough to be compared with each other."""
        return len(self.rules) <= MOST_COMPARED

    def judge(self, packet: flows.Packet) -> Verdict:
        """Decide about a packet: of the active rules that match, the one with the lowest priority, then id."""
        about = [each for each in self.rules if each.about(packet)]
        active = [each for each in about if each.active]
        now = next((each for each in active if each.in_force), None)
        wished = active[0] if active else None
        later = tuple(each for each in active if each not in (now, wished))
        return Verdict(now, wished, later, tuple(each for each in about if not each.active))


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that somebody writes: how it stands among those of its node, and what it is in the way of."""

    steering: Steering
    reported: Reported
    findings: tuple[overlaps.Finding, ...] = ()


def drafted(steering: Steering, rule: TrafficRule, *, name: str, app: str, active: bool = True) -> Draft:
    """Put a rule among those of a node as if it were in force, in place of one of its id; compare it with the active ones."""
    mine = _read_rule(rule, name=name, app=app, active=active, in_force=active, enforcement="", reason="")
    rules = sorted(
        [*(each for each in steering.rules if each.rule.id != rule.id), mine], key=lambda one: one.rule.order
    )
    readable = [each.rule for each in rules if each.matches is not None and (each.active or each is mine)]
    found = overlaps.findings(readable) if mine.matches is not None and len(rules) <= MOST_COMPARED else []
    about = [each for each in found if rule.id in (each.rule.id, *(one.id for one in each.others))]
    return Draft(Steering(tuple(rules), steering.findings, steering.adapter, steering.simulated), mine, tuple(about))


def with_wishes(steering: Steering, wishes: Iterable[tuple[TrafficRule, str, str, bool]]) -> Steering:
    """Return the rules as they will be once wishes that are on their way have come: (rule, name, app, active) each."""
    coming = [
        _read_rule(rule, name=name, app=app, active=active, in_force=active, enforcement="pending", reason="")
        for rule, name, app, active in wishes
    ]
    if not coming:
        return steering
    ids = {each.rule.id for each in coming}
    rules = sorted(
        [*(each for each in steering.rules if each.rule.id not in ids), *coming], key=lambda one: one.rule.order
    )
    return Steering(tuple(rules), steering.findings, steering.adapter, steering.simulated)


def of_node(node: uuid.UUID) -> Steering:
    """Return what the MEP of a node reported last; one query, and read anew only when it reported anew."""
    row = ReportedObject.objects.filter(node=node, kind="mep", key="state").first()
    return _read(_Report(row)) if row is not None else Steering()


class _Report:
    """A reported object as the key of what was read from it."""

    def __init__(self, row: ReportedObject) -> None:
        self.row, self.key = row, (row.pk, row.reported_at)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Report) and self.key == other.key


@lru_cache(maxsize=32)
def _read(report: _Report) -> Steering:
    status = report.row.status if isinstance(report.row.status, dict) else {}
    report.row = None  # type: ignore[assignment]  # the key stays in the cache, the document need not
    return steering(status)


def steering(status: Mapping[str, Any]) -> Steering:
    """Read a MEP's report; it is shown, never trusted to have our shape."""
    plane = status.get("user_plane")
    plane = plane if isinstance(plane, dict) else {}
    names = {app.get("appInstanceId"): str(app.get("appName", "")) for app in _dicts(status.get("apps"))}
    rules = [_reported(raw, names) for raw in _dicts(status.get("traffic_rules"))[:MOST_READ]]
    rules.sort(key=lambda each: each.rule.order)
    readable = [each.rule for each in rules if each.active and each.matches is not None]
    findings = overlaps.findings(readable) if len(rules) <= MOST_COMPARED else []
    return Steering(tuple(rules), tuple(findings), str(plane.get("adapter", "")), bool(plane.get("simulated")))


def _reported(raw: Mapping[str, Any], names: Mapping[Any, str]) -> Reported:
    name, app = str(raw.get("trafficRuleId", "")), str(raw.get("appInstanceId", ""))
    priority = raw.get("priority")
    made = TrafficRule(
        f"{app}/{name}",
        str(raw.get("filterType", "FLOW")),
        priority if isinstance(priority, int) and not isinstance(priority, bool) else 255,
        tuple(_dicts(raw.get("trafficFilter"))),
        str(raw.get("action", "")),
        tuple(_dicts(raw.get("dstInterface"))),
    )
    said: dict[str, Any] = {
        "name": name,
        "app": names.get(raw.get("appInstanceId")) or app,
        "active": raw.get("state") == "ACTIVE",
        "in_force": raw.get("enforcement") == "in-force",
        "enforcement": str(raw.get("enforcement", "")),
        "reason": str(raw.get("reason") or ""),
    }
    return _read_rule(made, **said)


def _read_rule(made: TrafficRule, **said: Any) -> Reported:
    try:
        return Reported(made, matches=flows.matches_of(made), **said)
    except (BreakwaterError, TypeError, ValueError, AttributeError, KeyError) as problem:
        words = problem.detail if isinstance(problem, BreakwaterError) else _("it has not the shape of a rule")
        return Reported(made, problem=words, **said)


def _dicts(found: Any) -> list[dict[str, Any]]:
    # MEC 011's OpenAPI files have one object where its text has a list; a MEP answers one for one.
    many: Iterable[Any] = found if isinstance(found, list) else [found]
    return [each for each in many if isinstance(each, dict)]


def fate(reported: Reported | None) -> str:
    """Return what happens to a packet that this rule decides about, in words."""
    if reported is None:
        return _("No rule is about it: it goes its ordinary way, to the internet.")
    action, app = reported.rule.action, reported.app
    where = _(" and ").join(targets(reported.rule)) or "?"
    if action == "DROP":
        return _("It is dropped.")
    if action == "PASSTHROUGH":
        return _("It goes its ordinary way, to the internet; no later rule may change that.")
    if action.startswith("DUPLICATE"):
        return _("It goes its ordinary way, and a copy goes to %(app)s at %(where)s.") % {"app": app, "where": where}
    if action == "FORWARD_ENCAPSULATED":
        return _("It goes to %(app)s at %(where)s, still in its tunnel.") % {"app": app, "where": where}
    return _("It goes to %(app)s at %(where)s, out of its tunnel.") % {"app": app, "where": where}


def targets(rule: TrafficRule) -> list[str]:
    """Return the addresses that a rule sends to."""
    found = []
    for each in rule.destinations:
        tunnel = each.get("tunnelInfo")
        tunnel = tunnel if isinstance(tunnel, dict) else {}
        address = each.get("dstIpAddress") or tunnel.get("tunnelDstAddress") or each.get("dstMacAddress")
        if address:
            found.append(str(address))
    return found
