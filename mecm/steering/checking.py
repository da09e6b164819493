"""Whether a rule makes sense, and whether a node's user plane can do it: in the words that the node itself would use."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from core.errors import BreakwaterError, Invalid
from core.mecrules import RuleState, dns_rule, traffic_members, traffic_rule, without_nulls
from core.words import say
from mecm.steering.models import ID_OF, TRAFFIC
from upf_adapter import flows, limits
from upf_adapter.contract import Capabilities, TrafficRule

#: Members that are not part of a rule's content: who it is, and what became of it.
_ASIDE = {*ID_OF.values(), "state", "appInstanceId", "origin", "enforcement", "reason"}

#: As nodes name DNS scopes (MEC 011 knows none; `mep/dns/services.py`).
_SCOPE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def content(kind: str, raw: Any) -> dict[str, Any]:
    """Return the members of a rule in one spelling, whatever they came in; `Invalid` names the member that is wrong."""
    if not isinstance(raw, Mapping):
        raise Invalid(say("A rule must be an object"))
    plain = {name: value for name, value in raw.items() if name not in _ASIDE}
    if kind == TRAFFIC:
        members = traffic_members(traffic_rule(plain))
        filters = members["trafficFilter"]
        for at, each in enumerate(filters):
            _filter(each, f"trafficFilter[{at}]")
            first = filters.index(each)
            _holds(first == at, f"trafficFilter[{at}]", say("is the same as trafficFilter[{first}]", first=first))
        for at, target in enumerate(members.get("dstInterface") or ()):
            _address(target.get("dstIpAddress"), f"dstInterface[{at}].dstIpAddress")
        return members
    rule = dns_rule(plain)
    named = rule.scope is None or rule.scope == "" or re.fullmatch(_SCOPE, rule.scope) is not None
    _holds(named, "scope", say("must be the name of a DNS scope of the node, or empty for everybody"))
    members = {
        "domainName": rule.domain_name,
        "ipAddressType": rule.ip_address_type,
        "ipAddress": rule.ip_address,
        "ttl": rule.ttl,
        "scope": rule.scope,
    }
    return dict(without_nulls(members))


def _filter(raw: Mapping[str, Any], place: str) -> None:
    """Raise `Invalid` at the member that cannot be read, or that leaves no packet that could match."""
    for text in raw.get("protocol") or ():
        known = str(text).strip().upper() in flows.ANY_PROTOCOL
        try:
            known = known or flows.protocol(str(text).strip()) >= 0
        except BreakwaterError:
            known = False
        names = ", ".join(sorted(flows.PROTOCOLS))
        _holds(
            known,
            f"{place}.protocol",
            say("{text} is no protocol; use a number of IANA, ANY, or {names}", text=repr(str(text)[:40]), names=names),
        )
    match = flows.read(raw, place)
    versions = [{span.family for span in spans} for spans in (match.src, match.dst) if spans]
    by_address = set.intersection({4, 6}, *versions)
    _holds(bool(by_address), f"{place}.dstAddress", say("is of another address family than srcAddress"))
    _holds(
        match.dscp is None or 4 in by_address, f"{place}.dSCP", say("is about IPv4 only, and the addresses are IPv6")
    )
    _holds(
        match.traffic_class is None or 6 in by_address,
        f"{place}.tC",
        say("is about IPv6 only, and the addresses are IPv4"),
    )
    _holds(
        match.dscp is None or match.traffic_class is None,
        f"{place}.tC",
        say("is about IPv6 and dSCP about IPv4: name one"),
    )
    ported = match.src_ports or match.dst_ports
    _holds(not ported or bool(match.implied_protocols), f"{place}.protocol", say("has no ports, but ports are named"))


def _holds(right: bool, place: str, detail: str) -> None:
    if not right:
        raise Invalid(f"{place}: {detail}", errors=[{"field": place, "detail": detail}])


def _address(text: Any, place: str) -> None:
    # The MEP takes whatever a package in the field says and tells what its user plane made of it; an operator is told at once.
    if text is None:
        return
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        detail = say("is no IP address")
        raise Invalid(f"{place}: {str(text)[:80]!r} {detail}", errors=[{"field": place, "detail": detail}]) from None


def rule_id(text: str) -> str:
    """Return a rule's id; `Invalid` when it can be none: it is one segment of a path on Mp1."""
    if not 0 < len(text) <= 255 or "/" in text or not text.isprintable() or text != text.strip() or text in (".", ".."):
        detail = say("must be a text of 1 to 255 characters without / and control characters")
        raise Invalid(say("ruleId {detail}", detail=detail), errors=[{"field": "ruleId", "detail": detail}])
    return text


def state(text: str | None) -> str:
    """Return the wished state, empty for what follows from the application; `Invalid` for anything else."""
    if not text:
        return ""
    if text not in list(RuleState):
        detail = say("must be ACTIVE, INACTIVE or empty")
        raise Invalid(say("state {detail}", detail=detail), errors=[{"field": "state", "detail": detail}])
    return text


def expressible(rule: TrafficRule, plane: Mapping[str, Any]) -> None:
    """Raise `Refused`, with the nearest thing, when the user plane that a node reported cannot do this rule.

    A node that did not say what its user plane can do is not guessed about: it judges when the rule comes.
    """
    can = capabilities(plane)
    if can is not None:
        limits.check(rule, can, str(plane.get("adapter", "")))


def capabilities(plane: Mapping[str, Any]) -> Capabilities | None:
    """Return what a user plane said it can express; None when it said nothing that can be read."""
    told = plane.get("capabilities")
    if not isinstance(told, Mapping) or not told.get("actions"):
        return None

    def words(name: str) -> frozenset[Any]:
        found = told.get(name)
        return (
            frozenset(each for each in found if isinstance(each, str | int)) if isinstance(found, list) else frozenset()
        )

    most = told.get("mostRules")
    return Capabilities(
        actions=words("actions"),
        filters=words("filters"),
        interfaces=words("interfaces"),
        filter_types=words("filterTypes"),
        families=words("families"),
        counters=told.get("counters") is True,
        most_rules=most if isinstance(most, int) else None,
        notes=tuple(str(each) for each in told.get("notes") or () if isinstance(each, str)),
    )


def as_rule(key: str, members: Mapping[str, Any]) -> TrafficRule:
    """Return the members of a traffic rule as adapters and the judge want them."""
    return TrafficRule(
        id=key,
        filter_type=str(members.get("filterType", "FLOW")),
        priority=members.get("priority", 255),
        filters=tuple(members.get("trafficFilter") or ()),
        action=str(members.get("action", "")),
        destinations=tuple(members.get("dstInterface") or ()),
    )
