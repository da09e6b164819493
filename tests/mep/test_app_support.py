"""`mec_app_support/v1`: every row of its table in MEC 011 V3.1.1, successes and listed errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mep.mp1 import services
from mep.mp1.models import App, DnsRule, Service, Subscription, TrafficRule
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1
from tests.mep.test_service_mgmt import problem

API = "/mec_app_support/v1"
OWN = f"{API}/applications/{{app}}"
LISTEN = {
    "subscriptionType": "AppTerminationNotificationSubscription",
    "callbackReference": "http://10.1.2.3:8080/goodbye",
    "appInstanceId": "app-1",
}


def states() -> set[str]:
    return {*TrafficRule.objects.values_list("state", flat=True), *DnsRule.objects.values_list("state", flat=True)}


# --- being there -------------------------------------------------------------------------------------------------------


def test_rules_wait_until_the_app_says_that_it_is_ready(speak: Callable[..., Mp1]) -> None:
    app = speak(ready=False, traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])
    assert states() == {"INACTIVE"}
    answer = app.post(f"{OWN}/confirm_ready", {"indication": "READY"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert states() == {"ACTIVE"}
    assert app.post(f"{OWN}/confirm_ready", {"indication": "READY"}).status_code == 204


@pytest.mark.parametrize("body", [{}, {"indication": "ALMOST"}, [], "READY"])
def test_another_indication_is_400(app: Mp1, body: Any) -> None:
    problem(app.post(f"{OWN}/confirm_ready", body), 400)


def test_an_app_on_its_way_out_cannot_become_ready(app: Mp1) -> None:
    app.post(f"{OWN}/subscriptions", LISTEN)
    services.begin_termination("app-1", timeout=60)
    problem(app.post(f"{OWN}/confirm_ready", {"indication": "READY"}), 409)


@pytest.mark.parametrize("what", ["confirm_ready", "confirm_termination"])
def test_nobody_speaks_for_another_app(app: Mp1, neighbour: Mp1, what: str) -> None:
    body = {"indication": "READY", "operationAction": "TERMINATING"}
    problem(neighbour.post(f"{API}/applications/app-1/{what}", body), 403)
    problem(neighbour.post(f"{OWN}/{what}", body, Authorization="Bearer x.y.z"), 401)


# --- going away ----------------------------------------------------------------------------------------------------------


def test_a_listening_app_is_told_and_waited_for_until_it_confirms(app: Mp1) -> None:
    made = app.register()
    sub = app.post(f"{OWN}/subscriptions", LISTEN).json()
    services.begin_termination("app-1", timeout=60)
    assert not services.termination_over("app-1")
    notice = Subscription.objects.get(kind=Subscription.TERMINATION).notices.get().body
    assert notice == {
        "notificationType": "AppTerminationNotification",
        "operationAction": "TERMINATING",
        "maxGracefulTimeout": 60,
        "_links": {
            "subscription": sub["_links"]["self"],
            "confirmTermination": {"href": f"https://mep:8443{API}/applications/app-1/confirm_termination"},
        },
    }
    # It may finish its work meanwhile, but offer nothing new.
    assert app.get(f"/mec_service_mgmt/v1/services/{made['serInstanceId']}").status_code == 200
    problem(app.post("/mec_service_mgmt/v1/applications/{app}/services", {**made, "_links": None}), 403)
    problem(app.post(f"{OWN}/confirm_termination", {"operationAction": "STOPPING"}), 400)
    assert app.post(f"{OWN}/confirm_termination", {"operationAction": "TERMINATING"}).status_code == 204
    assert services.termination_over("app-1")
    assert states() == {"INACTIVE"}
    assert not Service.objects.exists()


def test_a_terminated_apps_tokens_are_refused_at_once(app: Mp1) -> None:
    services.begin_termination("app-1", timeout=0)
    told = problem(app.get("/mec_service_mgmt/v1/services"), 401)
    assert "terminated" in told["detail"]


@pytest.mark.parametrize("body", [{"operationAction": "TERMINATING"}, {"operationAction": "STOPPING"}])
def test_confirming_what_nobody_asked_for_is_409(app: Mp1, body: dict[str, str]) -> None:
    problem(app.post(f"{OWN}/confirm_termination", body), 409)


def test_an_unknown_operation_action_is_400(app: Mp1) -> None:
    for body in ({}, {"operationAction": "EXPLODING"}):
        problem(app.post(f"{OWN}/confirm_termination", body), 400)


def test_silence_ends_a_termination_when_its_time_is_up(app: Mp1) -> None:
    app.post(f"{OWN}/subscriptions", LISTEN)
    services.begin_termination("app-1", timeout=5)
    services.begin_termination("app-1", timeout=500)  # asking again gives no more time
    now = time.time()
    assert services.end_overdue_terminations(now + 4) == 0
    assert services.end_overdue_terminations(now + 6) == 1
    assert App.objects.get().state == "TERMINATED"


def test_nobody_waits_for_an_app_that_does_not_listen(app: Mp1) -> None:
    services.begin_termination("app-1", timeout=60)
    assert services.termination_over("app-1")


def test_a_stopped_app_may_come_back(app: Mp1) -> None:
    app.register()
    app.post(f"{OWN}/subscriptions", LISTEN)
    services.begin_termination("app-1", action="STOPPING", timeout=60)
    assert app.post(f"{OWN}/confirm_termination", {"operationAction": "STOPPING"}).status_code == 204
    assert states() == {"INACTIVE"}
    assert Service.objects.get().state == "INACTIVE"
    assert app.post(f"{OWN}/confirm_ready", {"indication": "READY"}).status_code == 204
    assert states() == {"ACTIVE"}


def test_a_stopped_app_that_offers_something_again_is_stopped_again(app: Mp1) -> None:
    services.begin_termination("app-1", action="STOPPING", timeout=0)
    app.register()
    assert Service.objects.get().state == "ACTIVE"
    services.begin_termination("app-1", action="STOPPING", timeout=60)
    assert Service.objects.get().state == "INACTIVE"


def test_what_an_app_chose_for_its_rules_ends_with_a_stop(app: Mp1) -> None:
    for kind, body in (("traffic_rules/t1", TRAFFIC_RULE), ("dns_rules/d1", DNS_RULE)):
        assert app.put(f"{OWN}/{kind}", {**body, "state": "INACTIVE"}).status_code == 200
    services.begin_termination("app-1", action="STOPPING", timeout=0)
    problem(app.put(f"{OWN}/traffic_rules/t1", {**TRAFFIC_RULE, "state": "ACTIVE"}), 403)
    assert app.post(f"{OWN}/confirm_ready", {"indication": "READY"}).status_code == 204
    assert states() == {"ACTIVE"}


def test_termination_subscriptions_are_listed_read_and_ended(app: Mp1) -> None:
    answer = app.post(f"{OWN}/subscriptions", LISTEN)
    assert answer.status_code == 201
    assert answer["Location"] == answer.json()["_links"]["self"]["href"]
    assert {key: value for key, value in answer.json().items() if key != "_links"} == LISTEN
    path = answer["Location"].removeprefix("https://mep:8443")
    listed = app.get(f"{OWN}/subscriptions").json()["_links"]
    assert listed["subscriptions"][0]["href"] == answer["Location"]
    assert listed["subscriptions"][0]["subscriptionType"] == LISTEN["subscriptionType"]
    assert app.get(path).json() == answer.json()
    assert app.delete(path).status_code == 204
    problem(app.get(path), 404)
    problem(app.delete(path), 404)


def test_an_app_hears_only_of_its_own_end(app: Mp1, neighbour: Mp1) -> None:
    problem(app.post(f"{OWN}/subscriptions", {**LISTEN, "appInstanceId": "app-2"}), 403)
    for missing in LISTEN:
        problem(app.post(f"{OWN}/subscriptions", {key: value for key, value in LISTEN.items() if key != missing}), 400)


# --- rules -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "rule_id"), [("traffic_rules", "t1"), ("dns_rules", "d1")])
def test_rules_are_listed_and_read_with_their_etag(app: Mp1, kind: str, rule_id: str) -> None:
    listed = app.get(f"{OWN}/{kind}").json()
    one = app.get(f"{OWN}/{kind}/{rule_id}")
    assert listed == [one.json()]
    assert one.json()["state"] == "ACTIVE"
    assert app.get(f"{OWN}/{kind}/{rule_id}", If_None_Match=one["ETag"]).status_code == 304
    problem(app.get(f"{OWN}/{kind}/none"), 404)
    problem(app.put(f"{OWN}/{kind}/none", one.json()), 404)
    problem(app.get(f"{OWN}/{kind}?state=ACTIVE"), 400)
    problem(app.post(f"{OWN}/{kind}", one.json()), 405)
    problem(app.delete(f"{OWN}/{kind}/{rule_id}"), 405)


@pytest.mark.parametrize(("kind", "rule_id"), [("traffic_rules", "t1"), ("dns_rules", "d1")])
def test_an_app_deactivates_and_activates_its_rules(app: Mp1, kind: str, rule_id: str) -> None:
    path = f"{OWN}/{kind}/{rule_id}"
    before = app.get(path)
    answer = app.put(path, {**before.json(), "state": "INACTIVE"}, If_Match=before["ETag"])
    assert answer.status_code == 200
    assert answer.json() == {**before.json(), "state": "INACTIVE"}
    problem(app.put(path, before.json(), If_Match=before["ETag"]), 412)
    app.post(f"{OWN}/confirm_ready", {"indication": "READY"})
    assert app.get(path).json()["state"] == "INACTIVE", "what the app chose stays"
    assert app.put(path, before.json()).json()["state"] == "ACTIVE"


@pytest.mark.parametrize(("kind", "rule_id"), [("traffic_rules", "t1"), ("dns_rules", "d1")])
def test_the_id_of_the_uri_wins_over_the_one_in_the_body(app: Mp1, kind: str, rule_id: str) -> None:
    path = f"{OWN}/{kind}/{rule_id}"
    body = {**app.get(path).json(), "trafficRuleId": "other", "dnsRuleId": "other"}
    assert app.put(path, body).status_code == 200
    assert [rule.rule_id for rule in (*TrafficRule.objects.all(), *DnsRule.objects.all())] == ["t1", "d1"]


@pytest.mark.parametrize(("kind", "rule_id"), [("traffic_rules", "t1"), ("dns_rules", "d1")])
def test_rules_of_another_app_are_403(app: Mp1, neighbour: Mp1, kind: str, rule_id: str) -> None:
    for path in (kind, f"{kind}/{rule_id}"):
        problem(neighbour.get(f"{API}/applications/app-1/{path}"), 403)
    body = {**TRAFFIC_RULE, **DNS_RULE, "state": "INACTIVE"}
    problem(neighbour.put(f"{API}/applications/app-1/{kind}/{rule_id}", body), 403)
    assert states() == {"ACTIVE"}


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 256}, {"priority": -1}, {"filterType": "BOTH"}, {"action": "EXPLODE"}, {"trafficFilter": []},
        {"trafficFilter": [{"srcAddress": ["300.1.1.1"]}]}, {"trafficFilter": [{"dstPort": ["90-80"]}]},
        {"trafficFilter": [{"dstPort": ["70000"]}]}, {"trafficFilter": [{"dSCP": 64}]}, {"dstInterface": []},
        {"action": "DROP"}, {"dstInterface": [{"interfaceType": "WIFI"}]}, {"dstInterface": [{"interfaceType": "IP"}]},
        {"dstInterface": [{"interfaceType": "TUNNEL"}]}, {"state": "SUSPENDED"}, {"trafficFilter": [{"srcAddress": "x-y"}]},
    ],
)  # fmt: skip
def test_a_traffic_rule_that_makes_no_sense_is_400(app: Mp1, change: dict[str, Any]) -> None:
    problem(app.put(f"{OWN}/traffic_rules/t1", {**TRAFFIC_RULE, "state": "ACTIVE", **change}), 400)
    assert TrafficRule.objects.get().body["priority"] == 5


def test_both_spellings_of_destinations_and_tags_are_read_and_one_is_written(app: Mp1, settings: Any) -> None:
    settings.APP_RULES = "free"
    body = {
        **TRAFFIC_RULE,
        "trafficFilter": {
            "srcAddress": "10.0.0.0/8",
            "dstAddress": ["2001:db8::/32", "10.1.1.1-10.1.1.9"],
            "token": ["a"],
            "srcPort": [80],
        },
        "dstInterface": {
            "interfaceType": "TUNNEL",
            "tunnelInfo": {"tunnelType": "GTP-U", "tunnel_dst_address": "10.9.9.9"},
        },
    }
    told = app.put(f"{OWN}/traffic_rules/t1", body).json()
    assert told["trafficFilter"] == [
        {
            "srcAddress": ["10.0.0.0/8"],
            "dstAddress": ["2001:db8::/32", "10.1.1.1-10.1.1.9"],
            "srcPort": ["80"],
            "tag": ["a"],
        }
    ]
    assert told["dstInterface"] == {
        "interfaceType": "TUNNEL",
        "tunnelInfo": {"tunnelType": "GTP_U", "tunnelDstAddress": "10.9.9.9"},
    }
    two = [{"interfaceType": "IP", "dstIpAddress": "10.1.1.1"}, {"interfaceType": "IP", "dstIpAddress": "10.1.1.2"}]
    told = app.put(f"{OWN}/traffic_rules/t1", {**body, "action": "DUPLICATE_DECAPSULATED", "dstInterface": two}).json()
    assert told["dstInterface"] == two


@pytest.mark.parametrize(
    "change",
    [
        {"ipAddress": "10.1.2"}, {"ipAddressType": "IP_V6"}, {"ipAddress": "2001:db8::1"}, {"ttl": -1}, {"ttl": 2**31},
        {"domainName": "a b"}, {"domainName": ""}, {"state": "ON"}, {"ipAddress": None},
    ],
)  # fmt: skip
def test_a_dns_rule_that_makes_no_sense_is_400(app: Mp1, change: dict[str, Any]) -> None:
    problem(app.put(f"{OWN}/dns_rules/d1", {**DNS_RULE, "state": "ACTIVE", **change}), 400)


def test_an_app_may_move_its_name_but_not_take_another_one(app: Mp1, settings: Any) -> None:
    settings.APP_RULES = "free"
    moved = {**DNS_RULE, "domainName": "Hello.EXAMPLE.", "ipAddress": "10.1.2.4", "ttl": None, "state": "ACTIVE"}
    told = app.put(f"{OWN}/dns_rules/d1", moved).json()
    assert (told["ipAddress"], told["domainName"]) == ("10.1.2.4", "hello.example")
    assert "ttl" not in told
    problem(app.put(f"{OWN}/dns_rules/d1", {**moved, "domainName": "bank.example"}), 403)


# --- registrations (new in V3.1.1) -----------------------------------------------------------------------------------------


def test_a_registration_is_made_read_updated_and_taken_back(app: Mp1) -> None:
    info = {"appName": "hello", "endpoint": {"uris": ["http://10.1.2.3"]}, "isInsByMec": False}
    answer = app.post(f"{API}/registrations", info)
    assert answer.status_code == 201
    assert answer["Location"] == f"https://mep:8443{API}/registrations/app-1"
    assert answer.json() == {**info, "appInstanceId": "app-1"}
    path = f"{API}/registrations/app-1"
    assert app.get(path).json() == answer.json()
    problem(app.post(f"{API}/registrations", info), 403)
    assert app.put(path, {**info, "appName": "world"}).status_code == 204
    assert app.get(path).json()["appName"] == "world"
    app.register()
    assert app.delete(path).status_code == 204
    assert not Service.objects.exists()
    for method in ("GET", "PUT", "DELETE"):
        problem(app.send(method, path, info), 404)


def test_an_app_with_a_descriptor_is_described_by_it(speak: Callable[..., Mp1]) -> None:
    app = speak(app_d_id="descriptor-7", services={"required": [{"serName": "rnis"}]})
    answer = app.post(f"{API}/registrations", {"appName": "x", "appServiceRequired": [{"serName": "all"}]})
    assert answer.status_code == 201
    assert answer.json()["appServiceRequired"] == [{"serName": "rnis"}]
    assert (answer.json()["isInsByMec"], answer.json()["appDId"]) == (True, "descriptor-7")


def test_a_registration_speaks_only_for_the_asker_and_says_what_it_must(app: Mp1, neighbour: Mp1) -> None:
    good = {"appName": "x", "endpoint": {"uris": ["http://10.1.2.3"]}}
    problem(app.post(f"{API}/registrations", {**good, "appInstanceId": "app-2"}), 403)
    problem(app.post(f"{API}/registrations", {"appName": "x"}), 400)
    problem(app.post(f"{API}/registrations", {"endpoint": {"uris": []}}), 400)
    problem(app.post(f"{API}/registrations", {**good, "endpoint": {"uris": ["a"], "fqdn": ["b"]}}), 400)
    problem(app.get(f"{API}/registrations/app-2"), 403)
    problem(app.post(f"{API}/registrations", good, Authorization=""), 401)


# --- time ------------------------------------------------------------------------------------------------------------------


def test_the_platform_tells_its_time(app: Mp1) -> None:
    told = app.get(f"{API}/timing/current_time").json()
    assert told["seconds"] == pytest.approx(time.time(), abs=5)
    assert 0 <= told["nanoSeconds"] < 1_000_000_000
    assert told["timeSourceStatus"] in ("TRACEABLE", "NONTRACEABLE")
    assert app.get(f"{API}/timing/timing_caps").json()["timeStamp"]["seconds"] == pytest.approx(time.time(), abs=5)
    for what in ("current_time", "timing_caps"):
        problem(app.get(f"{API}/timing/{what}?x=1"), 400)
        problem(app.get(f"{API}/timing/{what}", Authorization=""), 401)
