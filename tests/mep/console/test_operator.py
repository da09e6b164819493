"""The operator's verbs on rules, subscriptions, apps and alarms."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Conflict, Denied, Invalid, Missing, Stale
from mep.dns.models import DnsScope
from mep.mp1 import operator, rules, services, steering
from mep.mp1.models import Alarm, App, Counter, DnsRule, Subscription, TrafficRule
from mep.mp1.states import Action, AppState, Enforcement, RuleOrigin, RuleState
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1
from upf_adapter.memory import MemoryUpf

pytestmark = pytest.mark.django_db
ANOTHER = {**TRAFFIC_RULE, "priority": 9, "state": "ACTIVE"}
NAME = {**DNS_RULE, "domainName": "made-here.example", "state": "ACTIVE"}


def counter(name: str) -> int:
    """Return the version of a subject."""
    return Counter.objects.filter(name=name).values_list("value", flat=True).first() or 0


def test_a_rule_made_here_reaches_the_user_plane(app: Mp1) -> None:
    adapter = MemoryUpf()
    steering.reconcile(adapter)
    before = counter("traffic")
    rule = operator.create_traffic("app-1", "mine", ANOTHER)
    assert (rule.origin, rule.state, rule.enforcement) == ("operator", "ACTIVE", "pending")
    assert counter("traffic") > before
    steering.reconcile(adapter)
    assert adapter.rules()["app-1/mine"].priority == 9
    operator.remove(TrafficRule, rule.pk)
    steering.reconcile(adapter)
    assert "app-1/mine" not in adapter.rules()


def test_the_app_sees_a_rule_made_here(app: Mp1) -> None:
    operator.create_dns("app-1", "mine", NAME)
    answer = app.get("/mec_app_support/v1/applications/{app}/dns_rules/mine")
    assert answer.json()["domainName"] == "made-here.example"


def test_a_rule_is_inactive_unless_it_is_asked_for(app: Mp1) -> None:
    assert operator.create_traffic("app-1", "mine", TRAFFIC_RULE).state == RuleState.INACTIVE


def test_a_rule_made_here_outlives_another_descriptor(app: Mp1, provision: Callable[..., Any]) -> None:
    operator.create_traffic("app-1", "mine", ANOTHER)
    operator.create_dns("app-1", "mine", NAME)
    provision("app-1")
    assert [each.rule_id for each in TrafficRule.objects.all()] == ["mine"]
    assert [each.rule_id for each in DnsRule.objects.all()] == ["mine"]


def test_a_rule_made_here_ends_with_its_app(app: Mp1) -> None:
    rule = operator.create_traffic("app-1", "mine", ANOTHER)
    services.begin_termination("app-1", timeout=0)
    rule.refresh_from_db()
    assert rule.state == RuleState.INACTIVE
    services.discard("app-1")
    assert not TrafficRule.objects.exists()


def test_an_app_that_gets_ready_does_not_switch_on_what_the_operator_left_off(speak: Callable[..., Mp1]) -> None:
    speak("app-1", ready=False)
    rule = operator.create_traffic("app-1", "mine", TRAFFIC_RULE)
    services.confirm_ready("app-1")
    rule.refresh_from_db()
    assert rule.state == RuleState.INACTIVE


@pytest.mark.parametrize("rule_id", ["", "a/b", "a\nb", "a\x00b", " padded ", "x" * 256])
def test_a_rule_id_that_no_path_can_carry_is_refused(rule_id: str, app: Mp1) -> None:
    with pytest.raises(Invalid) as refused:
        operator.create_traffic("app-1", rule_id, ANOTHER)
    assert refused.value.context["errors"][0]["field"] == "ruleId"


def test_an_id_is_used_once(app: Mp1) -> None:
    with pytest.raises(Conflict):
        operator.create_traffic("app-1", "t1", ANOTHER)


def test_a_rule_needs_an_app_that_is_there_and_lives(app: Mp1) -> None:
    with pytest.raises(Missing):
        operator.create_traffic("nobody", "mine", ANOTHER)
    services.begin_termination("app-1", timeout=0)
    with pytest.raises(Denied, match="terminated"):
        operator.create_traffic("app-1", "mine", ANOTHER)


def test_bad_content_is_refused_and_nothing_is_stored(app: Mp1) -> None:
    before = counter("traffic")
    with pytest.raises(Invalid):
        operator.create_traffic("app-1", "mine", {**ANOTHER, "priority": 256})
    with pytest.raises(Invalid):
        operator.create_dns("app-1", "mine", {**NAME, "ipAddress": "10.0.0.256"})
    with pytest.raises(Invalid):
        operator.create_dns("app-1", "mine", NAME, scope="nobody-knows")
    assert (counter("traffic"), TrafficRule.objects.count(), DnsRule.objects.count()) == (before, 1, 1)


def test_the_operator_changes_his_own_rules_even_their_names(app: Mp1) -> None:
    DnsScope.objects.create(name="ue-7", kind="ue", networks=["10.45.0.7/32"])
    rule = operator.create_dns("app-1", "mine", NAME)
    changed = operator.change_dns(rule.pk, {**NAME, "domainName": "other.example"}, scope="ue-7")
    assert (changed.domain_name, changed.scope, changed.origin) == ("other.example", "ue-7", RuleOrigin.OPERATOR)
    assert changed.revision > rule.revision


def test_what_changed_meanwhile_is_not_overwritten(app: Mp1) -> None:
    rule = operator.create_traffic("app-1", "mine", ANOTHER)
    seen = rules.etag(rule)
    operator.change_traffic(rule.pk, {**ANOTHER, "priority": 3}, if_match=seen)
    with pytest.raises(Stale):
        operator.change_traffic(rule.pk, {**ANOTHER, "priority": 4}, if_match=seen)
    with pytest.raises(Stale):
        operator.set_state(TrafficRule, rule.pk, RuleState.INACTIVE, if_match=seen)
    assert TrafficRule.objects.get(pk=rule.pk).body["priority"] == 3


def test_a_descriptors_rule_is_switched_but_not_changed_or_removed(app: Mp1) -> None:
    rule = TrafficRule.objects.get(rule_id="t1")
    assert operator.set_state(TrafficRule, rule.pk, RuleState.INACTIVE).state == RuleState.INACTIVE
    assert operator.set_state(TrafficRule, rule.pk, RuleState.ACTIVE).enforcement == Enforcement.PENDING
    for act in (lambda: operator.change_traffic(rule.pk, ANOTHER), lambda: operator.remove(TrafficRule, rule.pk)):
        with pytest.raises(Denied, match="descriptor"):
            act()


def test_a_subscription_is_ended_with_what_waits_for_it(app: Mp1) -> None:
    body = {
        "subscriptionType": Subscription.AVAILABILITY,
        "callbackReference": "http://127.0.0.1:9/x",
        "requestTestNotification": True,
    }
    app.post("/mec_service_mgmt/v1/applications/{app}/subscriptions", body)
    found = Subscription.objects.get()
    assert found.notices.count() == 1
    operator.end_subscription(found.pk)
    assert not Subscription.objects.exists()
    with pytest.raises(Missing):
        operator.end_subscription(found.pk)


def test_a_termination_is_begun_once(app: Mp1) -> None:
    assert operator.begin_termination("app-1", action=Action.STOPPING, timeout=5).state == AppState.STOPPED
    assert operator.begin_termination("app-1").state == AppState.TERMINATED
    with pytest.raises(Conflict, match="terminated already"):
        operator.begin_termination("app-1")
    assert App.objects.get().deadline is None


def test_an_alarm_is_cleared_once() -> None:
    now = time.time()
    alarm = Alarm.objects.create(kind="k", subject="s", severity="major", text="t", raised_at=now, updated_at=now)
    first = operator.clear_alarm(alarm.pk).cleared_at
    assert first
    assert operator.clear_alarm(alarm.pk).cleared_at == first
    with pytest.raises(Missing):
        operator.clear_alarm(alarm.pk + 1)
