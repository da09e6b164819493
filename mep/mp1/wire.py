"""The data types of MEC 011 V3.1.1 as they come in: strict in meaning, tolerant in form.

Read-only members that a client echoes back are ignored, `null` is absence, one object may stand for a list of one.
Whatever is wrong is `Invalid` (400) with the place; the tables of MEC 011 list no 422.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from core.errors import Invalid
from mep.mp1.ranges import is_address_range, is_port_range
from mep.mp1.states import Action, RuleState, ServiceState

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Octet = Annotated[int, Meta(ge=0, le=255)]
Scope = Literal["MEC_SYSTEM", "MEC_HOST", "NFVI_POP", "ZONE", "ZONE_GROUP", "NFVI_NODE"]
SCOPES: tuple[str, ...] = Scope.__args__  # type: ignore[attr-defined]
Wanted = TypeVar("Wanted")


class CategoryRef(Struct):
    """8.1.5.2"""

    href: str
    id: str
    name: str
    version: str


class OAuth2Info(Struct, rename="camel"):
    """8.1.5.4; only the client credentials grant is supported by the standard."""

    grant_types: Annotated[list[Literal["OAUTH2_CLIENT_CREDENTIALS"]], Meta(min_length=1, max_length=4)]
    token_endpoint: str


class SecurityInfo(Struct):
    """8.1.5.4"""

    oAuth2Info: OAuth2Info | None = None  # noqa: N815 - the standard's spelling


class Address(Struct):
    """8.1.5.3"""

    host: str
    port: Port


class EndPointInfo(Struct):
    """8.1.5.3: exactly one of its members."""

    uris: list[str] | None = None
    fqdn: list[str] | None = None
    addresses: list[Address] | None = None
    alternative: dict[str, Any] | None = None

    def only(self) -> dict[str, Any]:
        """Return the one member that is meant; empty neighbours, as some clients send them, do not count."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        filled = {name: value for name, value in given.items() if value} or given
        if len(filled) != 1:
            raise Invalid("transportInfo.endpoint must have exactly one of uris, fqdn, addresses, alternative")
        return msgspec.to_builtins(filled)  # type: ignore[no-any-return]


class TransportInfo(Struct, rename="camel", omit_defaults=True):
    """8.1.2.3"""

    id: Name
    name: Name
    type: Literal["REST_HTTP", "MB_TOPIC_BASED", "MB_ROUTING", "MB_PUBSUB", "RPC", "RPC_STREAMING", "WEBSOCKET"]
    protocol: Name
    version: Name
    endpoint: EndPointInfo
    security: SecurityInfo
    description: str | None = None
    impl_specific_info: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """Return the transport as it is stored and sent."""
        found = without_nulls(msgspec.to_builtins(self))
        return {**found, "endpoint": self.endpoint.only(), "security": found.get("security", {})}


class ServiceInfo(Struct, rename="camel"):
    """8.1.2.2, as sent in POST and PUT."""

    ser_name: Name
    version: Word
    state: ServiceState
    serializer: Literal["JSON", "XML", "PROTOBUF3"]
    ser_category: CategoryRef | None = None
    transport_id: str | None = None
    transport_info: TransportInfo | None = None
    scope_of_locality: Scope | None = None
    consumed_local_only: bool | None = None
    liveness_interval: Annotated[int, Meta(ge=0, le=86400)] | None = None


class ServiceLivenessUpdate(Struct):
    """8.1.2.5: the only thing that a heartbeat says."""

    state: Literal["ACTIVE"]


class FilteringCriteria(Struct, rename="camel", omit_defaults=True):
    """8.1.3.2: only one of the three lists that name services."""

    ser_instance_ids: list[str] | None = None
    ser_names: list[str] | None = None
    ser_categories: list[CategoryRef] | None = None
    states: list[ServiceState] | None = None
    is_local: bool | None = None


class WebsockNotifConfig(Struct, rename="camel"):
    """MEC 009 6.12; `websocketUri` is ours to say, so what a client writes there is ignored."""

    request_websocket_uri: bool | None = None


class AvailabilitySubscription(Struct, rename="camel"):
    """8.1.3.2"""

    subscription_type: Literal["SerAvailabilityNotificationSubscription"]
    callback_reference: str | None = None
    filtering_criteria: FilteringCriteria | None = None
    request_test_notification: bool | None = None
    websock_notif_config: WebsockNotifConfig | None = None


class TerminationSubscription(Struct, rename="camel"):
    """7.1.3.2"""

    subscription_type: Literal["AppTerminationNotificationSubscription"]
    app_instance_id: str
    callback_reference: str | None = None
    request_test_notification: bool | None = None
    websock_notif_config: WebsockNotifConfig | None = None


class AppReadyConfirmation(Struct):
    """7.1.2.4"""

    indication: Literal["READY"]


class AppTerminationConfirmation(Struct, rename="camel"):
    """7.1.4.2"""

    operation_action: Action


class AppInfo(Struct, rename="camel", omit_defaults=True):
    """7.1.2.6 (new in 3.1.1)"""

    app_name: Name
    app_provider: str | None = None
    app_category: CategoryRef | None = None
    app_d_id: str | None = msgspec.field(name="appDId", default=None)
    app_instance_id: str | None = None
    endpoint: dict[str, Any] | None = None
    app_service_required: list[dict[str, Any]] | None = None
    app_service_optional: list[dict[str, Any]] | None = None
    app_feature_required: list[dict[str, Any]] | None = None
    app_feature_optional: list[dict[str, Any]] | None = None
    is_ins_by_mec: bool | None = None
    app_profile: dict[str, Any] | None = None


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
        raise Invalid("A traffic rule must be an object")
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
                    is_address_range(text), f"trafficFilter[{at}].{name}", f"{text!r} is no address, prefix or range"
                )
        for name in ("srcPort", "dstPort", "srcTunnelPort", "dstTunnelPort"):
            for text in getattr(each, name) or ():
                _check(is_port_range(text), f"trafficFilter[{at}].{name}", f"{text!r} is no port or range of ports")
    # 7.1.5.2: the number of destinations follows from the action. Met in the field and harmless: PASSTHROUGH without
    # one, and DUPLICATE with the one object that the published OpenAPI files allow (the copy goes there).
    count = len(rule.dst_interface or ())
    allowed = {"DROP": (0,), "PASSTHROUGH": (0, 1)}.get(rule.action, (1, 2) if rule.action.startswith("DUP") else (1,))
    _check(count in allowed, "dstInterface", f"{rule.action} takes {allowed[-1]} destination interfaces, not {count}")
    for at, target in enumerate(rule.dst_interface or ()):
        _check(
            target.interface_type != "IP" or target.dst_ip_address is not None,
            f"dstInterface[{at}].dstIpAddress",
            "is needed for interfaceType IP",
        )
        _check(
            target.interface_type != "TUNNEL" or target.tunnel_info is not None,
            f"dstInterface[{at}].tunnelInfo",
            "is needed for interfaceType TUNNEL",
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
        f"{rule.domain_name[:80]!r} is no domain name",
    )
    try:
        address = ipaddress.ip_address(rule.ip_address)
    except ValueError:
        raise Invalid(
            f"ipAddress: {rule.ip_address[:80]!r} is no IP address",
            errors=[{"field": "ipAddress", "detail": "is no IP address"}],
        ) from None
    _check(
        f"IP_V{address.version}" == rule.ip_address_type,
        "ipAddress",
        f"{address} is no address of type {rule.ip_address_type}",
    )
    _check(getattr(address, "scope_id", None) is None, "ipAddress", "must not have a zone")
    rule.domain_name, rule.ip_address = name, str(address)
    return rule


def callback(text: str) -> str:
    """Return `text` when it can be a callback: absolute, without query, fragment and userinfo (MEC 009 6.12)."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Invalid("callbackReference: is no URI") from None
    _check(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        "callbackReference",
        "must be an absolute http(s) URI",
    )
    _check(
        port != 0 and len(text) <= 2000 and text.isascii() and text.isprintable(),
        "callbackReference",
        "is no usable URI",
    )
    for unwanted, present in (
        ("query", "?" in text), ("fragment", "#" in text), ("user information", "@" in parts.netloc), ("spaces", " " in text)
    ):  # fmt: skip
        _check(not present, "callbackReference", f"must not have {unwanted}")
    return text


def without_nulls(value: Any) -> Any:
    """Return `value` with every `null` member left out, at every depth."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


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
