"""Traffic rules reach the user plane, and what it made of them is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid, Unavailable
from mep.mp1 import services
from mep.mp1.models import TrafficRule as Row
from mep.mp1.steering import plan, reconcile
from mep.mp1.watch import Watch
from tests.mep.conftest import TRAFFIC_RULE, Mp1
from tests.waiting import until
from upf_adapter.contract import TrafficRule
from upf_adapter.memory import MemoryUpf

PATH = "/mec_app_support/v1/applications/{app}/traffic_rules/t1"


class Moody(MemoryUpf):
    """A user plane that can be away, and that cannot express some rules."""

    name: ClassVar[str] = "moody"

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.puts = 0

    def put(self, rule: TrafficRule) -> None:
        self.puts += 1
        if self.away:
            raise Unavailable("the user plane is away")
        if rule.priority == 13:
            raise Invalid("this user plane has no priority 13; the nearest is 12")
        super().put(rule)


def told() -> tuple[str, str]:
    row = Row.objects.get()
    return row.enforcement, row.reason


rules = st.dictionaries(
    st.sampled_from("abcdef"),
    st.integers(0, 3),
).map(lambda found: {key: TrafficRule(key, "FLOW", priority, ({},), "DROP") for key, priority in found.items()})


@given(rules, rules)
def test_carrying_out_a_plan_makes_what_is_be_what_should_be(wanted: Any, present: Any) -> None:
    made = plan(wanted, present)
    after = {key: rule for key, rule in present.items() if key not in made.delete} | {
        rule.id: rule for rule in made.put
    }
    assert after == wanted
    assert all(present.get(rule.id) != rule for rule in made.put), "what is right already is not touched"


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
    app.put(PATH, {**TRAFFIC_RULE, "priority": 1, "state": "ACTIVE"})
    assert told() == ("pending", "")
    reconcile(upf)
    assert upf.rules()["app-1/t1"].priority == 1
    app.put(PATH, {**TRAFFIC_RULE, "state": "INACTIVE"})
    reconcile(upf)
    assert upf.rules() == {}
    services.discard("app-1")
    reconcile(upf)
    assert upf.rules() == {}


def test_after_a_start_everything_is_compared(app: Mp1) -> None:
    upf = MemoryUpf()
    upf.put(TrafficRule("stranger/x", "FLOW", 1, ({},), "DROP"))
    made = reconcile(upf)
    assert made is not None
    assert made.delete == ("stranger/x",)
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
    upf.away = False
    before = services.snapshot_version()
    reconcile(upf)
    assert told() == ("in-force", "")
    assert services.snapshot_version() != before
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
