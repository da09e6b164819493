"""What the management does with app instances, in process and over Mm5."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.errors import Invalid
from mep.mp1 import alarms, services
from mep.mp1.models import App, DnsRule, Notice, Service, Subscription, TrafficRule
from mep.mp1.states import Severity
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1
from tests.mep.test_service_mgmt import problem


def test_wrong_rules_are_all_told_at_once_and_nothing_is_made(provision: Callable[..., Any]) -> None:
    with pytest.raises(Invalid) as caught:
        provision(
            traffic_rules=[{**TRAFFIC_RULE, "priority": 900}, TRAFFIC_RULE, TRAFFIC_RULE, "x"],
            dns_rules=[{**DNS_RULE, "ipAddress": "?"}, {}],
        )
    assert [each["field"] for each in caught.value.context["errors"]] == [
        "appTrafficRule[0]", "appTrafficRule[2]", "appTrafficRule[3]", "appDNSRule[0]", "appDNSRule[1]",
    ]  # fmt: skip
    assert not App.objects.exists()


@pytest.mark.parametrize("app_id", ["", "a/b", "a b", "x" * 65, "ä"])
def test_an_impossible_id_is_refused(provision: Callable[..., Any], app_id: str) -> None:
    with pytest.raises(Invalid):
        provision(app_id)


def test_the_client_id_comes_from_provider_and_name(provision: Callable[..., Any]) -> None:
    known = provision(app_provider="Ünï Corp.", app_name="My App!")
    assert known.client_id.startswith("n-corp.my-app.")
    assert provision("app-2", app_provider="Ünï Corp.", app_name="My App!").client_id != known.client_id


def test_an_upgrade_changes_the_rules_of_a_running_app_and_keeps_what_is_the_same(
    app: Mp1, provision: Callable[..., Any]
) -> None:
    app.put("/mec_app_support/v1/applications/{app}/dns_rules/d1", {**DNS_RULE, "state": "INACTIVE"})
    before = DnsRule.objects.get()
    provision(
        "app-1",
        app_soft_version="2",
        traffic_rules=[{**TRAFFIC_RULE, "priority": 6}, {**TRAFFIC_RULE, "trafficRuleId": "t2"}],
        dns_rules=[DNS_RULE],
    )
    assert {rule.rule_id: (rule.body["priority"], rule.state) for rule in TrafficRule.objects.all()} == {
        "t1": (6, "ACTIVE"),
        "t2": (5, "ACTIVE"),
    }
    after = DnsRule.objects.get()
    assert (after.state, after.revision) == ("INACTIVE", before.revision)
    provision("app-1")
    assert not TrafficRule.objects.exists()
    assert not DnsRule.objects.exists()
    assert app.get("/mec_service_mgmt/v1/services").status_code == 200, "the app itself goes on"


def test_an_app_that_was_terminated_starts_anew_with_its_old_credentials(
    app: Mp1, provision: Callable[..., Any]
) -> None:
    known = provision(dns_rules=[DNS_RULE])
    services.begin_termination("app-1", timeout=0)
    assert provision(dns_rules=[DNS_RULE]) == known
    assert App.objects.get().state == "PROVISIONED"
    assert DnsRule.objects.get().state == "INACTIVE"
    assert app.get("/mec_service_mgmt/v1/services").status_code == 200


def test_discarding_leaves_nothing_and_may_come_twice(app: Mp1) -> None:
    app.register()
    services.discard("app-1")
    services.discard("app-1")
    for kind in (App, Service, Subscription, Notice, TrafficRule, DnsRule):
        assert not kind.objects.exists()
    services.begin_termination("app-1")
    assert services.termination_over("app-1")
    told = services.snapshot()
    assert set(told["user_plane"].pop("capabilities")) >= {"actions", "filters", "interfaces", "filterTypes"}
    assert told == {
        "alarms": [],
        "dns_scopes": [],
        "user_plane": {"adapter": "memory", "simulated": True},
        "apps": [],
        "services": [],
        "subscriptions": [],
        "dns_rules": [],
        "traffic_rules": [],
    }


def test_the_snapshot_tells_everything_but_secrets(app: Mp1) -> None:
    app.register(livenessInterval=5)
    body = {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": "http://10.1.2.3/x"}
    app.post("/mec_service_mgmt/v1/applications/{app}/subscriptions", body)
    app.register(serName="second")
    told = json.loads(json.dumps(services.snapshot()))
    assert [each["state"] for each in told["apps"]] == ["READY"]
    assert [(each["serName"], each["appInstanceId"], each["state"]) for each in told["services"]] == [
        ("hello", "app-1", "ACTIVE"), ("second", "app-1", "ACTIVE"),
    ]  # fmt: skip
    assert told["subscriptions"][0]["waiting"] == 1
    enforced = {"scope": "", "origin": "descriptor", "enforcement": "pending", "reason": ""}
    assert told["dns_rules"] == [{**DNS_RULE, "state": "ACTIVE", "appInstanceId": "app-1", **enforced}]
    assert told["traffic_rules"][0]["enforcement"] == "pending"
    assert not {"client_id", "clientId", "secret"} & set(told["apps"][0])


def test_the_snapshot_tells_the_alarms_that_stand(app: Mp1) -> None:
    alarms.raise_alarm("given-up", "subscription=1", Severity.MAJOR, "nobody listens")
    alarms.raise_alarm("given-up", "subscription=2", Severity.MAJOR, "nobody listens")
    alarms.clear("given-up", "subscription=1")
    (told,) = services.snapshot()["alarms"]
    assert (told["subject"], told["severity"], told["text"], told["count"]) == (
        "subscription=2", "major", "nobody listens", 1,
    )  # fmt: skip


def test_the_version_of_the_snapshot_moves_with_its_content(app: Mp1) -> None:
    before = services.snapshot_version()
    assert services.snapshot_version() == before
    made = app.register(livenessInterval=5)
    moved = services.snapshot_version()
    assert moved != before
    app.patch(made["_links"]["liveness"]["href"].removeprefix("https://mep:8443"), {"state": "ACTIVE"})
    assert services.snapshot_version() == moved


# --- Mm5 -------------------------------------------------------------------------------------------------------------------

APPD = {
    "appName": "hello", "appProvider": "acme", "appDId": "d-1", "appSoftVersion": "1", "appDVersion": "1", "namespace": "t-acme",
    "appServiceRequired": [], "appServiceOptional": [], "appServiceProduced": [{"serName": "hello"}],
    "appTrafficRule": [TRAFFIC_RULE], "appDNSRule": [DNS_RULE],
}  # fmt: skip


@pytest.fixture
def mm5(db: None, settings: Any) -> Callable[..., Any]:
    settings.MM5_TOKEN = "management"

    def send(method: str, path: str, body: Any = None, token: str = "management") -> Any:
        content = "" if body is None else json.dumps(body)
        return Client().generic(method, f"/mm5/v1/{path}", content, headers={"Authorization": f"Bearer {token}"})

    return send


def test_the_whole_life_of_an_app_instance_over_mm5(mm5: Callable[..., Any], own_folder: Any) -> None:
    made = mm5("PUT", "app_instances/i-1", APPD)
    assert made.status_code == 200
    assert made["Cache-Control"] == "no-store"
    assert made.json() == mm5("PUT", "app_instances/i-1", APPD).json()
    assert made.json()["tokenUrl"] == "https://mep:8443/mep/token"
    assert made.json()["caCert"] == (own_folder / "tls" / "ca.pem").read_text() == mm5("GET", "info").json()["caCert"]
    told = mm5("GET", "app_instances/i-1").json()
    assert (told["state"], told["terminationOver"], told["namespace"]) == ("PROVISIONED", False, "t-acme")
    services.confirm_ready("i-1")
    assert mm5("GET", "state").json() == {**services.snapshot(), "rule_wishes": []}
    over = mm5("POST", "app_instances/i-1/terminate", {"gracefulTerminationTimeout": 5})
    assert (over.status_code, over.json()) == (202, {"appInstanceId": "i-1", "terminationOver": True})
    assert mm5("DELETE", "app_instances/i-1").status_code == 204
    assert mm5("DELETE", "app_instances/i-1").status_code == 204
    problem(mm5("GET", "app_instances/i-1"), 404)
    assert mm5("POST", "app_instances/i-1/terminate").status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        {},
        {"appName": 5},
        {**APPD, "appDNSRule": {}},
        {**APPD, "appTrafficRule": [1]},
        {**APPD, "appName": ""},
    ],
)
def test_a_wrong_provisioning_is_400(mm5: Callable[..., Any], body: Any) -> None:
    problem(mm5("PUT", "app_instances/i-1", body), 400)
    problem(mm5("POST", "app_instances/i-1/terminate", {"gracefulTerminationTimeout": "soon"}), 400)


def test_mm5_is_for_the_management_only(mm5: Callable[..., Any], app: Mp1, settings: Any) -> None:
    one = "app_instances/i"
    calls = [
        ("PUT", one),
        ("GET", one),
        ("DELETE", one),
        ("POST", f"{one}/terminate"),
        ("GET", "state"),
        ("GET", "info"),
    ]
    for method, path in calls:
        for token in ("", "wrong", app.token, "ä"):
            problem(mm5(method, path, APPD, token=token), 401)
    settings.MM5_TOKEN = ""
    for method, path in calls:
        problem(mm5(method, path, APPD, token=""), 403)


def test_an_app_comes_and_gets_ready_in_a_few_queries(
    provision: Callable[..., Any], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(12):
        provision(traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])
    with django_assert_num_queries(12):
        services.confirm_ready("app-1")
