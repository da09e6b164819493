"""What the operator does at this node: make, change, switch and remove rules; end subscriptions and apps; tend alarms.

A traffic rule that this node's user plane cannot express is refused when it would become active.
Every verb is one transaction and raises the counters as the app's own calls do, so that the user plane, DNS, the
fast path and the centre hear of it. Rules of the operator have the origin `operator` and stay when the app's
descriptor changes; the rules of a descriptor can be switched here, but their content is the descriptor's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from core.errors import Conflict, Denied, Invalid, Missing
from mep.dns.models import DnsScope
from mep.mp1 import rules, services, steering, wire
from mep.mp1.models import Alarm, App, Counter, DnsRule, Subscription, TrafficRule
from mep.mp1.rules import AnyRule
from mep.mp1.states import Action, AppState, RuleOrigin, RuleState


@transaction.atomic
def create_traffic(app_id: str, rule_id: str, raw: Mapping[str, Any]) -> TrafficRule:
    """Make a traffic rule for an app; `raw` is a TrafficRule of MEC 011, its `state` INACTIVE unless it says otherwise."""
    wanted = wire.traffic_rule(dict(raw))
    return _create(TrafficRule, app_id, rule_id, {"body": rules.traffic_members(wanted)}, wanted.state)


@transaction.atomic
def create_dns(app_id: str, rule_id: str, raw: Mapping[str, Any], *, scope: str = "") -> DnsRule:
    """Make a DNS rule for an app; `scope` is the DNS scope that gets the answer, empty for everybody."""
    wanted = wire.dns_rule(dict(raw))
    members = {**rules.dns_members(wanted), "scope": _scope(scope)}
    return _create(DnsRule, app_id, rule_id, members, wanted.state)


@transaction.atomic
def change_traffic(pk: int, raw: Mapping[str, Any], *, if_match: str | None = None) -> TrafficRule:
    """Give one of the operator's traffic rules another content; `Stale` when it changed meanwhile."""
    rule = _ours(find(TrafficRule, pk))
    wanted = wire.traffic_rule(dict(raw))
    body = rules.traffic_members(wanted)
    steering.check(rule, body, wanted.state)
    return rules.change(rule.app, rule, {"body": body}, wanted.state, if_match)


@transaction.atomic
def change_dns(pk: int, raw: Mapping[str, Any], *, scope: str = "", if_match: str | None = None) -> DnsRule:
    """Give one of the operator's DNS rules another content; the operator may change its name as well."""
    rule = _ours(find(DnsRule, pk))
    wanted = wire.dns_rule(dict(raw))
    members = {**rules.dns_members(wanted), "scope": _scope(scope)}
    return rules.change(rule.app, rule, members, wanted.state, if_match)


@transaction.atomic
def set_state(kind: type[AnyRule], pk: int, state: RuleState, *, if_match: str | None = None) -> AnyRule:
    """Switch a rule of any origin on or off; it keeps that state until its app ends."""
    rule = find(kind, pk)
    if isinstance(rule, TrafficRule):
        steering.check(rule, rule.body, state)
    return rules.change(rule.app, rule, {}, state, if_match)


@transaction.atomic
def remove(kind: type[AnyRule], pk: int) -> AnyRule:
    """Remove one of the operator's rules and return what it was; a descriptor's can only be switched off."""
    rule = _ours(find(kind, pk))
    kind.objects.filter(pk=rule.pk).delete()
    Counter.bump(rules.counter_of(kind))
    return rule


@transaction.atomic
def end_subscription(subscription_id: str) -> Subscription:
    """End a subscription of an app; what still waits for it is dropped. The app is not told and may subscribe again."""
    found = Subscription.objects.select_related("app").filter(pk=subscription_id).first()
    if found is None:
        raise Missing(f"There is no subscription {subscription_id!r}; the app may have ended it itself")
    Subscription.objects.filter(pk=found.pk).delete()
    return found


@transaction.atomic
def begin_termination(app_id: str, *, action: Action = Action.TERMINATING, timeout: float | None = None) -> App:
    """Announce the end (or a stop) to an app; `Conflict` when it is over already or under way."""
    app = _app(app_id)
    if app.state in (AppState.TERMINATING, AppState.TERMINATED):
        raise Conflict(f"{app.name} is {app.state.lower()} already")
    services.begin_termination(app.pk, action=action, timeout=timeout)
    return _app(app_id)


@transaction.atomic
def clear_alarm(pk: int) -> Alarm:
    """Clear an alarm; it comes back when its cause is still there and raises it again."""
    found = Alarm.objects.filter(pk=pk).first()
    if found is None:
        raise Missing("This alarm is gone")
    if found.cleared_at is None:
        found.cleared_at = time.time()
        found.save(update_fields=["cleared_at"])
        Counter.bump("alarms")
    return found


def find(kind: type[AnyRule], pk: int) -> AnyRule:
    """Return a rule with its app; `Missing` when there is none."""
    rule = kind.objects.select_related("app").filter(pk=pk).first()
    if rule is None:
        raise Missing("This rule is gone; its app was removed, or somebody removed the rule")
    return rule


def _create(
    kind: type[AnyRule], app_id: str, rule_id: str, members: dict[str, Any], state: RuleState | None
) -> AnyRule:
    app = _app(app_id)
    if not 0 < len(rule_id) <= 255 or not re.fullmatch(r"[^/\s\x00-\x1f\x7f]+(?: [^/\s\x00-\x1f\x7f]+)*", rule_id):
        raise _wrong("ruleId", "must be a text of 1 to 255 characters without / and control characters")
    if kind.objects.filter(app=app, rule_id=rule_id).exists():
        raise Conflict(f"{app.name} has a rule {rule_id!r} already", field="ruleId")
    after = state or RuleState.INACTIVE
    if after is RuleState.ACTIVE and app.state not in (AppState.READY, AppState.PROVISIONED):
        raise Denied(f"The app instance is {app.state.lower()}; its rules cannot be activated")
    # The operator chose the state: an app that gets ready does not switch the rule on.
    rule = kind(app=app, rule_id=rule_id, state=after, origin=RuleOrigin.OPERATOR, chosen=True, **members)
    if isinstance(rule, TrafficRule):
        steering.check(rule, rule.body, after)
    rules.save(rule)
    return rule


def _ours(rule: AnyRule) -> AnyRule:
    if rule.origin == RuleOrigin.CENTRE:
        raise Denied(f"Rule {rule.rule_id} was set from the centre; here it can only be switched on and off")
    if rule.origin != RuleOrigin.OPERATOR:
        raise Denied(
            f"Rule {rule.rule_id} belongs to the descriptor of {rule.app.name}; here it can only be switched on and off"
        )
    return rule


def _app(app_id: str) -> App:
    app = App.objects.filter(pk=app_id).first()
    if app is None:
        raise Missing(f"There is no app instance {app_id}")
    return app


def _scope(name: str) -> str:
    if name and not DnsScope.objects.filter(pk=name).exists():
        raise _wrong("scope", f"must be a DNS scope of this node, which {name[:80]!r} is not")
    return name


def _wrong(field: str, detail: str) -> Invalid:
    return Invalid(f"{field} {detail}", errors=[{"field": field, "detail": detail}])
