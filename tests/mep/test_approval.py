"""An app may make less of its rules than was approved for it, never more."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mep.mp1 import operator, services
from mep.mp1.approval import dns_excess, own_addresses, traffic_excess
from mep.mp1.models import App, DnsRule, TrafficRule
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1
from tests.mep.test_service_mgmt import problem
from tests.upf.nftables import worlds
from upf_adapter.contract import TrafficRule as Wanted
from upf_adapter.flows import Packet, agrees, families, read
from upf_adapter.overlaps import common

OWN = "/mec_app_support/v1/applications/{app}"
T1, D1 = f"{OWN}/traffic_rules/t1", f"{OWN}/dns_rules/d1"


def body(rule: Wanted) -> dict[str, Any]:
    return {
        "filterType": rule.filter_type,
        "priority": rule.priority,
        "trafficFilter": [dict(each) for each in rule.filters],
        "action": rule.action,
        "dstInterface": list(rule.destinations),
    }


def as_rule(of: dict[str, Any]) -> Wanted:
    filters, targets = tuple(of["trafficFilter"]), tuple(of["dstInterface"])
    return Wanted("r", of["filterType"], of["priority"], filters, of["action"], targets)


def changed(dice: random.Random, approved: dict[str, Any]) -> dict[str, Any]:
    """Return the body with some members of some filters taken from another rule, or added, or left out."""
    other = body(worlds.rule(dice, "r"))
    filters = []
    for each in approved["trafficFilter"]:
        strange = sorted(other["trafficFilter"][0].items())
        mixed = {**each, **dict(dice.sample(strange, min(len(strange), 1)))}
        if mixed and dice.random() < 0.1:
            mixed.pop(dice.choice(sorted(mixed)))
        filters.append(mixed)
    return {**approved, "trafficFilter": filters, "priority": dice.choice([approved["priority"], other["priority"]])}


def matching(rule: Wanted, packet: Packet) -> bool:
    return packet.src.version in families(rule) and any(agrees(read(each), packet) for each in rule.filters)


@given(st.integers(0, 2**32).map(random.Random))
def test_whatever_packet_a_granted_rule_matches_the_approved_one_matches(dice: random.Random) -> None:
    for _ in range(20):
        approved = body(worlds.rule(dice, "r"))
        wanted = changed(dice, approved)
        if traffic_excess(approved, wanted):
            continue
        wide, narrow = as_rule(approved), as_rule(wanted)
        assert narrow.priority >= wide.priority
        probes = [common(read(each), read(each), families(narrow)) for each in narrow.filters]
        packets = [worlds.packet(dice, [narrow]) for _ in range(20)] + [each for each in probes if each]
        assert all(matching(wide, packet) for packet in packets if matching(narrow, packet))


@given(st.integers(0, 2**32).map(random.Random))
def test_a_rule_as_approved_or_with_fewer_filters_is_always_granted(dice: random.Random) -> None:
    approved = body(worlds.rule(dice, "r"))
    fewer = dice.sample(approved["trafficFilter"], 1)
    assert traffic_excess(approved, approved) == []
    assert traffic_excess(approved, {**approved, "trafficFilter": fewer, "priority": 255}) == []


ONE = {"dstAddress": ["203.0.113.0/28"], "tag": ["a"], "uri": ["http://a/"], "protocol": ["TCP"]}


@pytest.mark.parametrize(
    ("member", "wanted"),
    [
        ("trafficFilter[0]", {"trafficFilter": [{}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "dstAddress": ["203.0.113.0/27"]}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "dstAddress": ["::/0"]}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "protocol": ["TCP", "UDP"]}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "tag": ["b"]}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "uri": ["http://b/"]}]}),
        ("trafficFilter[0]", {"trafficFilter": [{**ONE, "uri": []}]}),
        ("trafficFilter[1]", {"trafficFilter": [ONE, {**ONE, "protocol": ["no such"]}]}),
        ("priority", {"priority": 4}),
        ("action", {"action": "PASSTHROUGH"}),
        ("filterType", {"filterType": "PACKET"}),
        ("dstInterface", {"dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.6.6.6"}]}),
    ],
)  # fmt: skip
def test_what_goes_beyond_what_was_approved_is_named(member: str, wanted: dict[str, Any]) -> None:
    approved = {**TRAFFIC_RULE, "trafficFilter": [ONE]}
    assert [each["field"] for each in traffic_excess(approved, {**approved, **wanted})] == [member]
    less = {**ONE, "dstPort": ["80"], "dstAddress": ["203.0.113.4"]}
    assert traffic_excess(approved, {**approved, "trafficFilter": [less], "priority": 6}) == []


def test_an_app_narrows_its_rule_and_widens_it_again_but_not_beyond_what_the_operator_saw(app: Mp1) -> None:
    narrow = {
        **TRAFFIC_RULE,
        "trafficFilter": [{"dstAddress": ["203.0.113.4"], "dstPort": ["81"], "protocol": ["TCP"]}],
    }
    assert app.put(T1, {**narrow, "priority": 9, "state": "ACTIVE"}).status_code == 200
    assert app.put(T1, {**TRAFFIC_RULE, "state": "ACTIVE"}).status_code == 200
    wide = {**TRAFFIC_RULE, "priority": 1, "trafficFilter": [{"dstAddress": ["0.0.0.0/0"]}], "state": "ACTIVE"}
    refused = problem(app.put(T1, wide), 403)
    assert [each["field"] for each in refused["errors"]] == ["priority", "trafficFilter[0]"]
    assert refused["approved"] == app.get(T1).json(), "who is refused is told what it may have"
    assert TrafficRule.objects.get().body["trafficFilter"] == TRAFFIC_RULE["trafficFilter"]


def test_a_rule_that_was_widened_before_can_only_be_switched_off_or_narrowed(app: Mp1, settings: Any) -> None:
    wide = {**TRAFFIC_RULE, "trafficFilter": [{}]}
    settings.APP_RULES = "free"
    assert app.put(T1, {**wide, "state": "ACTIVE"}).status_code == 200
    settings.APP_RULES = "strict"
    assert app.put(T1, {**wide, "state": "INACTIVE"}).status_code == 200
    problem(app.put(T1, {**wide, "state": "ACTIVE"}), 403)
    assert app.put(T1, {**TRAFFIC_RULE, "state": "ACTIVE"}).status_code == 200


def test_what_nobody_kept_of_the_descriptor_is_taken_from_the_rule_before_its_first_change(app: Mp1) -> None:
    App.objects.update(described=None)
    narrow = {**TRAFFIC_RULE, "trafficFilter": [{**TRAFFIC_RULE["trafficFilter"][0], "dstPort": ["80"]}]}  # type: ignore[index, dict-item]
    assert app.put(T1, {**narrow, "state": "ACTIVE"}).status_code == 200
    assert app.put(T1, {**TRAFFIC_RULE, "state": "ACTIVE"}).status_code == 200


def test_a_rule_that_the_operator_made_at_the_node_is_only_switched_by_its_app(app: Mp1) -> None:
    operator.create_traffic("app-1", "local", {**TRAFFIC_RULE, "state": "ACTIVE"})
    local = T1.replace("t1", "local")
    assert app.put(local, {**TRAFFIC_RULE, "state": "INACTIVE"}).status_code == 200
    problem(app.put(local, {**TRAFFIC_RULE, "priority": 9, "state": "INACTIVE"}), 403)


def test_a_name_leads_to_an_address_of_the_app_itself_and_nowhere_else(
    speak: Callable[..., Mp1], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = speak("app-1", dns_rules=[DNS_RULE])
    elsewhere = {**DNS_RULE, "ipAddress": "10.6.6.6", "state": "ACTIVE"}
    refused = problem(app.put(D1, elsewhere), 403)
    assert refused["errors"] == [{"field": "ipAddress", "detail": "must be an address of the app itself: 10.1.2.3"}], (
        "the loopback address that it speaks from here is everybody's"
    )
    monkeypatch.setitem(app._client.defaults, "REMOTE_ADDR", "10.6.6.6")
    assert app.put(D1, elsewhere).status_code == 200
    assert DnsRule.objects.get().address == "10.6.6.6"
    problem(app.put(D1, {**elsewhere, "ttl": 86400}), 403)
    services.provision("app-1", app_name="app-1", dns_rules=[DNS_RULE])
    assert DnsRule.objects.get().address == "10.1.2.3"


def test_an_app_may_call_its_own_what_it_speaks_from_and_what_its_rules_lead_to() -> None:
    described = {"t1": {"body": TRAFFIC_RULE}, "t2": {"body": {"action": "DROP"}}}
    assert own_addresses("::ffff:10.9.9.9", described) == {"10.9.9.9", "10.1.2.3"}
    assert own_addresses("fe80::1", {}) == own_addresses("", {}) == set()
    columns = {"domain_name": "a.example", "address": "10.1.2.3", "family": "IP_V4", "ttl": None}
    assert dns_excess(columns, {**columns, "ttl": 30}, own=(), default_ttl=30) == []
    (ttl,) = dns_excess(columns, {**columns, "ttl": 31}, own=(), default_ttl=30)
    assert ttl["field"] == "ttl"
