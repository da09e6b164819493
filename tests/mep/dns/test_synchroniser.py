"""An external server is brought up to date by differences, and only what is ours is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BreakwaterError, Rejected, Unavailable
from mep.dns import services as dns
from mep.dns.backends.bisect import settle
from mep.dns.backends.contract import Key, RecordSet
from mep.dns.backends.memory import MemoryDns
from mep.dns.models import Published
from mep.dns.plan import owned, plan
from mep.dns.synchroniser import COMPARE, PROBE, Synchroniser
from mep.mp1 import alarms, services
from mep.mp1.models import DnsRule
from tests.mep.conftest import DNS_RULE, Mp1

PATH = "/mec_app_support/v1/applications/{app}/dns_rules/d1"


def a_set(name: str = "hello.example", *addresses: str, ttl: int = 60) -> RecordSet:
    return RecordSet(name, "A", ttl, addresses or ("10.1.2.3",))


class Bench:
    """A synchroniser with a clock of ours and a simulated server that outlives it."""

    def __init__(self) -> None:
        self.server = MemoryDns()
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        path = Path(django_settings.DATABASES["default"]["NAME"])
        self.worker = Synchroniser(self.server, path, default_ttl=30, clock=lambda: self.now)

    def step(self, later: float = 0.0) -> list[int]:
        """Step, and return how many changes each message had."""
        self.now += later
        self.server.calls.clear()
        self.worker.step()
        return list(self.server.calls)

    def told(self, rule: str = "d1") -> tuple[str, str]:
        row = DnsRule.objects.get(rule_id=rule)
        return row.enforcement, row.reason


@pytest.fixture
def bench(transactional_db: None) -> Iterator[Bench]:
    made = Bench()
    yield made
    made.worker.close()


def test_rules_arrive_change_and_go(bench: Bench, speak: Callable[..., Mp1]) -> None:
    app = speak(dns_rules=[DNS_RULE])
    assert bench.step() == [1]
    assert bench.server.records == {a_set().key: a_set()}
    assert bench.told() == ("in-force", "")
    assert bench.step() == [], "nothing changed, nothing is sent"
    app.put(PATH, {**DNS_RULE, "ipAddress": "10.1.2.9"})
    assert bench.told() == ("pending", "")
    assert bench.step() == [1]
    assert bench.server.records == {a_set().key: a_set("hello.example", "10.1.2.9")}
    app.put(PATH, {**DNS_RULE, "state": "INACTIVE"})
    assert bench.step() == [1]
    assert bench.server.records == {}
    assert bench.told() == ("withdrawn", "")
    assert Published.objects.count() == 0


def test_a_restart_compares_everything_and_repairs_what_is_wrong(bench: Bench, app: Mp1) -> None:
    bench.step()
    bench.restart()
    assert bench.step() == [], "all is there already"
    bench.server.records[a_set().key] = a_set("hello.example", "6.6.6.6")
    assert bench.step(COMPARE) == [1]
    assert bench.server.records[a_set().key] == a_set()
    bench.server.records.clear()
    assert bench.step(COMPARE) == [1], "the server has forgotten everything"
    services.discard("app-1")
    bench.restart()
    assert bench.step() == [1], "what went while we were away is taken out"
    assert bench.server.records == {}


def test_what_belongs_to_others_is_never_touched(bench: Bench, app: Mp1) -> None:
    theirs = a_set("hello.example", "192.0.2.9")
    other = a_set("own.example", "192.0.2.1")
    bench.server.records = {theirs.key: theirs, other.key: other}
    bench.step()
    assert bench.told()[0] == "refused"
    assert "not ours" in bench.told()[1]
    services.discard("app-1")
    bench.step()
    bench.step(COMPARE)
    assert bench.server.records == {theirs.key: theirs, other.key: other}
    assert Published.objects.count() == 0


def test_a_stranger_who_goes_makes_room(bench: Bench, app: Mp1) -> None:
    theirs = a_set("hello.example", "192.0.2.9")
    bench.server.records[theirs.key] = theirs
    bench.step()
    bench.server.records.clear()
    bench.step(COMPARE)
    assert bench.told() == ("in-force", "")


def test_in_an_exclusive_zone_everything_is_ours(bench: Bench, app: Mp1) -> None:
    bench.server.exclusive = True  # type: ignore[misc]
    stale = a_set("stale.example", "192.0.2.1")
    bench.server.records[stale.key] = stale
    bench.step()
    assert bench.server.records == {a_set().key: a_set()}


def test_an_outage_is_retried_then_told_and_cleared_when_it_is_over(
    bench: Bench, app: Mp1, speak: Callable[..., Mp1]
) -> None:
    speak("app-2", dns_rules=[{**DNS_RULE, "dnsRuleId": "d2", "domainName": "other.example"}])
    bench.step()
    bench.server.away = True
    bench.step(PROBE)
    assert bench.told() == ("in-force", ""), "once is not yet an outage"
    bench.step(0.4)
    assert bench.told() == ("in-force", ""), "not before its time"
    app.put(PATH, {**DNS_RULE, "ipAddress": "10.1.2.9"})
    bench.step(0.2)
    assert bench.told() == ("pending", "")
    bench.step(1.1)
    assert bench.told() == ("pending", "The simulated name server is away; tried again until it works")
    (alarm,) = alarms.standing()
    assert alarm["kind"] == "name-server-away"
    bench.server.away = False
    bench.server.records.clear()
    bench.step(2.1)
    assert bench.told() == ("in-force", "")
    assert not alarms.standing()
    assert set(bench.server.records.values()) == {a_set("hello.example", "10.1.2.9"), a_set("other.example")}


def test_an_outage_in_the_middle_loses_nothing(bench: Bench, speak: Callable[..., Mp1]) -> None:
    speak(dns_rules=[{**DNS_RULE, "dnsRuleId": f"r{n}", "domainName": f"n{n}.example"} for n in range(600)])
    real, calls = bench.server.apply, []

    def breaks(put: Any, delete: Any, **more: Any) -> Any:
        calls.append(len(put))
        if len(calls) == 2:
            raise Unavailable("gone")
        return real(put, delete, **more)

    bench.server.apply = breaks  # type: ignore[method-assign]
    bench.step()
    assert len(bench.server.records) == 500
    bench.restart()
    bench.step()
    assert calls == [500, 100, 100]
    assert len(bench.server.records) == 600
    assert DnsRule.objects.filter(enforcement="in-force").count() == 600


def test_a_scoped_rule_is_refused_with_the_nearest_thing(bench: Bench, app: Mp1) -> None:
    dns.put_scope("vip", kind="ue", networks=["10.0.0.0/8"])
    dns.set_rule_scope("app-1", "d1", "vip")
    assert bench.step() == []
    enforcement, reason = bench.told()
    assert enforcement == "refused"
    assert "vip" in reason
    assert "embedded" in reason
    dns.set_rule_scope("app-1", "d1", "")
    assert bench.step() == [1]
    assert bench.told() == ("in-force", "")


def test_a_record_that_is_refused_takes_its_old_answer_along(bench: Bench, app: Mp1) -> None:
    bench.step()
    real = bench.server.apply

    def picky(put: Any, delete: Any, **more: Any) -> Any:
        outcome = dict(real([each for each in put if "10.6.6.6" not in each.addresses], delete, **more))
        return outcome | {each.key: Rejected("no evil") for each in put if "10.6.6.6" in each.addresses}

    bench.server.apply = picky  # type: ignore[method-assign]
    app.put(PATH, {**DNS_RULE, "ipAddress": "10.6.6.6"})
    bench.step()
    assert bench.told() == ("refused", "no evil")
    bench.worker._dirty = True
    bench.step()
    assert bench.server.records == {}, "the old address is not what is wanted"
    assert bench.told() == ("refused", "no evil")


def test_rules_of_one_name_share_its_answer(bench: Bench, speak: Callable[..., Mp1]) -> None:
    speak("app-1", dns_rules=[DNS_RULE])
    speak("app-2", dns_rules=[{**DNS_RULE, "ipAddress": "10.1.2.4", "ttl": 5}])
    bench.step()
    shared = a_set("hello.example", "10.1.2.3", "10.1.2.4", ttl=5)
    assert bench.server.records == {shared.key: shared}
    services.discard("app-2")
    bench.step()
    assert bench.server.records == {a_set().key: a_set()}


def test_a_crash_between_writing_down_and_sending_takes_nothing_from_others(bench: Bench, app: Mp1) -> None:
    bench.worker._journal.intend([a_set()])
    theirs = a_set("hello.example", "192.0.2.9")
    bench.server.records[theirs.key] = theirs
    bench.step()
    assert bench.server.records == {theirs.key: theirs}
    bench.server.records.clear()
    bench.worker._journal.intend([a_set()])
    bench.server.records[a_set().key] = a_set()
    bench.restart()
    bench.step()
    services.discard("app-1")
    bench.step()
    assert bench.server.records == {}, "it had arrived before the crash, so it is ours"


# --- the pure parts --------------------------------------------------------------------------------------------------------

sets = st.builds(
    lambda name, kind, address: RecordSet(f"{name}.example", kind, 30, (address,)),
    st.sampled_from("abc"),
    st.sampled_from(["A", "AAAA"]),
    st.sampled_from(["1", "2"]),
)
zones = st.lists(sets, unique_by=lambda each: each.key).map(lambda found: {each.key: each for each in found})


@given(zones, zones, st.sets(st.sampled_from("abc")))
def test_a_plan_leads_where_it_should_and_spares_others(
    wanted: dict[Key, RecordSet], present: dict[Key, RecordSet], mine: set[str]
) -> None:
    ours = {key for key in present if key[1][0] in mine}
    todo = plan(wanted, present, ours)
    after = dict(present)
    for each in todo.delete:
        del after[each.key]
    for each in todo.put:
        after[each.key] = each
    for key, each in present.items():
        if key not in ours:
            assert after[key] == each
    for key, each in wanted.items():
        assert after.get(key) == each or key in todo.refused
    assert {key for key in after if key in ours} == {key for key in wanted if key in ours}
    assert plan(wanted, after, ours | {each.key for each in todo.put}) in (type(todo)(refused=todo.refused), todo)


def test_what_was_never_confirmed_is_ours_only_if_it_is_what_was_sent() -> None:
    sent = a_set()
    other = a_set("hello.example", "192.0.2.9")
    assert owned({sent.key: (sent, False)}, {sent.key: sent}, exclusive=False) == {sent.key}
    assert owned({sent.key: (sent, False)}, {sent.key: other}, exclusive=False) == set()
    assert owned({sent.key: (sent, True)}, {sent.key: other}, exclusive=False) == {sent.key}
    assert owned({}, {sent.key: other}, exclusive=True) == {sent.key}


@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=6))
def test_halves_find_what_was_refused(count: int, bad: set[int]) -> None:
    sent = 0

    def send(some: Any) -> BreakwaterError | None:
        nonlocal sent
        sent += 1
        return Rejected("no") if bad & set(some.values()) else None

    outcome = settle({("", str(number), "A"): number for number in range(count)}, send, most=200)
    assert {int(key[1]) for key, problem in outcome.items() if problem} == {each for each in bad if each < count}
    assert len(outcome) == count


def test_a_batch_that_is_all_wrong_does_not_cost_a_message_each() -> None:
    sent = 0

    def send(some: Any) -> BreakwaterError | None:
        nonlocal sent
        sent += 1
        return Rejected("no")

    outcome = settle({("", str(number), "A"): number for number in range(500)}, send)
    assert sent <= 80
    assert all(outcome.values())
    assert len(outcome) == 500
