"""Traffic rules reach the user plane, and what it made of them is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.errors import Invalid, Unavailable
from mep.mp1 import services, steering
from mep.mp1.models import TrafficRule as Row
from mep.mp1.steering import reconcile
from mep.mp1.watch import Watch
from tests.mep.conftest import TRAFFIC_RULE, Mp1
from tests.upf.lab import APP, SILENCE, Helper, Lab, needs_lab
from tests.waiting import until
from upf_adapter.contract import Counters, Outcome, TrafficRule
from upf_adapter.memory import MemoryUpf

TRAFFIC_RULE_BODY = {key: value for key, value in TRAFFIC_RULE.items() if key != "trafficRuleId"}
PATH = "/mec_app_support/v1/applications/{app}/traffic_rules/t1"


class Moody(MemoryUpf):
    """A user plane that can be away, and that cannot express some rules."""

    name: ClassVar[str] = "moody"

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.puts = self.sets = 0
        self.whole = True
        self.seen: dict[str, Counters] = {}

    def put(self, rule: TrafficRule) -> None:
        self.puts += 1
        if self.away:
            raise Unavailable("the user plane is away")
        if rule.priority == 13:
            raise Invalid("this user plane has no priority 13; the nearest is 12")
        super().put(rule)

    def replace(self, wanted: Iterable[TrafficRule]) -> Outcome:
        if self.away:
            raise Unavailable("the user plane is away")
        self.sets += 1
        self.whole = True
        return super().replace(wanted)

    def intact(self) -> bool:
        if self.away:
            raise Unavailable("the user plane is away")
        return self.whole

    def counters(self) -> dict[str, Counters]:
        return {**super().counters(), **self.seen}


def told() -> tuple[str, str]:
    row = Row.objects.get()
    return row.enforcement, row.reason


def test_active_rules_are_put_and_inactive_ones_taken_out(speak: Callable[..., Mp1]) -> None:
    upf = MemoryUpf()
    app = speak(ready=False, traffic_rules=[TRAFFIC_RULE])
    reconcile(upf)
    assert upf.rules() == {}
    assert told() == ("withdrawn", "")
    services.confirm_ready("app-1")
    reconcile(upf)
    (rule,) = upf.rules().values()
    assert (rule.id, rule.priority, rule.action) == ("app-1/t1", 5, "FORWARD_DECAPSULATED")
    assert told() == ("in-force", "")
    app.put(PATH, {**TRAFFIC_RULE, "priority": 9, "state": "ACTIVE"})
    assert told() == ("pending", "")
    reconcile(upf)
    assert upf.rules()["app-1/t1"].priority == 9
    app.put(PATH, {**TRAFFIC_RULE, "state": "INACTIVE"})
    reconcile(upf)
    assert upf.rules() == {}
    services.discard("app-1")
    reconcile(upf)
    assert upf.rules() == {}


def test_after_a_start_everything_is_compared(app: Mp1) -> None:
    upf = MemoryUpf()
    upf.put(TrafficRule("stranger/x", "FLOW", 1, ({},), "DROP"))
    assert reconcile(upf)
    assert set(upf.rules()) == {"app-1/t1"}
    restarted = MemoryUpf()
    reconcile(restarted)
    assert set(restarted.rules()) == {"app-1/t1"}


def test_while_nothing_changes_a_call_costs_one_query(app: Mp1, django_assert_num_queries: Any) -> None:
    upf = MemoryUpf()
    reconcile(upf)
    with django_assert_num_queries(1):
        assert reconcile(upf) is None


def test_a_refusal_is_told_with_its_reason_and_not_repeated(app: Mp1) -> None:
    upf = Moody()
    reconcile(upf)
    app.put(PATH, {**TRAFFIC_RULE, "priority": 13, "state": "ACTIVE"})
    reconcile(upf)
    assert told() == ("refused", "this user plane has no priority 13; the nearest is 12")
    assert upf.rules() == {}, "the older version of the rule is not left behind"
    puts = upf.puts
    services.provision("app-2", app_name="x", traffic_rules=[TRAFFIC_RULE])
    services.confirm_ready("app-2")
    reconcile(upf)
    assert upf.puts == puts + 1
    assert services.snapshot()["traffic_rules"][0]["reason"].startswith("this user plane")
    app.put(PATH, {**TRAFFIC_RULE, "priority": 12, "state": "ACTIVE"})
    reconcile(upf)
    assert set(upf.rules()) == {"app-1/t1", "app-2/t1"}


def test_a_user_plane_that_is_away_gets_the_rules_when_it_is_back(app: Mp1) -> None:
    upf = Moody()
    upf.away = True
    reconcile(upf)
    reconcile(upf)
    assert told() == ("pending", "the user plane is away")
    (alarm,) = services.snapshot()["alarms"]
    assert (alarm["kind"], alarm["subject"], alarm["count"]) == ("user-plane-away", "user-plane=moody", 1)
    upf.away = False
    before = services.snapshot_version()
    reconcile(upf)
    assert told() == ("in-force", "")
    assert services.snapshot_version() != before
    assert not services.snapshot()["alarms"]
    assert reconcile(upf) is None


def test_a_change_during_the_work_is_not_overwritten_by_its_report(app: Mp1) -> None:
    class Meddler(MemoryUpf):
        def put(self, rule: TrafficRule) -> None:
            super().put(rule)
            app.put(PATH, {**TRAFFIC_RULE, "priority": 77, "state": "ACTIVE"})

    upf = Meddler()
    reconcile(upf)
    assert told() == ("pending", "")
    super(Meddler, upf).put(upf.rules()["app-1/t1"])
    reconcile(upf)
    assert upf.rules()["app-1/t1"].priority == 77


def test_a_user_plane_that_lost_its_rules_gets_them_again_and_the_log_says_so(app: Mp1, caplog: Any) -> None:
    upf = Moody()
    reconcile(upf)
    assert reconcile(upf) is None
    upf.delete("app-1/t1")
    upf.whole = False
    assert reconcile(upf)
    assert set(upf.rules()) == {"app-1/t1"}
    assert "has lost or changed rules" in caplog.text
    assert reconcile(upf) is None


def test_what_is_in_force_is_told_so_while_the_user_plane_is_away(app: Mp1, caplog: Any) -> None:
    upf = Moody()
    reconcile(upf)
    upf.away = True
    for _ in range(3):
        assert reconcile(upf) is None
    assert told() == ("in-force", "")
    assert caplog.text.count("cannot be brought up to date") == 1, "an outage is told once"
    app.put(PATH, {**TRAFFIC_RULE, "priority": 9, "state": "ACTIVE"})
    reconcile(upf)
    assert told() == ("pending", "the user plane is away")


def test_one_changed_rule_is_put_alone_and_several_as_a_set(speak: Callable[..., Mp1]) -> None:
    upf = Moody()
    app = speak(traffic_rules=[{**TRAFFIC_RULE, "trafficRuleId": f"t{n}"} for n in range(5)])
    reconcile(upf)
    assert upf.sets == 1
    app.put(PATH, {**TRAFFIC_RULE, "priority": 9, "state": "ACTIVE"})
    reconcile(upf)
    assert upf.sets == 1
    assert upf.rules()["app-1/t1"].priority == 9
    for n in (2, 3):
        app.put(PATH.replace("t1", f"t{n}"), {**TRAFFIC_RULE, "trafficRuleId": f"t{n}", "state": "INACTIVE"})
    reconcile(upf)
    assert upf.sets == 2
    assert set(upf.rules()) == {"app-1/t0", "app-1/t1", "app-1/t4"}


def test_reports_and_counters_take_few_statements_however_many_rules_there_are(
    speak: Callable[..., Mp1], django_assert_max_num_queries: Any
) -> None:
    upf = Moody()
    speak(traffic_rules=[{**TRAFFIC_RULE, "trafficRuleId": f"t{n}"} for n in range(600)])
    upf.seen = {f"app-1/t{n}": Counters(n, n * 100) for n in range(600)}
    with django_assert_max_num_queries(16):
        reconcile(upf, 1000.0)
    assert Row.objects.filter(enforcement="in-force").count() == 600
    assert Row.objects.get(rule_id="t7").packets == 7


def test_what_was_counted_is_written_down_now_and_then_and_only_when_it_is_news(
    app: Mp1, django_assert_num_queries: Any
) -> None:
    upf = Moody()
    reconcile(upf, 1000.0)
    assert Row.objects.get().counted_at is None
    upf.seen = {"app-1/t1": Counters(3, 300), "stranger/x": Counters(1, 1)}
    reconcile(upf, 1001.0)
    assert Row.objects.get().packets == 0, "too early to look again"
    reconcile(upf, 1006.0)
    row = Row.objects.get()
    assert (row.packets, row.octets, row.counted_at) == (3, 300, 1006.0)
    with django_assert_num_queries(1):
        reconcile(upf, 1012.0)


BEYOND = {**TRAFFIC_RULE, "trafficFilter": [{"qCI": 9}]}


@pytest.fixture
def kernel(settings: Any) -> None:
    """Make the node one whose user plane is the Linux kernel, with nobody at the other end."""
    settings.UPF = "nftables"


def test_an_app_cannot_activate_a_rule_that_the_user_plane_cannot_express(
    app: Mp1, kernel: None, settings: Any
) -> None:
    settings.APP_RULES = "free"
    answer = app.put(PATH, {**BEYOND, "state": "ACTIVE"})
    assert answer.status_code == 400
    problem = answer.json()
    assert "cannot match qCI" in problem["detail"]
    assert "dstAddress" in problem["nearest"]
    assert Row.objects.get().body == TRAFFIC_RULE_BODY
    assert app.put(PATH, {**BEYOND, "state": "INACTIVE"}).status_code == 200
    assert app.put(PATH, {**TRAFFIC_RULE, "state": "ACTIVE"}).status_code == 200


def test_a_rule_of_a_descriptor_that_cannot_be_expressed_is_stored_and_told(
    speak: Callable[..., Mp1], kernel: None
) -> None:
    speak(traffic_rules=[BEYOND])
    upf = Moody()
    upf.check = steering.make_adapter().check  # type: ignore[method-assign]
    reconcile(upf)
    enforcement, reason = told()
    assert enforcement == "refused"
    assert "cannot match qCI; the nearest it can do" in reason


@pytest.mark.django_db(transaction=True)
def test_the_loop_of_mp1_steers_by_itself(app: Mp1) -> None:
    upf = Moody()
    upf.away = True
    watch = Watch(adapter=upf)
    watch.start()
    try:
        until(lambda: told() == ("pending", "the user plane is away"))
        upf.away = False
        until(lambda: set(upf.rules()) == {"app-1/t1"}, timeout=5)
        until(lambda: told() == ("in-force", ""))
        app.put(PATH, {**TRAFFIC_RULE, "state": "INACTIVE"})
        until(lambda: upf.rules() == {}, timeout=1.5)
    finally:
        watch.stop()


@pytest.mark.live
@needs_lab
@pytest.mark.django_db(transaction=True)
def test_a_rule_that_an_app_activates_moves_packets(app: Mp1, settings: Any, tmp_path: Path) -> None:
    """The whole way: PUT on Mp1, the watch, the adapter, the helper, the kernel, a packet, its count."""
    with Lab() as lab:
        helper = Helper(lab, tmp_path)
        config = tmp_path / "upf.json"
        config.write_text(json.dumps({"socket": str(helper.socket)}))
        settings.UPF, settings.UPF_CONFIG = "nftables", str(config)
        settings.APP_RULES = "free"  # another filter than the descriptor's
        rule = {
            **TRAFFIC_RULE,
            "trafficFilter": [{"dstAddress": ["203.0.113.5"], "protocol": ["UDP"]}],
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": APP[4]}],
        }
        watch = Watch()
        watch.start()
        try:
            # The descriptor's rule is about an app that no network of the lab has: it waits, and says why.
            until(lambda: told()[0] == "pending" and "not on a network" in told()[1])
            assert lab.ask("203.0.113.5") == ["internet"]
            assert app.put(PATH, {**rule, "state": "ACTIVE"}).status_code == 200
            until(lambda: told() == ("in-force", ""))
            assert lab.ask("203.0.113.5") == ["app"]
            until(lambda: Row.objects.get().packets == 1, 15)
            lab.run("edge", "nft", "flush", "ruleset")
            until(lambda: lab.ask("203.0.113.5") == ["app"], 10)
            helper.kill()
            assert lab.ask("203.0.113.5") == ["app"]
            assert app.put(PATH, {**rule, "action": "DROP", "dstInterface": None, "state": "ACTIVE"}).status_code == 200
            until(lambda: told()[0] == "pending" and "helper" in told()[1])
            helper.start()
            until(lambda: told() == ("in-force", ""))
            assert lab.ask("203.0.113.5", wait=SILENCE) == []
            assert app.put(PATH, {**rule, "state": "INACTIVE"}).status_code == 200
            until(lambda: told() == ("withdrawn", ""))
            assert lab.ask("203.0.113.5") == ["internet"]
        finally:
            watch.stop()
