"""Traffic and DNS rules of MEC 011 V3.1.1 as plain data: strict in meaning, tolerant in form.

One reading for the platform that keeps the rules and for the centre where people write them, so that what one
accepts the other does. Read-only members that a client echoes back are ignored, `null` is absence, one object may
stand for a list of one. Whatever is wrong is `Invalid` with the place.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from core.errors import Invalid
from core.words import say

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Octet = Annotated[int, Meta(ge=0, le=255)]
Wanted = TypeVar("Wanted")


class RuleState(enum.StrEnum):
    """MEC 011 7.1.5.2 and 7.1.5.3."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"

    @classmethod
    def choices(cls) -> list[tuple[str, str]]:
        """Return the members as Django wants choices."""
        return [(str(member), str(member)) for member in cls]


class TunnelInfo(Struct, rename="camel", omit_defaults=True):
    """7.1.5.4"""

    tunnel_type: Literal["GTP_U", "GRE"]
    tunnel_dst_address: str | None = None
    tunnel_src_address: str | None = None


class DestinationInterface(Struct, rename="camel", omit_defaults=True):
    """7.1.5.4"""

    interface_type: Literal["TUNNEL", "MAC", "IP"]
    tunnel_info: TunnelInfo | None = None
    src_mac_address: str | None = None
    dst_mac_address: str | None = None
    dst_ip_address: str | None = None


class TrafficFilter(Struct, omit_defaults=True):
    """7.1.5.3 of MEC 011; `tag` was called `token` in V2.1.1."""

    srcAddress: list[str] | None = None  # noqa: N815
    dstAddress: list[str] | None = None  # noqa: N815
    srcPort: list[str] | None = None  # noqa: N815
    dstPort: list[str] | None = None  # noqa: N815
    protocol: list[str] | None = None
    tag: list[str] | None = None
    uri: list[str] | None = None
    packetLabel: list[str] | None = None  # noqa: N815
    srcTunnelAddress: list[str] | None = None  # noqa: N815
    tgtTunnelAddress: list[str] | None = None  # noqa: N815
    srcTunnelPort: list[str] | None = None  # noqa: N815
    dstTunnelPort: list[str] | None = None  # noqa: N815
    qCI: Octet | None = None  # noqa: N815
    dSCP: Annotated[int, Meta(ge=0, le=63)] | None = None  # noqa: N815
    tC: Octet | None = None  # noqa: N815


class TrafficRule(Struct, rename="camel", omit_defaults=True):
    """7.1.5.2, without the id: that of the URI, or of the AppD entry, wins."""

    filter_type: Literal["FLOW", "PACKET"]
    priority: Octet
    traffic_filter: Annotated[list[TrafficFilter], Meta(min_length=1)]
    action: Literal[
        "DROP",
        "FORWARD_DECAPSULATED",
        "FORWARD_ENCAPSULATED",
        "PASSTHROUGH",
        "DUPLICATE_DECAPSULATED",
        "DUPLICATE_ENCAPSULATED",
    ]
    dst_interface: Annotated[list[DestinationInterface], Meta(max_length=2)] | None = None
    state: RuleState | None = None


class DnsRule(Struct, rename="camel"):
    """7.1.5.3, without the id; `scope` is ours, and counts in a descriptor only."""

    domain_name: Name
    ip_address_type: Literal["IP_V4", "IP_V6"]
    ip_address: str
    ttl: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    state: RuleState | None = None
    scope: Annotated[str, Meta(max_length=64)] | None = None


def read(kind: type[Wanted], raw: Any) -> Wanted:
    """Return `raw` as `kind`; `Invalid` names the member that is wrong or missing."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as problem:
        what, _, place = str(problem).partition(" - at `")
        place = place.rstrip("`").removeprefix("$").lstrip(".")
        missing = re.fullmatch(r"Object missing required field `(.+)`", what)
        if missing:
            place, what = ".".join(filter(None, [place, missing[1]])), "is missing"
        detail = f"{place}: {what}" if place else what
        raise Invalid(detail, errors=[{"field": place, "detail": what}]) from None


def traffic_rule(raw: Any) -> TrafficRule:
    """Read a traffic rule in any of the spellings met in the field; `Invalid` where it makes no sense."""
    if not isinstance(raw, dict):
        raise Invalid(say("A traffic rule must be an object"))
    raw = dict(raw)
    for name in ("dstInterface", "trafficFilter"):
        if isinstance(raw.get(name), dict):
            raw[name] = [raw[name]]
    if isinstance(raw.get("trafficFilter"), list):
        raw["trafficFilter"] = [_as_filter(entry) for entry in raw["trafficFilter"]]
    if isinstance(raw.get("dstInterface"), list):
        raw["dstInterface"] = [_as_interface(entry) for entry in raw["dstInterface"]]
    rule = read(TrafficRule, raw)
    for at, each in enumerate(rule.traffic_filter):
        for name in ("srcAddress", "dstAddress", "srcTunnelAddress", "tgtTunnelAddress"):
            for text in getattr(each, name) or ():
                _check(
                    is_address_range(text),
                    f"trafficFilter[{at}].{name}",
                    say("{text} is no address, prefix or range", text=repr(text)),
                )
        for name in ("srcPort", "dstPort", "srcTunnelPort", "dstTunnelPort"):
            for text in getattr(each, name) or ():
                _check(
                    is_port_range(text),
                    f"trafficFilter[{at}].{name}",
                    say("{text} is no port or range of ports", text=repr(text)),
                )
    # 7.1.5.2: the number of destinations follows from the action. Met in the field and harmless: PASSTHROUGH without
    # one, and DUPLICATE with the one object that the published OpenAPI files allow (the copy goes there).
    count = len(rule.dst_interface or ())
    allowed = {"DROP": (0,), "PASSTHROUGH": (0, 1)}.get(rule.action, (1, 2) if rule.action.startswith("DUP") else (1,))
    _check(
        count in allowed,
        "dstInterface",
        say(
            "{action} takes {allowed} destination interfaces, not {count}",
            action=rule.action,
            allowed=allowed[-1],
            count=count,
        ),
    )
    for at, target in enumerate(rule.dst_interface or ()):
        _check(
            target.interface_type != "IP" or target.dst_ip_address is not None,
            f"dstInterface[{at}].dstIpAddress",
            say("is needed for interfaceType IP"),
        )
        _check(
            target.interface_type != "TUNNEL" or target.tunnel_info is not None,
            f"dstInterface[{at}].tunnelInfo",
            say("is needed for interfaceType TUNNEL"),
        )
    return rule


def dns_rule(raw: Any) -> DnsRule:
    """Read a DNS rule; name and address are checked and put into their canonical form."""
    rule = read(DnsRule, raw)
    name = rule.domain_name.rstrip(".").lower()
    labels = name.split(".")
    _check(
        len(name) <= 253 and all(re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", label) for label in labels),
        "domainName",
        say("{domain_name} is no domain name", domain_name=repr(rule.domain_name[:80])),
    )
    try:
        address = ipaddress.ip_address(rule.ip_address)
    except ValueError:
        raise Invalid(
            say("ipAddress: {ip_address} is no IP address", ip_address=repr(rule.ip_address[:80])),
            errors=[{"field": "ipAddress", "detail": say("is no IP address")}],
        ) from None
    _check(
        f"IP_V{address.version}" == rule.ip_address_type,
        "ipAddress",
        say("{address} is no address of type {ip_address_type}", address=address, ip_address_type=rule.ip_address_type),
    )
    _check(getattr(address, "scope_id", None) is None, "ipAddress", say("must not have a zone"))
    rule.domain_name, rule.ip_address = name, str(address)
    return rule


def traffic_members(rule: TrafficRule) -> dict[str, Any]:
    """Return the members of a traffic rule that are stored as its body."""
    members = without_nulls(msgspec.to_builtins(rule))
    members.pop("state", None)
    return members  # type: ignore[no-any-return]


def without_nulls(value: Any) -> Any:
    """Return `value` with every `null` member left out, at every depth."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def is_address_range(text: str) -> bool:
    """Return whether `text` is an address, a prefix (or address and mask), or a range `first-last` of one family."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = (
                ipaddress.ip_network(first.strip(), strict=False),
                ipaddress.ip_network(last.strip(), strict=False),
            )
            return low.version == high.version and int(low.network_address) <= int(high.network_address)
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def is_port_range(text: str) -> bool:
    """Return whether `text` is a port or a range `first-last`."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", text)
    if not found:
        return False
    low, high = int(found[1]), int(found[2] or found[1])
    return low <= high <= 65535


def _check(holds: bool, field: str, detail: str) -> None:
    if not holds:
        raise Invalid(f"{field}: {detail}", errors=[{"field": field, "detail": detail}])


def _as_filter(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    found = {key: [value] if isinstance(value, str) else value for key, value in raw.items()}
    if found.get("tag") is None and "token" in found:
        found["tag"] = found.pop("token")
    # Ports and tags come as numbers from YAML descriptors.
    return {
        key: [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in value]
        if isinstance(value, list)
        else value
        for key, value in found.items()
    }


def _as_interface(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    found = dict(raw)
    if isinstance(found.get("tunnelInfo"), dict):
        tunnel = dict(found["tunnelInfo"])
        for old, new in (("tunnel_dst_address", "tunnelDstAddress"), ("tunnel_src_address", "tunnelSrcAddress")):
            if old in tunnel:
                tunnel.setdefault(new, tunnel.pop(old))
        if tunnel.get("tunnelType") == "GTP-U":  # MEC 037 spells it so
            tunnel["tunnelType"] = "GTP_U"
        found["tunnelInfo"] = tunnel
    return found
