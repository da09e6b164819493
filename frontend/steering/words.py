"""What a rule does, in one sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from frontend.deeds import Question
from mecm.steering.judging import targets
from mecm.steering.models import DNS
from mecm.steering.names import Scope
from mecm.steering.table import LOST, Line, dicts
from upf_adapter.contract import TrafficRule

#: Members of a TrafficFilter that have no words of their own.
_BY_NAME = (
    "tC", "qCI", "tag", "token", "uri", "packetLabel", "srcTunnelAddress", "tgtTunnelAddress", "srcTunnelPort",
    "dstTunnelPort",
)  # fmt: skip


def sentence(kind: str, rule: Mapping[str, Any], app: str) -> str:
    """Return what a rule does: "UDP to port 5060 goes to video at 10.60.0.2"."""
    return _dns(rule) if kind == DNS else f"{matching(rule)} {_end(rule, app)}"


def giving_back(line: Line) -> Question:
    """Return what a person is asked before a changed rule is as the package says again: what it does now, and then."""
    title = _("Let rule %(rule)s of %(app)s be as the package says?") % {"rule": line.rule_id, "app": line.app}
    if line.source == LOST:
        text = _(
            "The present release has no such rule. What was changed is forgotten for good, so it is not heeded either "
            "when a release has that rule again."
        )
        title = _("Forget what was changed in rule %(rule)s of %(app)s?") % {"rule": line.rule_id, "app": line.app}
        return Question(title, _("Forget it"), text)
    when = _("This begins as soon as the node has heard of it; flows under way may break.")
    return Question(title, _("As the package says"), " ".join([*_becomes(line), when]))


def _becomes(line: Line) -> list[str]:
    """Return in words what changes in a rule that is given back."""
    own, said = line.own or {}, []
    now, then = sentence(line.kind, line.rule, line.app), sentence(line.kind, own, line.app)
    if now != then:
        said.append(_("Now: %(now)s. Then: %(then)s.") % {"now": now, "then": then})
    for member, words in (
        ("priority", _("Its priority changes from %(now)s to %(then)s.")),
        ("filterType", _("What it looks at changes from %(now)s to %(then)s.")),
        ("ttl", _("The time to live of its answer changes from %(now)s to %(then)s seconds.")),
    ):
        one, other = line.rule.get(member), own.get(member)
        if one != other:
            unsaid = _("what the node says")
            said.append(words % {"now": unsaid if one is None else one, "then": unsaid if other is None else other})
    # A scope that was set here and that the package does not name is not kept.
    told = own.get("scope")
    then = told if isinstance(told, str) else "" if isinstance(line.rule.get("scope"), str) else line.scope
    if line.kind == DNS and then != line.scope:
        words = _("Who gets its answer changes from %(now)s to %(then)s.")
        said.append(words % {"now": scope(line.scope, None), "then": scope(then, None)})
    if line.wished_state == "INACTIVE":
        said.append(_("It was switched off here; then it is active while the application is ready."))
    elif line.wished_state == "ACTIVE":
        said.append(
            _("It is active here whatever the application does; then it is only while the application is ready.")
        )
    return said or [_("What was set here is forgotten.")]


def scope(name: str, scopes: Mapping[str, Scope] | None) -> str:
    """Return who the clients of a DNS scope are: "the UE scope vip (10.45.0.0/16)"; an empty name means everybody."""
    if not name:
        return _("everybody")
    known = (scopes or {}).get(name)
    if known is None:
        return _("the scope %(name)s") % {"name": name}
    kinds = {
        "ue": _("the UE scope %(name)s"),
        "application": _("the application scope %(name)s"),
        "zone": _("the zone scope %(name)s"),
    }
    said = kinds[known.kind] % {"name": name}
    return f"{said} ({prefixes(known)})" if known.networks else said


def prefixes(known: Scope) -> str:
    """Return the prefixes of a scope, as far as they are few."""
    shown = ", ".join(known.networks[:2])
    more = known.prefixes - min(2, len(known.networks))
    return _("%(shown)s and %(more)s more") % {"shown": shown, "more": more} if more > 0 else shown


def matching(rule: Mapping[str, Any]) -> str:
    """Return what a traffic rule is about."""
    filters = dicts(rule.get("trafficFilter") or [])
    return _(" or ").join(_filter(each) for each in filters) or _("Everything")


def end(rule: Mapping[str, Any], app: str) -> str:
    """Return where packets of a traffic rule go, in a few words."""
    action, where = str(rule.get("action", "")), _where(rule)
    if action == "DROP":
        return _("dropped")
    if action == "PASSTHROUGH":
        return _("the ordinary way")
    if action.startswith("DUPLICATE"):
        return _("copied to %(app)s %(where)s") % {"app": app, "where": where}
    return f"{app} {where}".strip()


def _dns(rule: Mapping[str, Any]) -> str:
    said = {"name": rule.get("domainName", "?"), "address": rule.get("ipAddress", "?"), "scope": rule.get("scope")}
    sixth = str(rule.get("ipAddressType")) == "IP_V6"
    if said["scope"]:
        if sixth:
            return _("Who asks from the scope %(scope)s for the IPv6 address of %(name)s is told %(address)s") % said
        return _("Who asks from the scope %(scope)s for the IPv4 address of %(name)s is told %(address)s") % said
    if sixth:
        return _("Who asks for the IPv6 address of %(name)s is told %(address)s") % said
    return _("Who asks for the IPv4 address of %(name)s is told %(address)s") % said


def _filter(raw: Mapping[str, Any]) -> str:
    protocols = _list(raw.get("protocol"))
    parts = [_(" and ").join(protocols) if protocols else _("Everything")]
    for name, words in (
        ("srcAddress", _("from %s")),
        ("srcPort", _("from port %s")),
        ("dstAddress", _("to %s")),
        ("dstPort", _("to port %s")),
        ("dSCP", _("with DSCP %s")),
    ):
        values = _list(raw.get(name))
        if values:
            parts.append(words % ", ".join(values))
    parts += [f"{name} {', '.join(values)}" for name in _BY_NAME if (values := _list(raw.get(name)))]
    return " ".join(parts)


def _end(rule: Mapping[str, Any], app: str) -> str:
    action, said = str(rule.get("action", "")), {"app": app, "where": _where(rule)}
    if action == "DROP":
        return _("is dropped")
    if action == "PASSTHROUGH":
        return _("goes its ordinary way, to the internet; no later rule may change that")
    if action.startswith("DUPLICATE"):
        return _("goes its ordinary way, and a copy goes to %(app)s at %(where)s") % said
    if action == "FORWARD_ENCAPSULATED":
        return _("goes to %(app)s at %(where)s, still in its tunnel") % said
    return _("goes to %(app)s at %(where)s") % said


def _where(rule: Mapping[str, Any]) -> str:
    found = TrafficRule("", "FLOW", 0, (), "", tuple(dicts(rule.get("dstInterface") or [])))
    return _(" and ").join(targets(found)) or "?"


def _list(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(each) for each in values if each is not None and str(each) != ""]
