"""What a rule does, in one sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from mecm.steering.judging import targets
from mecm.steering.models import DNS
from mecm.steering.table import dicts
from upf_adapter.contract import TrafficRule

#: Members of a TrafficFilter that have no words of their own.
_BY_NAME = (
    "tC", "qCI", "tag", "token", "uri", "packetLabel", "srcTunnelAddress", "tgtTunnelAddress", "srcTunnelPort",
    "dstTunnelPort",
)  # fmt: skip


def sentence(kind: str, rule: Mapping[str, Any], app: str) -> str:
    """Return what a rule does: "UDP to port 5060 goes to video at 10.60.0.2"."""
    return _dns(rule) if kind == DNS else f"{matching(rule)} {_end(rule, app)}"


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
    said = {"name": rule.get("domainName", "?"), "address": rule.get("ipAddress", "?")}
    if str(rule.get("ipAddressType")) == "IP_V6":
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
