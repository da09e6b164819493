"""Alarms: one row per trouble, counted, cleared, and forgotten after a while."""

from __future__ import annotations

from typing import Any

from mep.mp1 import alarms
from mep.mp1.models import Alarm, Counter
from mep.mp1.states import Severity


def raise_it(now: float, subject: str = "a", text: str = "it is bad") -> None:
    alarms.raise_alarm("trouble", subject, Severity.MAJOR, text, now=now)


def test_the_same_trouble_is_one_alarm_that_counts(db: None) -> None:
    raise_it(10.0)
    raise_it(20.0, text="it is worse")
    (alarm,) = Alarm.objects.all()
    assert (alarm.raised_at, alarm.updated_at, alarm.count, alarm.text) == (10.0, 20.0, 2, "it is worse")
    assert alarms.standing()[0]["count"] == 2


def test_a_cleared_alarm_that_comes_back_begins_anew(db: None) -> None:
    raise_it(10.0)
    assert alarms.clear("trouble", "a", now=20.0) == 1
    assert alarms.standing() == []
    assert Alarm.objects.get().cleared_at == 20.0
    raise_it(30.0)
    (alarm,) = Alarm.objects.all()
    assert (alarm.raised_at, alarm.count, alarm.cleared_at) == (30.0, 1, None)


def test_clearing_what_does_not_stand_writes_nothing(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert alarms.clear("trouble", ["a", "b"]) == 0
    assert alarms.clear("trouble", []) == 0
    assert not Counter.objects.exists()


def test_a_thousand_alarms_are_raised_in_a_few_statements(db: None, django_assert_max_num_queries: Any) -> None:
    texts = {f"s{number}": "it is bad" for number in range(1000)}
    with django_assert_max_num_queries(40):
        alarms.raise_many("trouble", texts, Severity.MINOR)
        alarms.raise_many("trouble", texts, Severity.MINOR)
    assert set(Alarm.objects.values_list("count", flat=True)) == {2}


def test_cleared_alarms_are_kept_for_a_while_and_not_too_many_of_them(db: None, monkeypatch: Any) -> None:
    for subject, cleared in (("old", 10.0), ("new", 10.0 + alarms.KEEP), ("newer", 20.0 + alarms.KEEP)):
        raise_it(5.0, subject)
        alarms.clear("trouble", subject, now=cleared)
    raise_it(5.0, "standing")
    assert alarms.forget_old(now=11.0 + alarms.KEEP) == 1
    monkeypatch.setattr(alarms, "MOST_CLEARED", 1)
    assert alarms.forget_old(now=11.0 + alarms.KEEP) == 1
    assert set(Alarm.objects.values_list("subject", flat=True)) == {"newer", "standing"}


def test_texts_are_cut_to_their_column(db: None) -> None:
    raise_it(1.0, text="x" * 2000)
    assert len(Alarm.objects.get().text) == 500
