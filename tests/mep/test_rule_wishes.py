"""What the centre wants of an app's rules: laid over the descriptor, told back, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import upf_adapter
from core.errors import Denied
from mep.agent import store
from mep.agent.kinds import RuleWishes
from mep.dns import services as names
from mep.mp1 import operator, overrides, rules, services, steering
from mep.mp1.models import App, DnsRule, RuleWish, TrafficRule
from tests.mep.agent.conftest import frame
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1

MINE = {
    "filterType": "FLOW",
    "priority": 7,
    "trafficFilter": [{"protocol": ["UDP"], "dstPort": ["5060"]}],
    "action": "DROP",
}


def wish(app: str = "app-1", generation: int = 1, **spec: Any) -> RuleWish:
    return rules.wish(app, generation, spec)


def traffic(**entries: Any) -> dict[str, Any]:
    return {key: {"rule": None, "state": None, "made": False, **entry} for key, entry in entries.items()}


def outcomes(row: RuleWish) -> dict[str, str]:
    return {each["id"]: each["outcome"] for each in row.outcomes}


def test_a_rule_is_changed_added_and_switched_off_and_the_user_plane_has_it(app: Mp1) -> None:
    row = wish(
        traffic=traffic(t1={"rule": {**TRAFFIC_RULE, "priority": 90}}, mine={"rule": MINE, "made": True}),
        dns=traffic(d1={"state": "INACTIVE"}),
    )
    assert set(outcomes(row).values()) == {"applied"}
    adapter = upf_adapter.create("memory")
    steering.reconcile(adapter)
    assert {key: rule.priority for key, rule in adapter.rules().items()} == {"app-1/t1": 90, "app-1/mine": 7}
    assert DnsRule.objects.get().state == "INACTIVE"
    assert dict(TrafficRule.objects.values_list("rule_id", "origin")) == {"t1": "centre", "mine": "centre"}


def test_what_is_wished_no_more_is_as_the_descriptor_says(app: Mp1) -> None:
    wish(
        traffic=traffic(t1={"rule": MINE, "state": "INACTIVE"}, mine={"rule": MINE, "made": True}),
        dns=traffic(d1={"state": "INACTIVE"}),
    )
    wish(generation=2)
    rule = TrafficRule.objects.get()
    assert (rule.body["priority"], rule.state, rule.origin) == (5, "ACTIVE", "descriptor")
    assert DnsRule.objects.get().state == "ACTIVE"
    rules.unwish("app-1")
    assert not RuleWish.objects.exists()


def test_a_wish_waits_for_its_app_and_outlives_it(provision: Callable[..., Any]) -> None:
    row = wish(traffic=traffic(t1={"rule": MINE}))
    assert rules.told(row)["state"] == "waiting"
    for _ in range(2):
        provision(traffic_rules=[TRAFFIC_RULE])
        assert TrafficRule.objects.get().body["priority"] == 7
        assert rules.told(RuleWish.objects.get())["state"] == "applied"
        services.discard("app-1")


def test_a_rule_that_the_next_release_does_not_have_is_lost_and_comes_back_with_the_release_before(
    app: Mp1, provision: Callable[..., Any]
) -> None:
    wish(traffic=traffic(t1={"rule": MINE}))
    provision(traffic_rules=[{**TRAFFIC_RULE, "trafficRuleId": "t2"}])
    row = RuleWish.objects.get()
    assert outcomes(row) == {"t1": "lost"}
    assert rules.told(row)["state"] == "refused"
    assert [rule.rule_id for rule in TrafficRule.objects.all()] == ["t2"]
    provision(traffic_rules=[TRAFFIC_RULE])
    assert outcomes(RuleWish.objects.get()) == {"t1": "applied"}
    assert TrafficRule.objects.get().body["priority"] == 7


def test_an_upgrade_never_shows_the_rule_without_what_was_wished(app: Mp1, provision: Callable[..., Any]) -> None:
    wish(traffic=traffic(t1={"rule": MINE, "state": "INACTIVE"}))
    before = TrafficRule.objects.get().revision
    provision(traffic_rules=[{**TRAFFIC_RULE, "priority": 1}])
    assert TrafficRule.objects.get().revision == before
    wish(generation=2)
    assert TrafficRule.objects.get().body["priority"] == 1


def test_what_the_user_plane_cannot_do_is_refused_in_its_words_and_the_rule_stays(app: Mp1, settings: Any) -> None:
    settings.UPF, settings.UPF_CONFIG = "nftables", ""
    tunnel = {"interfaceType": "TUNNEL", "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "10.1.2.3"}}
    row = wish(traffic=traffic(t1={"rule": {**MINE, "action": "FORWARD_ENCAPSULATED", "dstInterface": [tunnel]}}))
    assert outcomes(row) == {"t1": "refused"}
    assert "has no FORWARD_ENCAPSULATED; the nearest it can do: FORWARD_DECAPSULATED" in row.outcomes[0]["reason"]
    assert TrafficRule.objects.get().body["action"] == "FORWARD_DECAPSULATED"


def test_a_wish_without_sense_is_refused_and_the_others_are_heeded(app: Mp1) -> None:
    row = wish(
        traffic=traffic(t1={"rule": {**MINE, "priority": 900}}, mine={"made": True}, good={"rule": MINE, "made": True}),
        dns=traffic(d1={"rule": {"domainName": "no name", "ipAddressType": "IP_V4", "ipAddress": "10.0.0.1"}}),
    )
    assert outcomes(row) == {"t1": "refused", "mine": "refused", "good": "applied", "d1": "refused"}


def test_a_rule_that_was_made_at_the_node_is_nobody_elses(app: Mp1) -> None:
    operator.create_traffic("app-1", "local", {**MINE, "priority": 3})
    assert outcomes(wish(traffic=traffic(local={"rule": MINE, "made": True}))) == {"local": "refused"}
    wish(generation=2)
    assert TrafficRule.objects.get(rule_id="local").body["priority"] == 3


def test_the_app_cannot_undo_what_the_operator_has_set(app: Mp1) -> None:
    wish(traffic=traffic(t1={"rule": MINE, "state": "INACTIVE"}))
    rule = TrafficRule.objects.get()
    with pytest.raises(Denied, match="keeps rule t1 inactive"):
        rules.put_traffic(rule.app, "t1", {**MINE, "state": "ACTIVE"}, None)
    with pytest.raises(Denied, match="has set the content of rule t1"):
        rules.put_traffic(rule.app, "t1", TRAFFIC_RULE, None)
    assert rules.put_traffic(rule.app, "t1", {**MINE, "state": "INACTIVE"}, None).body["priority"] == 7


def test_a_state_that_was_wished_holds_through_stopping_and_starting(app: Mp1) -> None:
    wish(traffic=traffic(t1={"state": "INACTIVE"}))
    services.begin_termination("app-1", action="STOPPING", timeout=0)
    services.confirm_ready("app-1")
    assert TrafficRule.objects.get().state == "INACTIVE"
    wish(generation=2, traffic=traffic(t1={"state": "ACTIVE"}))
    assert TrafficRule.objects.get().state == "ACTIVE"


def test_rules_of_before_an_update_of_the_platform_can_be_changed_and_given_back(app: Mp1) -> None:
    App.objects.update(described=None)
    wish(traffic=traffic(t1={"rule": MINE}), dns=traffic(d1={"rule": {**DNS_RULE, "ipAddress": "10.9.9.9"}}))
    assert (TrafficRule.objects.get().body["priority"], DnsRule.objects.get().address) == (7, "10.9.9.9")
    rules.unwish("app-1")
    assert (TrafficRule.objects.get().body["priority"], DnsRule.objects.get().address) == (5, "10.1.2.3")


def test_the_agent_hands_a_wish_on_and_tells_what_became_of_it(app: Mp1, db: None) -> None:
    from mep.agent.reports import Reporter

    steps = RuleWishes(Reporter())
    spec = {"appInstanceId": "app-1", "traffic": traffic(t1={"rule": MINE}, gone={"rule": MINE}), "dns": {}}
    store.take([frame("rules", "a", 1, 4, spec)])
    assert steps.step("a") == RuleWishes.EVERY
    told = store.waiting()[0]
    assert (told["observed_generation"], told["status"]["state"]) == (4, "refused")
    assert [(each["id"], each["outcome"]) for each in told["status"]["rules"]] == [("gone", "lost"), ("t1", "applied")]
    store.take([frame("rules", "a", 2, 4, {}, deleted=True)])
    assert steps.step("a") is None
    assert store.waiting()[0]["status"]["state"] == "absent"
    assert TrafficRule.objects.get().body["priority"] == 5


def test_the_management_api_does_the_same_for_a_centre_that_reaches_the_node_directly(app: Mp1, settings: Any) -> None:
    settings.MM5_TOKEN = "t" * 32
    app.token = settings.MM5_TOKEN
    body = {"generation": 2, "traffic": traffic(t1={"rule": MINE}), "dns": {}}
    answer = app.put("/mm5/v1/app_instances/app-1/rules", body)
    assert answer.status_code == 200, answer.content
    assert json.loads(answer.content)["rules"] == [{"kind": "traffic", "id": "t1", "outcome": "applied", "reason": ""}]
    assert app.put("/mm5/v1/app_instances/app-1/rules", {}).status_code == 400
    assert app.delete("/mm5/v1/app_instances/app-1/rules").status_code == 204
    assert TrafficRule.objects.get().body["priority"] == 5


def test_the_management_api_tells_which_wishes_it_holds_in_a_fixed_number_of_queries(
    app: Mp1, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.MM5_TOKEN = app.token = "t" * 32
    wish(generation=3, traffic=traffic(t1={"rule": MINE}))
    wish("app-2", generation=7, traffic=traffic(t1={"rule": MINE}))
    assert app.get("/mm5/v1/state").json()["rule_wishes"] == [
        {"appInstanceId": "app-1", "generation": 3, "state": "applied"},
        {"appInstanceId": "app-2", "generation": 7, "state": "waiting"},
    ]
    wish(generation=4, traffic=traffic(gone={"rule": MINE}))
    for number in range(3, 9):
        wish(f"app-{number}", traffic=traffic(t1={"rule": MINE}))
    with django_assert_num_queries(1):
        held = overrides.held({"app-1"})
    assert [each["state"] for each in held] == ["refused", *["waiting"] * 7]


def test_a_scope_that_the_centre_sets_is_taken_back_with_its_wish_and_one_of_the_node_is_left_alone(app: Mp1) -> None:
    rule = {**DNS_RULE, "scope": "vip"}
    for back in (lambda: wish(generation=2), lambda: rules.unwish("app-1")):
        wish(dns=traffic(d1={"rule": rule}))
        assert DnsRule.objects.get().scope == "vip"
        back()
        assert DnsRule.objects.get().scope == ""
    wish(generation=3, dns=traffic(d1={"rule": rule}))
    wish(generation=4, dns=traffic(d1={"rule": {**DNS_RULE, "ipAddress": "10.9.9.9"}}))
    assert (DnsRule.objects.get().scope, DnsRule.objects.get().address) == ("", "10.9.9.9")
    DnsRule.objects.update(scope="local")
    wish(generation=5, dns=traffic(d1={"rule": {**DNS_RULE, "ipAddress": "10.9.9.8"}}))
    rules.unwish("app-1")
    assert DnsRule.objects.get().scope == "local"


def test_the_scopes_of_the_node_are_told_with_their_first_prefixes(app: Mp1) -> None:
    names.put_scope("vip", kind="ue", networks=[f"10.45.0.{last}/32" for last in range(7)])
    assert services.snapshot()["dns_scopes"] == [
        {"name": "vip", "kind": "ue", "networks": [f"10.45.0.{last}/32" for last in range(5)], "prefixes": 7}
    ]


def test_who_asks_from_the_scope_that_the_centre_names_is_told_what_it_says_and_nobody_else(app: Mp1) -> None:
    names.put_scope("vip", kind="ue", networks=["10.45.0.0/24"])
    extra = {**DNS_RULE, "ipAddress": "10.9.9.9", "scope": "vip"}
    assert outcomes(wish(dns=traffic(extra={"rule": extra, "made": True}))) == {"extra": "applied"}
    told = {source: names.resolve("hello.example", "A", source).addresses for source in ("10.45.0.7", "10.46.0.7")}
    assert told == {"10.45.0.7": ("10.9.9.9",), "10.46.0.7": ("10.1.2.3",)}
    wish(generation=2, dns=traffic(extra={"rule": {**extra, "scope": ""}, "made": True}))
    assert names.resolve("hello.example", "A", "10.46.0.7").addresses == ("10.1.2.3", "10.9.9.9")
