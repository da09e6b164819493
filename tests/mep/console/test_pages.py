"""What the pages show, how they take forms, and how little they ask of the database."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from mep.agent import store
from mep.console.centre import link_in_words
from mep.mp1 import catalogue, services, subscriptions
from mep.mp1.models import Alarm, App, DnsRule, Service, Subscription, TrafficRule
from mep.mp1.rules import etag
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1, service
from tests.mep.console.conftest import Operator
from tests.mep.console.seed import HOSTILE

PAGES = [
    "/",
    "/apps",
    "/services",
    "/subscriptions",
    "/traffic",
    "/traffic/new",
    "/dns",
    "/dns/new",
    "/alarms",
    "/logs",
]
#: The most that a page may ask, whatever the number of rules; session and messages cost nothing.
BUDGET = {
    "/": 17, "/apps": 9, "/services": 8, "/subscriptions": 8, "/traffic": 8, "/traffic/new": 3, "/dns": 5, "/dns/new": 4,
    "/alarms": 7, "/logs": 2,
}  # fmt: skip
TRAFFIC_FORM = {
    "app": "app-1", "rule_id": "mine", "priority": "7", "filter_type": "FLOW", "src": "10.45.0.0/16", "dst": "203.0.113.9",
    "protocols": "udp", "dst_ports": "5000-5010, 6000", "action": "FORWARD_DECAPSULATED", "interface": "IP", "to": "10.1.2.3",
    "active": "on",
}  # fmt: skip
DNS_FORM = {"app": "app-1", "rule_id": "mine", "name": "made-here.example", "address": "10.1.2.9", "active": "on"}


def text_of(answer: Any) -> str:
    """Return the page as text, with single spaces."""
    return re.sub(r"\s+", " ", answer.content.decode())


def offer(app: Mp1, **members: Any) -> Service:
    """Register a service; the console's client speaks no Mp1."""
    return catalogue.register(App.objects.get(pk=app.id), service(**members))


def listen(app: Mp1, callback: str, **members: Any) -> Subscription:
    """Subscribe to changes of services."""
    body = {"subscriptionType": Subscription.AVAILABILITY, "callbackReference": callback, **members}
    return subscriptions.subscribe(App.objects.get(pk=app.id), Subscription.AVAILABILITY, body, "https://mep:8443")


# --- every page -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PAGES)
def test_an_empty_node_says_what_to_do(path: str, operator: Operator) -> None:
    answer = operator.get(path)
    assert answer.status_code == 200
    assert text_of(answer).count("<h1") == 1


def crowd(number: int) -> None:
    """Fill the node with as many rules, and a tenth of services and subscriptions."""
    app = App.objects.get(pk="app-1")
    TrafficRule.objects.bulk_create(
        TrafficRule(app=app, rule_id=f"crowd-{at:05}", state="ACTIVE", revision=at, counted_at=1.0, body=BODY)
        for at in range(number)
    )
    DnsRule.objects.bulk_create(
        DnsRule(
            app=app,
            rule_id=f"c-{at:05}",
            domain_name=f"n{at:05}.example",
            family="IP_V4",
            address="10.1.2.3",
            state="ACTIVE",
        )
        for at in range(number)
    )
    Service.objects.bulk_create(
        Service(
            app=app, name=f"s{at}", version="1", state="ACTIVE", transport={}, serializer="JSON", scope="MEC_HOST",
            consumed_local_only=True, revision=at, created_at=at,
        )
        for at in range(number // 10)
    )  # fmt: skip
    Subscription.objects.bulk_create(
        Subscription(app=app, kind=Subscription.AVAILABILITY, callback="http://10.1.2.3/", root="", created_at=at)
        for at in range(number // 10)
    )


BODY = {key: value for key, value in TRAFFIC_RULE.items() if key != "trafficRuleId"}


def test_what_a_page_asks_does_not_grow_with_the_rules(
    operator: Operator, app: Mp1, django_assert_max_num_queries: Any
) -> None:
    for path in PAGES:
        operator.get(path)
    for number in (10, 500):
        crowd(number) if number == 10 else crowd_more(number)
        for path in PAGES:
            with django_assert_max_num_queries(BUDGET[path]):
                assert operator.get(path).status_code == 200


def crowd_more(number: int) -> None:
    """Begin anew with more."""
    for kind in (TrafficRule, DnsRule, Service, Subscription):
        kind.objects.all().delete()
    crowd(number)


@pytest.mark.live  # it takes seconds, and needs no more than the others; the default suite is the quick one
def test_ten_thousand_rules_are_paged_and_found(operator: Operator, app: Mp1) -> None:
    crowd(10_000)
    page = text_of(operator.get("/traffic?page=400"))
    assert "9976 to 10000 of 10001" in page
    found = text_of(operator.get("/traffic?q=crowd-07777"))
    assert "crowd-07777" in found
    assert "crowd-07776" not in found
    assert "n04321.example" in text_of(operator.get("/dns?q=n04321"))
    assert operator.get("/traffic?page=zzz").status_code == 200


def test_a_part_that_shows_the_present_gets_nothing(
    operator: Operator, app: Mp1, django_assert_max_num_queries: Any
) -> None:
    for path in ("/apps", "/services", "/subscriptions", "/traffic", "/dns", "/alarms", "/logs", "/"):
        first = text_of(operator.part(path))
        assert "<html" not in first
        seen = re.search(r'name="seen" id="seen" value="(\w+)"', first)
        assert seen
        with django_assert_max_num_queries(6):
            assert operator.part(path, seen[1]).status_code == 204, path
    services.confirm_ready("app-1")
    rule = TrafficRule.objects.get()
    TrafficRule.objects.filter(pk=rule.pk).update(packets=7, counted_at=time.time())
    assert operator.part("/traffic", seen[1]).status_code == 200


def test_counters_reach_the_part(operator: Operator, app: Mp1) -> None:
    TrafficRule.objects.update(packets=1_234_567, octets=2048, counted_at=time.time())
    page = text_of(operator.part("/traffic"))
    assert "1.23 M" in page
    assert "2.0 KiB" in page


def test_names_that_apps_choose_are_only_text(operator: Operator, speak: Callable[..., Mp1]) -> None:
    app = speak(
        "app-1", app_name=HOSTILE, app_provider=HOSTILE, namespace=HOSTILE, app_soft_version=HOSTILE,
        traffic_rules=[{**TRAFFIC_RULE, "trafficRuleId": HOSTILE.replace("/", "")}],
        dns_rules=[{**DNS_RULE, "dnsRuleId": HOSTILE.replace("/", "")}],
        services={"required": [{"serName": HOSTILE}]},
    )  # fmt: skip
    offered = offer(app, serName=HOSTILE, version=HOSTILE[:60])
    listen(app, "http://10.1.2.3/'><script>")
    now = time.time()
    Alarm.objects.create(
        kind=HOSTILE[:60], subject=HOSTILE, severity="major", text=HOSTILE, raised_at=now, updated_at=now
    )
    TrafficRule.objects.update(enforcement="refused", reason=HOSTILE)
    Subscription.objects.update(last_error=HOSTILE, failures=1)
    store.note_link("cut-off", HOSTILE)
    traffic, name, subscription = TrafficRule.objects.get(), DnsRule.objects.get(), Subscription.objects.get()
    pages = [
        *PAGES, "/apps/app-1", f"/services/{offered.pk}", f"/subscriptions/{subscription.pk}",
        f"/traffic/{traffic.pk}", f"/dns/{name.pk}", "/dns?name=hello.example&kind=A", f"/traffic?q={HOSTILE}",
        f"/logs?q={HOSTILE}", "/traffic?src=10.0.0.1&dst=203.0.113.1&protocol=TCP&src_port=1&dst_port=80&dscp=0",
    ]  # fmt: skip
    for path in pages:
        page = operator.get(path).content.decode()
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "'><script>" not in page, path


@pytest.mark.parametrize(
    "path",
    ["/apps/none", "/services/none", "/subscriptions/none", "/traffic/99", "/dns/99", "/traffic/999999999999999999999"],
)
def test_what_is_gone_is_told_as_gone(path: str, operator: Operator) -> None:
    answer = operator.get(path)
    assert answer.status_code == 404
    assert "Not found" in text_of(answer)


@pytest.mark.parametrize(
    "query", ["q=%00", "page=-1", "show=zzz", "q=" + "%F0%9F%8E%89" * 90, "name=%00&kind=zz", "src=x"]
)
def test_odd_questions_get_pages(query: str, operator: Operator, app: Mp1) -> None:
    for path in ("/apps", "/services", "/subscriptions", "/traffic", "/dns", "/alarms", "/logs"):
        assert operator.get(f"{path}?{query}").status_code == 200


# --- the link ---------------------------------------------------------------------------------------------------------
def test_the_link_is_told_as_the_agent_knew_it() -> None:
    assert link_in_words({}, 1000.0).state == "silent"
    note = {"state": "connected", "since": 500.0, "at": 990.0, "why": ""}
    assert (link_in_words(note, 1000.0).state, link_in_words(note, 1000.0).since) == ("connected", 500.0)
    dead = link_in_words(note, 5000.0)
    assert (dead.state, dead.since) == ("silent", 990.0)
    cut = link_in_words({**note, "state": "cut-off", "why": "the centre hung up"}, 1000.0)
    assert cut.state == "cut-off"
    assert cut.text.startswith("The centre hung up.")
    assert link_in_words({"state": "not-joined", "since": 1.0, "at": 1.0}, 5000.0).state == "not-joined"


@pytest.mark.django_db
def test_since_stays_while_the_state_does() -> None:
    store.note_link("cut-off", "one", now=100.0)
    store.note_link("cut-off", "two", now=160.0)
    assert store.link() == {"state": "cut-off", "since": 100.0, "at": 160.0, "why": "two"}
    store.note_link("connected", now=170.0)
    assert store.link()["since"] == 170.0


def test_the_overview_says_since_when_the_centre_is_away(operator: Operator) -> None:
    store.note_link("connected", now=time.time() - 900)
    store.note_link("cut-off", "the centre hung up", now=time.time() - 600)
    store.note_link("cut-off", "the centre hung up")
    page = text_of(operator.get("/"))
    assert "Cut off from the centre since" in page
    assert "10 minutes ago" in page


# --- rules ------------------------------------------------------------------------------------------------------------
def test_a_traffic_rule_is_made_changed_switched_and_removed(operator: Operator, app: Mp1) -> None:
    made = operator.post("/traffic/new", TRAFFIC_FORM)
    rule = TrafficRule.objects.get(rule_id="mine")
    assert made["Location"] == f"/traffic/{rule.pk}"
    assert (rule.state, rule.origin, rule.body["priority"]) == ("ACTIVE", "operator", 7)
    assert rule.body["trafficFilter"] == [
        {
            "srcAddress": ["10.45.0.0/16"],
            "dstAddress": ["203.0.113.9"],
            "dstPort": ["5000-5010", "6000"],
            "protocol": ["udp"],
        }
    ]
    form = {**TRAFFIC_FORM, "priority": "8", "if_match": etag(rule)}
    assert operator.post(f"/traffic/{rule.pk}", form).status_code == 302
    stale = operator.post(f"/traffic/{rule.pk}", {**form, "priority": "9"})
    assert stale.status_code == 400
    assert "changed since" in text_of(stale)
    assert 'value="9"' in text_of(stale)
    operator.post(f"/traffic/{rule.pk}/switch", {"state": "INACTIVE"})
    rule.refresh_from_db()
    assert (rule.state, rule.body["priority"]) == ("INACTIVE", 8)
    operator.post(f"/traffic/{rule.pk}/remove")
    assert not TrafficRule.objects.filter(rule_id="mine").exists()


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"priority": "256"}, "priority", "less than or equal to 255"),
        ({"src": "10.45.0.0/99"}, "src", "no address, prefix or range"),
        ({"dst_ports": "99999"}, "dst_ports", "no port or range"),
        ({"rule_id": "a/b"}, "rule_id", "This must be a text"),
        ({"rule_id": "t1"}, "rule_id", "already"),
        ({"to": "nowhere"}, "to", "nowhere"),
        ({"to": ""}, "to", "needs a target"),
        ({"action": "DROP"}, "to", "takes no target"),
        ({"to_second": "10.1.2.4"}, "to_second", "takes 1 target"),
        ({"src": "", "dst": "", "protocols": "", "dst_ports": ""}, "everything", "every packet would match"),
        ({"more": "{"}, "more", "This is no JSON"),
        ({"more": "[1]"}, "more", "list of objects"),
        ({"more": '[{"dstAddress": ["x"]}]'}, "more", "no address"),
        ({"app": ""}, "app", "required"),
        ({"protocols": "warp"}, "protocols", "no protocol"),
    ],
)
def test_bad_input_is_told_beside_its_field_and_kept(
    change: dict[str, str], field: str, told: str, operator: Operator, app: Mp1
) -> None:
    answer = operator.post("/traffic/new", {**TRAFFIC_FORM, **change})
    page = text_of(answer)
    assert answer.status_code == 400
    error = re.search(rf'id="id_{field}_error" role="alert">([^<]*)<', page)
    assert error, f"nothing beside {field}"
    assert told in error[1]
    assert 'value="mine"' in page or "rule_id" in change
    assert TrafficRule.objects.count() == 1


def test_filters_beyond_the_fields_survive_the_form(operator: Operator, app: Mp1) -> None:
    more = '[{"qCI": 5, "dstAddress": ["192.0.2.1"]}, {"tag": ["gold"]}]'
    operator.post("/traffic/new", {**TRAFFIC_FORM, "more": more})
    rule = TrafficRule.objects.get(rule_id="mine")
    assert rule.body["trafficFilter"][1:] == [{"dstAddress": ["192.0.2.1"], "qCI": 5}, {"tag": ["gold"]}]
    from mep.console.rule_forms import TrafficForm, fits

    shown = {key: value for key, value in TrafficForm.told(rule).items() if value is not None}
    again = TrafficForm({**shown, "active": "on"}, rule=rule)
    assert again.is_valid(), again.errors
    assert again.raw()["trafficFilter"] == rule.body["trafficFilter"]
    assert fits(rule)


def test_a_rule_that_the_user_plane_cannot_express_is_refused_before_it_is_stored(
    operator: Operator, app: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from upf_adapter.memory import MemoryUpf

    class Poor(MemoryUpf):
        def capabilities(self) -> Any:
            return replace(super().capabilities(), interfaces=frozenset({"IP"}), families=frozenset({4}))

    monkeypatch.setattr("mep.console.traffic.adapter", Poor)
    page = text_of(operator.post("/traffic/new", {**TRAFFIC_FORM, "interface": "MAC", "to": "02:00:00:00:00:01"}))
    assert "has no interface MAC; the nearest it can do: IP" in page
    assert TrafficRule.objects.count() == 1


def test_a_descriptors_rule_can_only_be_switched(operator: Operator, app: Mp1) -> None:
    rule = TrafficRule.objects.get()
    page = text_of(operator.get(f"/traffic/{rule.pk}"))
    assert "comes with the descriptor" in page
    assert "Change it" not in page
    assert operator.post(f"/traffic/{rule.pk}/remove").status_code == 403
    operator.post(f"/traffic/{rule.pk}/switch", {"state": "INACTIVE"})
    assert TrafficRule.objects.get().state == "INACTIVE"


def test_a_dns_rule_is_made_changed_and_removed(operator: Operator, app: Mp1) -> None:
    operator.post("/dns/new", DNS_FORM)
    rule = DnsRule.objects.get(rule_id="mine")
    assert (rule.domain_name, rule.family, rule.ttl) == ("made-here.example", "IP_V4", None)
    operator.post(f"/dns/{rule.pk}", {**DNS_FORM, "address": "fd00::9", "ttl": "5", "if_match": etag(rule)})
    rule.refresh_from_db()
    assert (rule.family, rule.address, rule.ttl) == ("IP_V6", "fd00::9", 5)
    operator.post(f"/dns/{rule.pk}/remove")
    assert not DnsRule.objects.filter(rule_id="mine").exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "-bad-.example"}, "name"),
        ({"address": "10.0.0.256"}, "address"),
        ({"ttl": "-1"}, "ttl"),
        ({"rule_id": "d1"}, "rule_id"),
        ({"scope": "nobody-knows"}, "scope"),
    ],
)
def test_a_bad_dns_rule_is_told_beside_its_field(
    change: dict[str, str], field: str, operator: Operator, app: Mp1
) -> None:
    answer = operator.post("/dns/new", {**DNS_FORM, **change})
    assert answer.status_code == 400
    assert f'id="id_{field}_error"' in text_of(answer)
    assert DnsRule.objects.count() == 1


# --- testers ----------------------------------------------------------------------------------------------------------
def ask(operator: Operator, **members: str) -> str:
    """Try a packet."""
    packet = {
        "src": "10.45.0.7",
        "dst": "203.0.113.1",
        "protocol": "TCP",
        "src_port": "1",
        "dst_port": "80",
        "dscp": "0",
    }
    return text_of(operator.get("/traffic", {**packet, **members}))


def test_a_packet_is_decided_by_the_rule_in_force(operator: Operator, app: Mp1) -> None:
    assert "No rule in force is about this packet" in ask(operator)
    assert "should decide, but is pending" in ask(operator)
    TrafficRule.objects.update(enforcement="in-force")
    page = ask(operator)
    assert "It goes to app-1 at 10.1.2.3, out of its tunnel." in page
    assert "No rule in force" in ask(operator, dst_port="91")
    assert "cannot talk to an IPv6 address" in ask(operator, dst="2001:db8::1")


def test_a_query_is_answered_by_the_rules_and_the_silent_responder_is_told(
    operator: Operator, app: Mp1, settings: Any
) -> None:
    settings.DNS_PORT = 1  # nobody listens there
    page = text_of(operator.get("/dns?name=Hello.Example.&kind=A"))
    assert "A is 10.1.2.3 for 60 s" in page
    assert "does not answer" in page
    assert "is answered with no data" in text_of(operator.get("/dns?name=hello.example&kind=AAAA"))
    assert "there are no upstream resolvers" in text_of(operator.get("/dns?name=other.example&kind=A"))
    assert "is in none of MEP_DNS_NETWORKS" in text_of(operator.get("/dns?name=hello.example&kind=A&source=192.0.2.1"))
    assert "This is no IP address" in text_of(operator.get("/dns?name=hello.example&kind=A&source=here"))
    DnsRule.objects.update(state="INACTIVE")
    page = text_of(operator.get("/dns?name=hello.example&kind=A"))
    assert "Not used" in page
    assert "inactive" in page


# --- the rest ---------------------------------------------------------------------------------------------------------
def test_an_app_is_ended_with_its_time(operator: Operator, app: Mp1) -> None:
    wrong = operator.post("/apps/app-1/end", {"action": "TERMINATING", "timeout": "-1"})
    assert wrong.status_code == 400
    assert "was not ended" in text_of(wrong)
    operator.post("/apps/app-1/end", {"action": "TERMINATING", "timeout": "5"})
    assert App.objects.get().state == "TERMINATED"
    assert "End it" not in text_of(operator.get("/apps/app-1"))
    assert operator.post("/apps/app-1/end", {"action": "TERMINATING", "timeout": "5"}).status_code == 409


def test_a_missed_heartbeat_is_seen(operator: Operator, app: Mp1) -> None:
    made = offer(app, livenessInterval=5)
    Service.objects.update(beat_at=time.time() - 60, due_at=time.time() - 50)
    catalogue.suspend_silent()
    assert "suspended" in text_of(operator.get("/services"))
    assert "A heartbeat was missed" in text_of(operator.get(f"/services/{made.pk}"))


def test_who_is_notified_of_a_service_and_whose_descriptor_names_it(
    operator: Operator, speak: Callable[..., Mp1]
) -> None:
    app = speak("app-1")
    other = speak("app-2", services={"required": [{"serName": "hello"}]})
    for names in (["hello"], ["something"]):
        listen(other, "http://10.1.2.3/", filteringCriteria={"serNames": names})
    made = offer(app)
    page = text_of(operator.get(f"/services/{made.pk}"))
    assert "Notified of its changes (1)" in page
    assert "Named by descriptors (1)" in page


def test_a_subscription_tells_how_its_deliveries_go_and_can_be_ended(operator: Operator, app: Mp1) -> None:
    listen(app, "http://10.1.2.3/told")
    Subscription.objects.update(failures=3, last_error="connection refused", next_try_at=time.time() + 30, dropped=1)
    page = text_of(operator.get("/subscriptions?show=failing"))
    assert "failing" in page
    assert "connection refused" in page
    operator.post(f"/subscriptions/{Subscription.objects.get().pk}/end")
    assert not Subscription.objects.exists()


def test_an_acknowledged_alarm_rings_again_when_it_is_raised_again(operator: Operator) -> None:
    now = time.time() - 60
    alarm = Alarm.objects.create(
        kind="k", subject="s", severity="major", text="It broke", raised_at=now, updated_at=now
    )
    assert 'class="nav-count">1' in text_of(operator.get("/"))
    operator.post(f"/alarms/{alarm.pk}/acknowledge")
    assert "nav-count" not in text_of(operator.get("/"))
    assert "acknowledged" in text_of(operator.get("/alarms"))
    assert "Acknowledge: It broke" not in text_of(operator.get("/alarms"))
    Alarm.objects.update(updated_at=time.time() + 1, count=2)
    assert "Acknowledge: It broke" in text_of(operator.get("/alarms"))
    assert 'class="nav-count">1' in text_of(operator.get("/"))
    operator.post(f"/alarms/{alarm.pk}/clear")
    assert "No open alarm" in text_of(operator.get("/alarms"))
    assert "It broke" in text_of(operator.get("/alarms?show=cleared"))


def test_the_console_imports_nothing_of_the_centre() -> None:
    from pathlib import Path

    import mep.console

    for file in Path(next(iter(mep.console.__path__))).rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (frontend|mecm|appstore|developer)\b", file.read_text(), re.M), file
