"""Traffic and DNS rules of a descriptor, from any known spelling to the members of MEC 011 V3.1.1.

Spellings met in the field: `DUPLICATED_*` for `DUPLICATE_*`, `dstTunnelAddress` for `tgtTunnelAddress`,
`tunnel_dst_address` for `tunnelDstAddress`, `GTP-U` (MEC 037) for `GTP_U`, `token` (MEC 011 2.1.1) for `tag`,
`dstInterface` as one object or a list, single values where the standard has lists.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from core.appd.reading import Members, listed
from core.findings import Finding, Level
from core.words import say

ACTIONS = {
    "DROP": (0, 0),
    "FORWARD_DECAPSULATED": (1, 1),
    "FORWARD_ENCAPSULATED": (1, 1),
    "PASSTHROUGH": (1, 1),
    "DUPLICATE_DECAPSULATED": (2, 2),
    "DUPLICATE_ENCAPSULATED": (2, 2),
}
_ACTION_SPELLINGS = {
    **{action: action for action in ACTIONS},
    "DUPLICATED_DECAPSULATED": "DUPLICATE_DECAPSULATED",
    "DUPLICATED_ENCAPSULATED": "DUPLICATE_ENCAPSULATED",
    "FORWARD_AS_IS": "PASSTHROUGH",  # MEC 010-2 V1
    "PASS_THROUGH": "PASSTHROUGH",
}
_TUNNELS = {"GTP_U": "GTP_U", "GTPU": "GTP_U", "GRE": "GRE"}
_FAMILIES = {"IP_V4": "IP_V4", "IPV4": "IP_V4", "IP_V6": "IP_V6", "IPV6": "IP_V6"}
#: Members of a `TrafficFilter` and every name they have had.
_TEXT_LISTS: dict[str, tuple[str, ...]] = {
    "srcAddress": ("srcAddress",),
    "dstAddress": ("dstAddress",),
    "srcPort": ("srcPort",),
    "dstPort": ("dstPort",),
    "protocol": ("protocol",),
    "tag": ("tag", "token"),
    "uri": ("uri",),
    "packetLabel": ("packetLabel",),
    "srcTunnelAddress": ("srcTunnelAddress",),
    "tgtTunnelAddress": ("tgtTunnelAddress", "dstTunnelAddress"),
    "srcTunnelPort": ("srcTunnelPort",),
    "dstTunnelPort": ("dstTunnelPort", "tgtTunnelPort"),
}
_NUMBERS = {"qCI": 255, "dSCP": 63, "tC": 255}
_MAC = re.compile(r"^[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}\Z")
_LABEL = re.compile(r"^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")


def read_traffic_rules(raw: Any, place: str, findings: list[Finding]) -> tuple[dict[str, Any], ...]:
    """Read `appTrafficRule`; a rule that breaks the standard is kept out and told as a finding."""
    rules = []
    for where, entry in listed(raw, place, findings):
        mine: list[Finding] = []
        rule = _traffic_rule(Members(entry, where, mine))
        findings.extend(mine)
        if not any(finding.level is Level.ERROR for finding in mine):
            rules.append(rule)
    _once(rules, "trafficRuleId", place, findings)
    return tuple(rules)


def read_dns_rules(raw: Any, place: str, findings: list[Finding]) -> tuple[dict[str, Any], ...]:
    """Read `appDNSRule`; a rule that breaks the standard is kept out and told as a finding."""
    rules = []
    for where, entry in listed(raw, place, findings):
        mine: list[Finding] = []
        rule = _dns_rule(Members(entry, where, mine))
        findings.extend(mine)
        if not any(finding.level is Level.ERROR for finding in mine):
            rules.append(rule)
    _once(rules, "dnsRuleId", place, findings)
    return tuple(rules)


def _traffic_rule(members: Members) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "trafficRuleId": members.text("trafficRuleId"),
        "filterType": members.word("filterType", of=("FLOW", "PACKET")),
        "priority": members.number("priority", low=0, high=255),
    }
    action = members.word("action", of=_ACTION_SPELLINGS)
    filters = [_filter(Members(raw, where, members.findings)) for where, raw in members.objects("trafficFilter")]
    targets = [_interface(Members(raw, where, members.findings)) for where, raw in members.objects("dstInterface")]
    members.take("state", "appInsId", "appInstanceId")
    for name, value in rule.items():
        members.require(value, name)
    members.require(action, "action")
    members.require(filters, "trafficFilter")
    if action:
        _count_interfaces(members, action, len(targets))
    members.leftovers()
    rule |= {"trafficFilter": filters, "action": action}
    return rule | ({"dstInterface": targets} if targets else {})


def _count_interfaces(members: Members, action: str, number: int) -> None:
    """MEC 011, table 7.1.5.2-1: none for DROP, two to duplicate, else one."""
    low, high = ACTIONS[action]
    if low <= number <= high:
        return
    wanted = {0: "no dstInterface", 1: "exactly one dstInterface", 2: "exactly two dstInterface"}[low]
    # Published packages pass through with none and duplicate to one, because EdgeGallery could hold only one.
    usual = (action == "PASSTHROUGH" and number == 0) or (low == 2 and number == 1)
    level = Level.WARNING if usual else Level.ERROR
    members.complain(
        say("{action} takes {wanted}, not {number}", action=action, wanted=wanted, number=number),
        "dstInterface",
        code="rule-destinations",
        level=level,
    )


def _filter(members: Members) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, spellings in _TEXT_LISTS.items():
        values = members.texts(*spellings)
        if values:
            found[name] = values
    for name in ("srcAddress", "dstAddress", "srcTunnelAddress", "tgtTunnelAddress"):
        for value in found.get(name, ()):
            if not is_address_or_range(value):
                members.complain(
                    say("{value} is no IP address, prefix or range", value=repr(value[:60])), name, code="rule-address"
                )
    for name in ("srcPort", "dstPort", "srcTunnelPort", "dstTunnelPort"):
        for value in found.get(name, ()):
            if not is_port_or_range(value):
                members.complain(
                    say("{value} is no port from 0 to 65535 or range of ports", value=repr(value[:60])),
                    name,
                    code="rule-port",
                )
    for name, high in _NUMBERS.items():
        number = members.number(name, low=0, high=high)
        if number is not None:
            found[name] = number
    members.leftovers()
    return found


def _interface(members: Members) -> dict[str, Any]:
    kind = members.word("interfaceType", of=("TUNNEL", "MAC", "IP"))
    members.require(kind, "interfaceType")
    target: dict[str, Any] = {"interfaceType": kind}
    tunnel = members.take("tunnelInfo")
    for name in ("srcMacAddress", "dstMacAddress"):
        value = members.text(name)
        if value and not _MAC.match(value):
            members.complain(say("{value} is no MAC address", value=repr(value[:60])), name, code="rule-address")
        elif value and kind == "MAC":
            target[name] = value.replace("-", ":").lower()
    address = members.text("dstIpAddress", "dstIPAddress")
    if address and not _is_address(address):
        members.complain(
            say("{address} is no IP address", address=repr(address[:60])), "dstIpAddress", code="rule-address"
        )
    elif address and kind == "IP":
        target["dstIpAddress"] = address
    if kind == "TUNNEL" and tunnel is not None:
        target["tunnelInfo"] = _tunnel(Members(tunnel, f"{members.place}.tunnelInfo", members.findings))
    wanted = {"TUNNEL": "tunnelInfo", "IP": "dstIpAddress", "MAC": "dstMacAddress"}.get(kind)
    if wanted:
        members.require(target.get(wanted), wanted)
    members.leftovers()
    return target


def _tunnel(members: Members) -> dict[str, Any]:
    kind = members.word("tunnelType", of=_TUNNELS)
    members.require(kind, "tunnelType")
    tunnel: dict[str, Any] = {"tunnelType": kind}
    for name, other in (("tunnelDstAddress", "dstTunnelAddress"), ("tunnelSrcAddress", "srcTunnelAddress")):
        value = members.text(name, other)
        if value and not _is_address(value):
            members.complain(say("{value} is no IP address", value=repr(value[:60])), name, code="rule-address")
        elif value:
            tunnel[name] = value
    members.take("tunnelSpecificData")
    members.leftovers()
    return tunnel


def _dns_rule(members: Members) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "dnsRuleId": members.text("dnsRuleId"),
        "domainName": members.text("domainName").rstrip("."),
        "ipAddressType": members.word("ipAddressType", of=_FAMILIES),
        "ipAddress": members.text("ipAddress"),
    }
    members.take("state", "appInsId", "appInstanceId")
    for name, value in rule.items():
        members.require(value, name)
    ttl = members.number("ttl", low=0, high=2**31 - 1)  # RFC 2181, 8
    if ttl is not None:
        rule["ttl"] = ttl
    if rule["domainName"] and not is_domain_name(rule["domainName"]):
        members.complain(
            say("{domain_name} is no domain name", domain_name=repr(rule["domainName"][:80])),
            "domainName",
            code="rule-domain",
        )
    family = {"IP_V4": 4, "IP_V6": 6}.get(rule["ipAddressType"])
    address = rule["ipAddress"]
    if address and not _is_address(address):
        members.complain(
            say("{address} is no IP address", address=repr(address[:60])), "ipAddress", code="rule-address"
        )
    elif address and family and ipaddress.ip_address(address).version != family:
        members.complain(
            say("{address} is not of type {ip_address_type}", address=address, ip_address_type=rule["ipAddressType"]),
            "ipAddress",
            code="rule-address",
        )
    members.leftovers()
    return rule


def _once(rules: list[dict[str, Any]], key: str, place: str, findings: list[Finding]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule[key] in seen:
            findings.append(
                Finding(
                    Level.ERROR, "rule-duplicate", place, say("{key} {rule} is there twice", key=key, rule=rule[key])
                )
            )
        seen.add(rule[key])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_address_or_range(text: str) -> bool:
    """Tell whether `text` is an address, a prefix (`172.30.2.0/28`), or `first-last` of one family."""
    if text.upper() == "ANY":
        return True
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
            return low.version == high.version and int(low) <= int(high)
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_port_or_range(text: str) -> bool:
    """Tell whether `text` is a port, `first-last`, or ANY."""
    if text.upper() == "ANY":
        return True
    first, dash, last = text.partition("-")
    ports = [first.strip(), last.strip()] if dash else [text]
    if not all(re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535 for port in ports):
        return False
    return not dash or int(first) <= int(last)


def is_domain_name(text: str) -> bool:
    """Tell whether `text` is a host name of at most 253 characters; a leading `*.` is allowed (RFC 4592)."""
    labels = text.removeprefix("*.").split(".")
    return len(text) <= 253 and all(_LABEL.match(label) for label in labels) and not labels[-1].isdecimal()
