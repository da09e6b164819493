"""Traffic and DNS rules: they come with the app's descriptor, the app may only activate, deactivate and update them.

MEC 011 7.2.7 to 7.2.10. Which ones are in force is written down here; `steering` and `mep.dns` make it so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

from core.errors import Denied, Invalid, Missing, Stale
from core.mecrules import traffic_members as traffic_members
from mep.mp1 import approval, overrides, steering, wire
from mep.mp1.conditions import matches
from mep.mp1.models import App, Counter, DnsRule, RuleWish, TrafficRule
from mep.mp1.states import (
    AppState,
    Enforcement,
    RuleOrigin,
    RuleState,
    asked_rule_state,
    forgets_choice,
    rule_state,
)

AnyRule = TypeVar("AnyRule", TrafficRule, DnsRule)
_KINDS: dict[str, type[TrafficRule] | type[DnsRule]] = {overrides.TRAFFIC: TrafficRule, overrides.DNS: DnsRule}


def read_all(
    traffic_rules: Iterable[Mapping[str, Any]], dns_rules: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, wire.TrafficRule], dict[str, wire.DnsRule]]:
    """Return the rules of a descriptor by id; one `Invalid` lists every mistake in any of them."""
    problems: list[dict[str, str]] = []
    traffic: dict[str, wire.TrafficRule] = {}
    dns: dict[str, wire.DnsRule] = {}
    readings: list[tuple[str, str, Iterable[Any], dict[str, Any], Any]] = [
        ("appTrafficRule", "trafficRuleId", traffic_rules, traffic, wire.traffic_rule),
        ("appDNSRule", "dnsRuleId", dns_rules, dns, wire.dns_rule),
    ]
    for member, key, raws, into, read in readings:
        for at, raw in enumerate(raws):
            place = f"{member}[{at}]"
            rule_id = raw.get(key) if isinstance(raw, Mapping) else None
            try:
                if not isinstance(rule_id, str) or not 0 < len(rule_id) <= 255 or "/" in rule_id:
                    raise Invalid(f"{key} must be a text of 1 to 255 characters without /")
                if rule_id in into:
                    raise Invalid(f"the {key} {rule_id!r} is used twice")
                into[rule_id] = read(dict(raw))
            except Invalid as problem:
                problems.append({"field": place, "detail": problem.detail})
    if problems:
        told = "; ".join(f"{each['field']}: {each['detail']}" for each in problems)
        raise Invalid(f"The rules of the descriptor are not usable: {told}", errors=problems)
    return traffic, dns


def described(traffic: Mapping[str, wire.TrafficRule], dns: Mapping[str, wire.DnsRule]) -> dict[str, Any]:
    """Return the rules of a descriptor as they are kept on the app: columns by kind and id."""
    # A descriptor that says nothing about the scope leaves it to the management of this node.
    scopes = {key: {"scope": rule.scope} if rule.scope is not None else {} for key, rule in dns.items()}
    return {
        overrides.TRAFFIC: {key: {"body": traffic_members(rule)} for key, rule in traffic.items()},
        overrides.DNS: {key: {**dns_members(rule), **scopes[key]} for key, rule in dns.items()},
    }


def replace(app: App, released: Collection[str] = ()) -> None:
    """Make the app have exactly the rules of its descriptor as the centre wants them; what stays the same keeps its state.

    Rules that the operator made on this node stay, unless the descriptor now has one of that id. `released` are the ids
    of DNS rules whose scope the centre had set until now: they are for everybody unless somebody says otherwise.
    """
    spec = overrides.wish_of(app.pk)
    outcomes: list[dict[str, str]] = []
    for name, kind in _KINDS.items():
        present: dict[str, Any] = {rule.rule_id: rule for rule in kind.objects.filter(app=app)}  # type: ignore[attr-defined]
        if app.described is None:
            app.described = {}
        if name not in app.described:
            app.described[name] = _as_described(present.values())
            app.save(update_fields=["described"])
        local = {key for key, rule in present.items() if rule.origin == RuleOrigin.OPERATOR}
        laid = overrides.overlay(
            name,
            app.described[name],
            overrides.wished(spec, name),
            local,
            lambda key, body: steering.expressible(f"{app.pk}/{key}", body),
        )
        for key in laid.columns.keys() & released if kind is DnsRule else ():
            laid.columns[key].setdefault("scope", "")
        _replace(app, kind, present, laid)
        outcomes += laid.outcomes
    if spec:
        overrides.write_down(app.pk, outcomes)


def wish(app_instance_id: str, generation: int, spec: Mapping[str, Any]) -> RuleWish:
    """Make the rules of an app as the centre wants them, now or when the app comes; twice has one effect.

    `spec` has for `traffic` and `dns`, by rule id: `rule` (the whole rule of MEC 011, or null for the descriptor's),
    `state` (or null for what follows from the app) and `made` (the descriptor has no such rule).
    """
    wanted = {name: overrides.wished(spec, name) for name in _KINDS}
    row = RuleWish.objects.filter(pk=app_instance_id).first()
    if row is not None and (row.generation, row.spec) == (generation, wanted):
        return row
    with transaction.atomic():
        released = overrides.scoped(overrides.heeded(app_instance_id, overrides.DNS))
        row, _ = RuleWish.objects.update_or_create(
            pk=app_instance_id, defaults={"generation": generation, "spec": wanted, "outcomes": []}
        )
        app = App.objects.filter(pk=app_instance_id).first()
        if app is not None:
            replace(app, released)
            row.refresh_from_db()
    return row


@transaction.atomic
def unwish(app_instance_id: str) -> None:
    """Forget what the centre wanted: the app has the rules of its descriptor again."""
    released = overrides.scoped(overrides.heeded(app_instance_id, overrides.DNS))
    if not RuleWish.objects.filter(pk=app_instance_id).delete()[0]:
        return
    app = App.objects.filter(pk=app_instance_id).first()
    if app is not None:
        replace(app, released)


def told(row: RuleWish) -> dict[str, Any]:
    """Return what became of a wish, for the centre: `applied`, `refused` when part of it was, or `waiting` for the app."""
    here = App.objects.filter(pk=row.pk).exists()
    status: dict[str, Any] = {"state": overrides.became(row, here=here), "reason": "", "message": ""}
    if not here:
        return {**status, "message": "the application is not on this node yet", "rules": []}
    return {**status, "rules": row.outcomes}


def follow(app: App) -> None:
    """Bring the app's rules into the state that follows from the app's own and from what the centre wants."""
    row = RuleWish.objects.filter(pk=app.pk).first()
    for name, kind in _KINDS.items():
        heeded = overrides.heeded_in(row, name)
        for rule in kind.objects.filter(app=app):  # type: ignore[attr-defined]
            after = rule_state(
                AppState(app.state),
                RuleState(rule.state),
                chosen=rule.chosen,
                wished=overrides.state_of(heeded.get(rule.rule_id, {})),
            )
            gone = forgets_choice(AppState(app.state))
            if after != rule.state or (gone and rule.chosen):
                rule.state, rule.chosen = after, rule.chosen and not gone
                _save(rule)


def find(kind: type[AnyRule], app: App, rule_id: str) -> AnyRule:
    """Return one rule of the app; `Missing` when it has none of that id."""
    rule = kind.objects.filter(app=app, rule_id=rule_id).first()
    if rule is None:
        raise Missing(f"This app instance has no rule {rule_id!r}")
    return rule


@transaction.atomic
def put_traffic(app: App, rule_id: str, raw: Any, if_match: str | None) -> TrafficRule:
    """Update a traffic rule as its app wishes; `Denied` beyond what was approved, `Stale` when it changed meanwhile."""
    wanted = wire.traffic_rule(raw)
    rule = find(TrafficRule, app, rule_id)
    body = traffic_members(wanted)
    steering.check(rule, body, wanted.state)
    _not_held(rule, {"body": body}, wanted.state)
    _approved(
        app,
        rule,
        {"body": body},
        wanted.state,
        lambda columns: approval.traffic_excess(columns["body"], body),
    )
    return _put(app, rule, {"body": body}, wanted.state, if_match)


@transaction.atomic
def put_dns(app: App, rule_id: str, raw: Any, if_match: str | None, *, source: str = "") -> DnsRule:
    """Update a DNS rule; its domain name stays: only names that the management allowed are answered (7.2.9).

    `source` is the address that the app speaks from; the name may lead there.
    """
    wanted = wire.dns_rule(raw)
    rule = find(DnsRule, app, rule_id)
    if wanted.domain_name != rule.domain_name:
        raise Denied(f"The domain name of this rule is {rule.domain_name} and only the management may change it")
    members = dns_members(wanted)
    _not_held(rule, members, wanted.state)
    _approved(
        app,
        rule,
        members,
        wanted.state,
        lambda columns: approval.dns_excess(
            columns,
            members,
            own=approval.own_addresses(source, (app.described or {}).get(overrides.TRAFFIC, {})),
            default_ttl=settings.DNS_TTL,
        ),
    )
    return _put(app, rule, members, wanted.state, if_match)


def etag(rule: TrafficRule | DnsRule) -> str:
    """Return the strong entity tag of the rule's present version."""
    return f'"{rule.revision}"'


def dns_members(rule: wire.DnsRule) -> dict[str, Any]:
    """Return the columns of a DNS rule."""
    return {
        "domain_name": rule.domain_name,
        "family": rule.ip_address_type,
        "address": rule.ip_address,
        "ttl": rule.ttl,
    }


def traffic_body(rule: TrafficRule) -> dict[str, Any]:
    """Return the TrafficRule of MEC 011 7.1.5.2; one destination is one object, as the OpenAPI files say."""
    body = dict(rule.body)
    destinations = body.get("dstInterface")
    if isinstance(destinations, list) and len(destinations) == 1:
        body["dstInterface"] = destinations[0]
    return {"trafficRuleId": rule.rule_id, **body, "state": rule.state}


def dns_body(rule: DnsRule) -> dict[str, Any]:
    """Return the DnsRule of MEC 011 7.1.5.3."""
    body: dict[str, Any] = {
        "dnsRuleId": rule.rule_id,
        "domainName": rule.domain_name,
        "ipAddressType": rule.family,
        "ipAddress": rule.address,
    }
    if rule.ttl is not None:
        body["ttl"] = rule.ttl
    return {**body, "state": rule.state}


def _as_described(present: Iterable[Any]) -> dict[str, Any]:
    """Return the descriptor's rules of an app that was provisioned before these were kept."""
    found: dict[str, Any] = {}
    for rule in present:
        if rule.origin != RuleOrigin.DESCRIPTOR:
            continue
        names = ("body",) if isinstance(rule, TrafficRule) else ("domain_name", "family", "address", "ttl", "scope")
        found[rule.rule_id] = {name: getattr(rule, name) for name in names}
    return found


def _replace(app: App, kind: type[AnyRule], present: Mapping[str, AnyRule], laid: overrides.Overlaid) -> None:
    gone = [rule.pk for key, rule in present.items() if key not in laid.columns and rule.origin != RuleOrigin.OPERATOR]
    if gone:
        kind.objects.filter(pk__in=gone).delete()
        Counter.bump(_counter(kind))
    for key, members in laid.columns.items():
        rule = present.get(key) or kind(app=app, rule_id=key)
        wished = laid.states.get(key)
        after = rule_state(AppState(app.state), RuleState(rule.state), chosen=rule.chosen, wished=wished)
        if rule.pk and after == rule.state and all(getattr(rule, name) == value for name, value in members.items()):
            continue
        for name, value in members.items():
            setattr(rule, name, value)
        rule.state = after
        _save(rule)


def _not_held(rule: TrafficRule | DnsRule, members: Mapping[str, Any], state: RuleState | None) -> None:
    """Raise `Denied` when the app would change what the centre has set on its rule."""
    if rule.origin != RuleOrigin.CENTRE:
        return
    kind = overrides.TRAFFIC if isinstance(rule, TrafficRule) else overrides.DNS
    entry = overrides.heeded(rule.app_id, kind).get(rule.rule_id, {})
    if entry.get("rule") is not None and any(getattr(rule, name) != value for name, value in members.items()):
        raise Denied(f"The operator of this platform has set the content of rule {rule.rule_id}")
    wished = overrides.state_of(entry)
    if wished is not None and state not in (None, wished):
        raise Denied(f"The operator of this platform keeps rule {rule.rule_id} {wished.lower()}")


def _approved(
    app: App,
    rule: TrafficRule | DnsRule,
    members: Mapping[str, Any],
    state: RuleState | None,
    excess: Callable[[Mapping[str, Any]], approval.Excess],
) -> None:
    """Raise `Denied`, with what is allowed, when the app's wish goes further than what was approved.

    Switching a rule off is no more than that, whatever it holds: one that was widened before may always end.
    """
    same = all(getattr(rule, name) == value for name, value in members.items())
    if settings.APP_RULES == approval.FREE or (same and state is RuleState.INACTIVE):
        return
    kind = overrides.TRAFFIC if isinstance(rule, TrafficRule) else overrides.DNS
    described = app.described or {}
    if kind not in described:
        # Provisioned before the descriptor's rules were kept: what is there now is the best that anybody knows of them.
        app.described = described = {**described, kind: _as_described(type(rule).objects.filter(app=app))}
        app.save(update_fields=["described"])
    columns = described[kind].get(rule.rule_id) if rule.origin != RuleOrigin.OPERATOR else None
    if columns is None or (rule.origin == RuleOrigin.CENTRE and _set_by_centre(rule, kind)):
        if not same:
            raise Denied(f"The operator of this platform has set the content of rule {rule.rule_id}")
        return
    problems = excess(columns)
    if problems:
        told = "; ".join(f"{each['field']} {each['detail']}" for each in problems)
        whole = type(rule)(app=app, rule_id=rule.rule_id, state=rule.state, **columns)
        raise Denied(
            f"An app may narrow rule {rule.rule_id}, not go beyond what was approved for it: {told}",
            errors=problems,
            approved=traffic_body(whole) if isinstance(whole, TrafficRule) else dns_body(whole),
        )


def _set_by_centre(rule: TrafficRule | DnsRule, kind: str) -> bool:
    return overrides.heeded(rule.app_id, kind).get(rule.rule_id, {}).get("rule") is not None


def _put(app: App, rule: AnyRule, members: dict[str, Any], state: RuleState | None, if_match: str | None) -> AnyRule:
    if not matches(if_match, etag(rule)):
        raise Stale("The rule has changed since that ETag; read it again")
    after = asked_rule_state(AppState(app.state), RuleState(rule.state), state)
    if after == rule.state and all(getattr(rule, name) == value for name, value in members.items()):
        if state is not None and not rule.chosen:
            rule.chosen = True
            rule.save(update_fields=["chosen"])
        return rule
    for name, value in members.items():
        setattr(rule, name, value)
    rule.chosen = rule.chosen or state is not None
    rule.state = after
    _save(rule)
    return rule


def _save(rule: TrafficRule | DnsRule) -> None:
    # The counter gives the revision, so that an id used again never repeats an ETag.
    rule.revision = Counter.bump(_counter(type(rule)))
    rule.enforcement, rule.reason = Enforcement.PENDING, ""
    rule.save()


def _counter(kind: type[TrafficRule] | type[DnsRule]) -> str:
    return "traffic" if kind is TrafficRule else "dns"


# What the operator's verbs (`mep.mp1.operator`) build on.
save, change, counter_of = _save, _put, _counter
