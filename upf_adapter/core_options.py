"""What an operator sets for the two adapters that speak with a 5G core."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Literal

import msgspec

from upf_adapter import sbi
from upf_adapter.routing import Route


class NefOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How this MEP is known to the NEF, and where the NEF leads traffic."""

    url: str
    #: The AF id that the operator of the core gave us.
    af_id: str
    #: Name of this MEP among all that use the same AF id: each touches only the subscriptions of its own.
    owner: str
    routes: list[Route]
    #: What the NEF finds DNN and slice by; either this, or both of them.
    af_service_id: str = ""
    dnn: str = ""
    snssai: dict[str, Any] | None = None
    #: The UEs of rules without a single source address; empty: any UE.
    external_group: str = ""
    #: Where the NEF tells of changed paths; the MEP fills it in. Empty: no events are asked for.
    notification_url: str = ""
    dnai_change: Literal["EARLY", "LATE", "EARLY_LATE"] = "EARLY_LATE"
    #: Asks the NEF to wait for our acknowledgement of a changed path (feature URLLC).
    acknowledge: bool = False
    relocatable: bool = False
    supp_feat: str = ""
    #: Flows that one rule may make.
    most_flows: int = 32
    #: Writes `udp` for `17`, for peers that want it.
    protocol_names: bool = False
    #: Remembers subscription ids, for a NEF that drops `afTransId`; the MEP fills it in.
    state_file: str = ""
    #: Seconds between looks at the NEF's list.
    check_every: float = 30.0
    retry_first: float = 1.0
    retry_longest: float = 60.0
    access: sbi.Access = msgspec.field(default_factory=sbi.Access)

    def __post_init__(self) -> None:
        self.url = sbi.check_url(self.url, "url")
        if self.notification_url:
            sbi.check_url(self.notification_url, "notification_url")
        if not self.af_id or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", self.owner):
            raise ValueError("af_id must not be empty, owner is 1 to 40 of A-Z a-z 0-9 _ -")
        if not self.af_service_id and not (self.dnn and self.snssai):
            raise ValueError("af_service_id is needed, or dnn and snssai")
        if not 1 <= self.most_flows <= 1000:
            raise ValueError("most_flows must be 1 to 1000")


class PcfOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where the core is and how sessions are asked for."""

    routes: list[Route] = []
    #: The BSF that knows the PCF of each UE, or the one PCF where there is only one.
    bsf: str = ""
    pcf: str = ""
    #: Where the PCF tells of sessions that end, and what we have there; the MEP fills both in.
    notification_url: str
    state_file: str
    #: In place of what the BSF says.
    dnn: str = ""
    snssai: dict[str, Any] | None = None
    af_app_id: str = ""
    relocatable: bool = False
    supp_feat: str = "1"
    #: What some PCFs need to accept a session: its kind and bandwidths ("41 Kbps"), or a QoS that the operator set up.
    media_type: Literal["", "AUDIO", "VIDEO", "DATA", "APPLICATION", "CONTROL", "TEXT", "MESSAGE", "OTHER"] = ""
    uplink: str = ""
    downlink: str = ""
    qos_reference: str = ""
    #: Refuses forwarding when the PCF's answer says that it has no InfluenceOnTrafficRouting.
    insist_on_routing: bool = True
    #: Networks that the BSF may name PCFs in; empty: any.
    pcf_networks: list[str] = []
    binding_lifetime: float = 300.0
    most_flows: int = 32
    protocol_names: bool = False
    check_every: float = 30.0
    retry_first: float = 1.0
    retry_longest: float = 60.0
    access: sbi.Access = msgspec.field(default_factory=sbi.Access)

    def __post_init__(self) -> None:
        if bool(self.bsf) == bool(self.pcf):
            raise ValueError("either bsf or pcf is needed")
        self.bsf = self.bsf and sbi.check_url(self.bsf, "bsf")
        self.pcf = self.pcf and sbi.check_url(self.pcf, "pcf")
        self.notification_url = sbi.check_url(self.notification_url, "notification_url")
        if not self.state_file:
            raise ValueError("state_file is needed: a PCF cannot be asked which sessions are ours")
        if not 1 <= self.most_flows <= 1000:
            raise ValueError("most_flows must be 1 to 1000")
        for each in self.pcf_networks:
            ipaddress.ip_network(each)
