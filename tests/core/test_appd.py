"""Application descriptors: every known spelling in, one shape out, every mistake a finding."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.appd import (
    AppDescriptor,
    Compute,
    Feature,
    Image,
    ServiceDependency,
    ServiceProduced,
    Transport,
    read_dns_rules,
    read_features,
    read_produced,
    read_required,
    read_traffic_rules,
    validate,
)
from core.appd.rules import is_address_or_range, is_domain_name, is_port_or_range
from core.findings import Finding, Level

TUNNEL = {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "10.1.1.1"}}


def rule(**changes: Any) -> dict[str, Any]:
    """A right traffic rule, but for the changes; None takes a member away."""
    members = {
        "trafficRuleId": "r1",
        "filterType": "FLOW",
        "priority": 1,
        "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
        "action": "FORWARD_DECAPSULATED",
        "dstInterface": [TUNNEL],
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def read(raw: Any) -> tuple[tuple[dict[str, Any], ...], list[Finding]]:
    """Traffic rules and findings."""
    findings: list[Finding] = []
    return read_traffic_rules(raw, "appTrafficRule", findings), findings


def test_edgegallerys_rule_becomes_the_standards() -> None:
    (made,), findings = read(
        rule(
            action="DUPLICATED_DECAPSULATED",
            priority="7",
            trafficFilter={"srcAddress": "10.0.0.1", "token": [5], "dstTunnelAddress": ["10.2.2.2"], "qCI": "1"},
            dstInterface={
                "interfaceType": "tunnel",
                "tunnelInfo": {"tunnelType": "GTP-U", "tunnel_dst_address": "10.1.1.1"},
            },
        )
    )
    assert made["action"] == "DUPLICATE_DECAPSULATED"
    assert made["priority"] == 7
    assert made["trafficFilter"] == [
        {"srcAddress": ["10.0.0.1"], "tag": ["5"], "tgtTunnelAddress": ["10.2.2.2"], "qCI": 1}
    ]
    assert made["dstInterface"] == [TUNNEL]
    assert [f.code for f in findings] == ["rule-destinations"]
    assert findings[0].level is Level.WARNING


@pytest.mark.parametrize(
    ("dst", "src"),
    [
        ("tunnelDstAddress", "tunnelSrcAddress"),
        ("dstTunnelAddress", "srcTunnelAddress"),
        ("dst_tunnel_address", "src_tunnel_address"),
    ],
)
def test_tunnel_addresses_are_known_by_all_their_names(dst: str, src: str) -> None:
    tunnel = {"tunnel_type": "GTP-U", dst: "10.1.1.1", src: "10.1.1.2"}
    (made,), findings = read(rule(dst_interface={"interface_type": "TUNNEL", "tunnel_info": tunnel}, dstInterface=None))
    assert findings == []
    assert made["dstInterface"][0]["tunnelInfo"] == {
        "tunnelType": "GTP_U", "tunnelDstAddress": "10.1.1.1", "tunnelSrcAddress": "10.1.1.2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "number", "level"),
    [
        ("DROP", 0, None), ("DROP", 1, Level.ERROR),
        ("FORWARD_DECAPSULATED", 1, None), ("FORWARD_DECAPSULATED", 0, Level.ERROR), ("FORWARD_ENCAPSULATED", 2, Level.ERROR),
        ("PASSTHROUGH", 1, None), ("PASSTHROUGH", 0, Level.WARNING), ("PASSTHROUGH", 2, Level.ERROR),
        ("DUPLICATE_ENCAPSULATED", 2, None), ("DUPLICATE_ENCAPSULATED", 1, Level.WARNING),
        ("DUPLICATE_DECAPSULATED", 0, Level.ERROR), ("DUPLICATE_DECAPSULATED", 3, Level.ERROR),
    ],
)  # fmt: skip
def test_each_action_takes_its_number_of_interfaces(action: str, number: int, level: Level | None) -> None:
    rules, findings = read(rule(action=action, dstInterface=[TUNNEL] * number))
    assert [f.level for f in findings] == ([level] if level else [])
    assert len(rules) == (0 if level is Level.ERROR else 1)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"trafficRuleId": None}, "trafficRuleId"),
        ({"filterType": "PACKETS"}, "filterType"),
        ({"priority": 256}, "priority"),
        ({"priority": -1}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": True}, "priority"),
        ({"action": "REDIRECT"}, "action"),
        ({"trafficFilter": []}, "trafficFilter"),
        ({"trafficFilter": [{"srcAddress": ["300.0.0.1"]}]}, "srcAddress"),
        ({"trafficFilter": [{"srcAddress": ["10.0.0.9-10.0.0.1"]}]}, "srcAddress"),
        ({"trafficFilter": [{"dstPort": ["70000"]}]}, "dstPort"),
        ({"trafficFilter": [{"dstPort": [{"from": 1}]}]}, "dstPort"),
        ({"trafficFilter": [{"dSCP": 64}]}, "dSCP"),
        ({"trafficFilter": ["any"]}, "trafficFilter[0]"),
        ({"dstInterface": [{"interfaceType": "IP"}]}, "dstIpAddress"),
        ({"dstInterface": [{"interfaceType": "MAC", "dstMacAddress": "zz"}]}, "dstMacAddress"),
        ({"dstInterface": [{"interfaceType": "TUNNEL"}]}, "tunnelInfo"),
        ({"dstInterface": [{"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "VXLAN"}}]}, "tunnelType"),
    ],
)
def test_a_wrong_rule_is_kept_out_and_told_with_its_place(changes: dict[str, Any], place: str) -> None:
    rules, findings = read(rule(**changes))
    assert rules == ()
    assert any(place in finding.place and finding.level is Level.ERROR for finding in findings)


def test_all_mistakes_of_a_rule_are_told_at_once() -> None:
    _, findings = read(rule(trafficRuleId=None, priority=999, action="NO", trafficFilter=[{"srcPort": ["x"]}]))
    assert len([f for f in findings if f.level is Level.ERROR]) >= 4


def test_a_rule_id_is_there_once() -> None:
    _, findings = read([rule(), rule()])
    assert [f.code for f in findings] == ["rule-duplicate"]


def test_one_rule_and_no_rule_are_lists_too() -> None:
    assert len(read(rule())[0]) == 1
    assert read(None) == ((), [])
    assert read("text")[1][0].code == "appd-invalid"


def test_unknown_members_are_told_and_left_out() -> None:
    (made,), findings = read(rule(colour="blue"))
    assert "colour" not in made
    assert [(f.code, f.level) for f in findings] == [("appd-unknown-member", Level.INFO)]


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"ipAddressType": "IPv4"}, True),
        ({"domainName": "a.example."}, True),
        ({"domainName": "*.a.example"}, True),
        ({"ttl": "60"}, True),
        ({"ipAddressType": "IP_V6", "ipAddress": "2001:db8::1"}, True),
        ({"ipAddressType": "IP_V6"}, False),
        ({"ipAddress": "10.0.0"}, False),
        ({"domainName": "-a.example"}, False),
        ({"domainName": "a..example"}, False),
        ({"domainName": "10.0.0.1"}, False),
        ({"domainName": "a" * 64 + ".example"}, False),
        ({"ttl": -1}, False),
        ({"ttl": 2**31}, False),
        ({"dnsRuleId": None}, False),
    ],
)
def test_dns_rules(changes: dict[str, Any], good: bool) -> None:
    raw = {"dnsRuleId": "d1", "domainName": "a.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.1", **changes}
    findings: list[Finding] = []
    rules = read_dns_rules([raw], "appDNSRule", findings)
    assert (len(rules) == 1, findings == []) == (good, good)


def test_services_are_read_in_every_spelling() -> None:
    findings: list[Finding] = []
    (wanted,) = read_required(
        {
            "serName": "location",
            "version": 2.1,
            "requestedPermissions": True,
            "serCategory": {"id": "LOC", "name": "Location"},
        },
        "x",
        findings,
    )
    assert wanted == ServiceDependency(
        "location", "2.1", {"id": "LOC", "name": "Location"}, requested_permissions=("all",)
    )
    (made,) = read_produced(
        [
            {
                "ser_name": "hello",
                "transports_supported": [
                    {"transport": {"type": "REST_HTTP", "protocol": "HTTP"}, "serializers": ["JSON"]}
                ],
                "dns_rule_id_list": "d1",
            }
        ],
        "x",
        findings,
    )
    assert made == ServiceProduced("hello", transports=(Transport(),), dns_rule_ids=("d1",))
    assert read_features(["UserApps", {"featureName": "V2X", "version": "1"}], "x", findings) == (
        Feature("UserApps"), Feature("V2X", "1"),
    )  # fmt: skip
    assert findings == []
    assert read_produced([{"version": "1"}], "x", findings) == ()
    assert findings[0].place == "x[0].serName"


FULL = AppDescriptor(
    name="hello", provider="Acme", version="1.10", app_d_id="id-1", description="Says hello", mec_versions=("3.1.1",),
    services_required=(
        ServiceDependency("location", "2.1", {"id": "LOC"}, (Transport("WEBSOCKET", "WS", "13"),), ("all",), "a", "p"),
    ),
    services_optional=(ServiceDependency("other"),),
    services_produced=(ServiceProduced("hello", "1.0", None, (Transport(),), ("d1",), ("r1",)),),
    features_required=(Feature("UserApps"),), features_optional=(Feature("V2X", "1"),),
    traffic_rules=tuple(read(rule())[0]),
    dns_rules=({"dnsRuleId": "d1", "domainName": "a.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.1"},),
    compute=Compute(500, 1 << 28, 1 << 30, "X86"), chart="Artifacts/Deployment/Charts/hello.tgz",
    images=(Image("hello:1.0", "1.0", "Image/hello.tar", "hello:1.0", 9, "ab"),), max_latency_ms=20,
    graceful_termination_timeout=30,
)  # fmt: skip


def test_a_descriptor_survives_json() -> None:
    assert AppDescriptor.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    assert validate(FULL) == []


def test_what_must_hold_across_the_descriptor() -> None:
    broken = AppDescriptor(
        name="", provider="A" * 200, version="1\x00", app_class="vm",
        services_required=(ServiceDependency("a"), ServiceDependency("a")), services_optional=(ServiceDependency("a"),),
        services_produced=(ServiceProduced("b", dns_rule_ids=("gone",)),),
    )  # fmt: skip
    codes = sorted(finding.code for finding in validate(broken))
    assert codes == [
        "appd-duplicate", "appd-duplicate", "appd-invalid", "appd-mandatory", "appd-too-long", "rule-missing", "vm-not-supported",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("10.0.0.1", True), ("10.0.0.0/8", True), ("10.0.0.1-10.0.0.9", True), ("2001:db8::/32", True), ("ANY", True),
        ("10.0.0.0/33", False), ("10.0.0.1-2001:db8::1", False), ("", False), ("10", False), ("::1-", False),
    ],
)  # fmt: skip
def test_addresses(text: str, good: bool) -> None:
    assert is_address_or_range(text) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("80", True),
        ("0", True),
        ("1-65535", True),
        ("any", True),
        ("65536", False),
        ("9-1", False),
        ("٣", False),
        ("-1", False),
        ("", False),
    ],
)
def test_ports(text: str, good: bool) -> None:
    assert is_port_or_range(text) is good


def test_domain_names_have_an_end() -> None:
    assert is_domain_name("a.b-c.example")
    assert not is_domain_name(".".join(["a" * 60] * 5))
    assert not is_domain_name("a.example-")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
members = st.sampled_from(
    ["trafficRuleId", "filterType", "priority", "trafficFilter", "action", "dstInterface", "serName", "version", "serCategory",
     "requestedPermissions", "transportsSupported", "dnsRuleId", "domainName", "ipAddressType", "ipAddress", "ttl", "tunnelInfo",
     "interfaceType", "srcAddress", "dstPort", "qCI", "featureName"]
)  # fmt: skip
objects = st.recursive(
    st.dictionaries(members, anything, max_size=6),
    lambda inner: st.dictionaries(members, inner | st.lists(inner, max_size=2), max_size=4),
    max_leaves=6,
)


@given(anything | objects | st.lists(objects, max_size=3))
@settings(max_examples=120, deadline=None)
def test_whatever_stands_there_is_read_or_told(raw: Any) -> None:
    findings: list[Finding] = []
    appd = AppDescriptor(
        "a", "b", "1",
        services_required=read_required(raw, "x", findings), services_produced=read_produced(raw, "x", findings),
        features_required=read_features(raw, "x", findings), traffic_rules=read_traffic_rules(raw, "x", findings),
        dns_rules=read_dns_rules(raw, "x", findings),
    )  # fmt: skip
    assert AppDescriptor.from_dict(json.loads(json.dumps(appd.to_dict()))) == appd
    validate(appd)
