"""The data types of MEC 011 V3.1.1 as they come in: strict in meaning, tolerant in form.

Read-only members that a client echoes back are ignored, `null` is absence, one object may stand for a list of one.
Whatever is wrong is `Invalid` (400) with the place; the tables of MEC 011 list no 422.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from core.errors import Invalid
from core.mecrules import DnsRule as DnsRule
from core.mecrules import Name as Name
from core.mecrules import TrafficRule as TrafficRule
from core.mecrules import dns_rule as dns_rule
from core.mecrules import read as read
from core.mecrules import traffic_rule as traffic_rule
from core.mecrules import without_nulls as without_nulls
from mep.mp1.states import Action, ServiceState

Word = Annotated[str, Meta(min_length=1, max_length=64)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Scope = Literal["MEC_SYSTEM", "MEC_HOST", "NFVI_POP", "ZONE", "ZONE_GROUP", "NFVI_NODE"]
SCOPES: tuple[str, ...] = Scope.__args__  # type: ignore[attr-defined]


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


def _check(holds: bool, field: str, detail: str) -> None:
    if not holds:
        raise Invalid(f"{field}: {detail}", errors=[{"field": field, "detail": detail}])
