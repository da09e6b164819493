"""What the operator does with DNS: scopes, who gets the answer of a rule, and asking who would be answered what."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from core.errors import Conflict, Invalid, Missing
from mep.dns import wire
from mep.dns.models import DnsScope
from mep.dns.records import Rule, record_sets
from mep.dns.responder import OURS, Responder
from mep.dns.scopes import KINDS, Network, Scope, networks, read
from mep.dns.table import Table
from mep.mp1.models import App, Counter, DnsRule
from mep.mp1.rules import find
from mep.mp1.states import Enforcement, RuleState

#: Prefixes that one scope may have: a scope of UEs may list each of them.
MOST_NETWORKS = 10_000
TYPES = {"A": wire.A, "AAAA": wire.AAAA, "CNAME": wire.CNAME, "HTTPS": wire.HTTPS, "SVCB": wire.SVCB, "ANY": wire.ANY,
         "MX": 15, "TXT": 16, "NS": 2, "SOA": wire.SOA, "PTR": 12, "SRV": 33}  # fmt: skip


@transaction.atomic
def put_scope(name: str, *, kind: str, networks: Iterable[str]) -> DnsScope:
    """Make a scope have exactly these prefixes; counts from the next query on.

    `Conflict` when another scope of that kind has one of them: nobody could say whose answer is right.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise Invalid("A scope's name is 1 to 64 letters, digits or . _ -, and begins with a letter or digit")
    if kind not in KINDS:
        raise _invalid("kind", f"must be one of {', '.join(KINDS)}")
    wanted = _prefixes(networks)
    for other in DnsScope.objects.filter(kind=kind).exclude(pk=name):
        both = set(other.networks).intersection(wanted)
        if both:
            raise Conflict(f"{min(both)} belongs to the {kind} scope {other.name} already")
    scope, _ = DnsScope.objects.update_or_create(name=name, defaults={"kind": kind, "networks": wanted})
    Counter.bump("dns_scopes")
    return scope


def find_scope(name: str) -> DnsScope:
    """Return a scope; `Missing` when there is none of that name."""
    scope = DnsScope.objects.filter(pk=name).first()
    if scope is None:
        raise Missing(f"There is no DNS scope {name!r}")
    return scope


@transaction.atomic
def delete_scope(name: str) -> None:
    """Forget a scope, gone already is fine; `Conflict` while a rule is for it."""
    users = DnsRule.objects.filter(scope=name)
    if users.exists():
        raise Conflict(f"{users.count()} DNS rules are for the scope {name}, for example {users[0]}")
    if DnsScope.objects.filter(pk=name).delete()[0]:
        Counter.bump("dns_scopes")


def describe_scope(scope: DnsScope) -> dict[str, Any]:
    """Return a scope as JSON values."""
    rules = DnsRule.objects.filter(scope=scope.pk).count()
    return {"name": scope.name, "kind": scope.kind, "networks": scope.networks, "rules": rules}


def scopes() -> list[dict[str, Any]]:
    """Return all scopes as JSON values, for the console and for backups."""
    return [describe_scope(scope) for scope in DnsScope.objects.all()]


@transaction.atomic
def replace_scopes(wanted: Iterable[Mapping[str, Any]]) -> None:
    """Have exactly these scopes, each with `name`, `kind` and `networks`: for a restored backup."""
    DnsScope.objects.all().delete()
    Counter.bump("dns_scopes")
    for each in wanted:
        put_scope(each["name"], kind=each["kind"], networks=each["networks"])


@transaction.atomic
def set_rule_scope(app_instance_id: str, rule_id: str, scope: str) -> DnsRule:
    """Let only clients of a scope get the answer of a rule; an empty name means everybody."""
    app = App.objects.filter(pk=app_instance_id).first()
    if app is None:
        raise Missing(f"There is no app instance {app_instance_id}")
    rule = find(DnsRule, app, rule_id)
    if scope:
        find_scope(scope)
    if rule.scope != scope:
        rule.scope, rule.revision = scope, Counter.bump("dns")
        rule.enforcement, rule.reason = Enforcement.PENDING, ""
        rule.save(update_fields=["scope", "revision", "enforcement", "reason"])
    return rule


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a client would be answered. `outcome` is address, no-data, any, forward, refused or stranger."""

    outcome: str
    scope: str
    scope_kind: str
    rules: tuple[str, ...]
    addresses: tuple[str, ...]
    text: str


def resolve(name: str, kind: str, source: str) -> Resolution:
    """Return which scope and which rules answer a client at `source`, found by the responder's own table."""
    name, kind = name.strip().rstrip(".").lower(), kind.strip().upper()
    try:
        owner, client = wire.wire_name(name), read(source.strip())
    except ValueError as problem:
        raise Invalid(f"The query cannot be asked: {problem}") from None
    if len(owner) > 255 or not name or any(not 0 < len(label) < 64 for label in name.split(".")):
        raise _invalid("name", f"{name[:80]!r} is no domain name")
    if kind not in TYPES:
        raise _invalid("kind", f"must be one of {', '.join(TYPES)}")
    rows = {row.pk: row for row in DnsRule.objects.filter(domain_name=name, state=RuleState.ACTIVE)}
    rules = [Rule(row.pk, name, row.family, row.address, row.ttl, row.scope) for row in rows.values()]
    known = [Scope(each.name, each.kind, networks(each.networks)) for each in DnsScope.objects.all()]
    table = Table(record_sets(rules, settings.DNS_TTL).values(), known)
    forwards = bool(settings.DNS_UPSTREAMS)
    view = Responder(settings.DNS_NETWORKS, forwards=forwards, table=table).client(str(client)).view
    if view is None:
        return Resolution("stranger", "", "", (), (), f"{client} is in none of MEP_DNS_NETWORKS and is refused")
    found = view.find(owner)
    elsewhere = "is asked upstream" if forwards else "is refused, as there are no upstream resolvers"
    kinds = table.order.kinds
    sees = ", then ".join(f"the {kinds[each]} scope {each}" for each in view.names) or "no scope"
    sees = f"{client} is in {sees}"
    if found is None:
        text = f"{sees}; no rule for it has {name}, so the query {elsewhere}"
        return Resolution("forward" if forwards else "refused", "", "", (), (), text)
    scope = found.sets[0].scope
    where = f"the {kinds[scope]} scope {scope}" if scope else "everybody"
    addresses = tuple(address for each in found.sets if each.kind == kind for address in each.addresses)
    used = tuple(str(rows[rule.pk]) for rule in rules if rule.scope == scope and (rule.key[2] == kind or not addresses))
    told = f"{sees}; {name} is answered by the rules for {where}: {', '.join(used)}"
    if addresses:
        ttl = next(each.ttl for each in found.sets if each.kind == kind)
        outcome, said = "address", f"{kind} is {', '.join(addresses)} for {ttl} s"
    elif kind == "ANY":
        outcome, said = "any", "ANY gets a short answer (RFC 8482)"
    elif forwards and TYPES[kind] not in OURS:
        outcome, said = "forward", f"they have no say about {kind}, which {elsewhere}"
    else:
        outcome, said = "no-data", f"{kind} is answered with no data, so that nobody is led past the edge"
    return Resolution(outcome, scope, kinds.get(scope, ""), used, addresses, f"{told}; {said}")


def _prefixes(texts: Iterable[str]) -> list[str]:
    found: list[Network] = []
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise _invalid("networks", "must be a list of prefixes")
    for at, text in enumerate(texts):
        if at >= MOST_NETWORKS:
            raise _invalid("networks", f"must be at most {MOST_NETWORKS} prefixes")
        try:
            if not isinstance(text, str) or "%" in text:
                raise ValueError
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise _invalid(f"networks[{at}]", f"{str(text)[:60]!r} is no prefix such as 10.45.0.0/16") from None
    if not found:
        raise _invalid("networks", "must have at least one prefix")
    return [str(net) for net in dict.fromkeys(found)]


def _invalid(field: str, detail: str) -> Invalid:
    return Invalid(f"{field} {detail}", errors=[{"field": field, "detail": detail}])
