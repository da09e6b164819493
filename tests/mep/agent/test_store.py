"""What the agent keeps, and that it is what the centre said."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.django import TestCase

from core.errors import Invalid
from core.frames import store_digest
from mep.agent import store
from mep.agent.models import Applied, Desired
from tests.mep.agent.conftest import Edge, frame


def a(rev: int, generation: int = 1, *, key: str = "a", deleted: bool = False, **spec: Any) -> dict[str, Any]:
    return frame("app", key, rev, generation, spec, deleted=deleted)


def test_the_latest_revision_wins_in_whatever_order_they_come(edge: Edge) -> None:
    store.take([a(5, 2, n=2)])
    assert store.take([a(3, 1, n=1)]) == []
    wish = store.wish("app", "a")
    assert wish is not None
    assert (wish.rev, wish.generation, wish.spec) == (5, 2, {"n": 2})
    assert store.last_rev() == 5


def test_what_is_not_as_its_digest_says_is_refused_with_the_whole_put(edge: Edge) -> None:
    bad = {**a(2, key="b", n=1), "spec": {"n": 2}}
    with pytest.raises(Invalid):
        store.take([a(1), bad])
    assert store.wishes() == []
    assert store.last_rev() == 0


@pytest.mark.parametrize(
    "raw", [{}, {"kind": "app"}, {**a(1), "rev": "x"}, {**a(1), "spec": None}, {**a(1), "key": "k" * 200}]
)
def test_an_object_that_is_none_is_refused(edge: Edge, raw: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        store.take([raw])


def test_a_tombstone_keeps_the_spec_because_removing_needs_it(edge: Edge) -> None:
    store.take([a(1, n=1)])
    store.take([a(2, deleted=True)])
    wish = store.wish("app", "a")
    assert wish is not None
    assert (wish.deleted, wish.rev, wish.spec) == (True, 2, {"n": 1})


@pytest.mark.parametrize("anew", [False, True])
def test_a_tombstone_of_something_unknown_is_kept_until_its_end_is_told(edge: Edge, anew: bool) -> None:
    store.take([a(7, deleted=True, name="x")], anew=anew)
    (wish,) = store.wishes()
    assert (wish.deleted, wish.rev, wish.generation, wish.spec) == (True, 7, 1, {"name": "x"})
    assert store.last_rev() == 7
    assert store.digest() == store_digest([])


def test_a_spec_is_sealed_on_the_disk(edge: Edge) -> None:
    store.take([a(1, password="correct-horse")])
    assert b"correct-horse" not in bytes(Desired.objects.get().sealed)


def test_a_snapshot_removes_what_it_does_not_tell_of(edge: Edge) -> None:
    store.take([a(1), a(2, key="b")])
    store.begin_snapshot()
    store.take([a(1, key="b", n=9)], anew=True)
    assert store.end_snapshot("epoch-2", 4, {("app", "b")}) == [("app", "a")]
    gone, kept = store.wish("app", "a"), store.wish("app", "b")
    assert gone is not None
    assert kept is not None
    assert gone.deleted
    assert (kept.deleted, kept.rev, kept.spec) == (False, 1, {"n": 9})
    assert store.position() == {
        "epoch": "epoch-2",
        "last_rev": 4,
        "digest": store_digest([("app", "b", 1)]),
        "outbox": store.outbox_name(),
    }


def test_an_interrupted_snapshot_begins_again(edge: Edge) -> None:
    store.end_snapshot("epoch-1", 3, set())
    store.begin_snapshot()
    store.take([a(1)], anew=True)
    assert store.position()["epoch"] == ""


def test_a_wish_that_came_back_is_not_forgotten(edge: Edge) -> None:
    store.take([a(1)])
    store.take([a(2, deleted=True)])
    gone = store.wish("app", "a")
    assert gone is not None
    store.take([a(3)])
    assert not store.forget(gone)
    assert store.wish("app", "a") is not None


def test_attempts_count_up_until_something_else_happens(edge: Edge) -> None:
    store.take([a(1)])
    wish = store.wish("app", "a")
    assert wish is not None
    first = store.note(wish, Applied.State.RETRYING)
    again = store.note(wish, Applied.State.RETRYING)
    assert (first.attempts, again.attempts, again.since) == (1, 2, first.since)
    assert store.note(wish, Applied.State.APPLIED).attempts == 1


def test_a_newer_report_takes_the_place_of_an_older_one_with_a_new_number(edge: Edge) -> None:
    first = store.post("app", "a", 1, {"state": "progressing"})
    store.post("app", "b", 1, {})
    second = store.post("app", "a", 1, {"state": "ready"})
    assert second > first
    assert [(each["key"], each["status"]) for each in store.waiting()] == [("b", {}), ("a", {"state": "ready"})]


def test_numbers_of_reports_are_never_used_twice(edge: Edge) -> None:
    first = store.post("app", "a", 1, {})
    store.delivered(first)
    assert store.waiting() == []
    assert store.post("app", "a", 1, {}) > first


def test_a_report_that_came_while_another_was_on_its_way_is_kept(edge: Edge) -> None:
    first = store.post("app", "a", 1, {"n": 1})
    second = store.post("app", "a", 1, {"n": 2})
    store.delivered(first)
    assert [each["seq"] for each in store.waiting()] == [second]


def test_a_report_that_nobody_wants_any_more_is_dropped(edge: Edge) -> None:
    store.post("appLog", "a", 1, {"lines": []}, ttl=-1)
    store.post("appLog", "b", 1, {"lines": []}, ttl=30)
    assert [each["key"] for each in store.waiting()] == ["b"]


def test_a_batch_of_reports_is_bounded_and_a_monster_is_dropped(edge: Edge) -> None:
    store.post("app", "monster", 1, {"text": "x" * (store.ITEM_BYTES + 1)})
    for index in range(4):
        store.post("app", f"big-{index}", 1, {"text": "x" * 200_000})
    assert [each["key"] for each in store.waiting()] == ["big-0", "big-1"]
    store.delivered(store.waiting()[-1]["seq"])
    assert [each["key"] for each in store.waiting()] == ["big-2", "big-3"]


changes = some.lists(
    some.tuples(some.sampled_from("abc"), some.booleans(), some.integers(0, 3)), min_size=1, max_size=12
)


class AnyOrder(TestCase):
    """Whatever the centre did, and however often it is told, both ends come to the same digest."""

    @given(changes=changes, cuts=some.lists(some.integers(0, 12), max_size=4))
    def test_both_ends_agree(self, changes: list[tuple[str, bool, int]], cuts: list[int]) -> None:
        Desired.objects.all().delete()
        store.end_snapshot("e", 0, set())
        centre: dict[str, dict[str, Any]] = {}
        for rev, (key, deleted, n) in enumerate(changes, 1):
            spec = {} if deleted else {"n": n}
            centre[key] = frame("app", key, rev, rev, spec, deleted=deleted)
            if rev in cuts:  # the link is up only now and then
                self._deliver(centre)
        self._deliver(centre)
        self._deliver(centre)
        wished = [("app", key, each["rev"]) for key, each in centre.items() if not each["deleted"]]
        assert store.digest() == store_digest(wished)
        assert store.last_rev() == len(changes)

    def _deliver(self, centre: dict[str, dict[str, Any]]) -> None:
        after = store.last_rev()
        news = sorted((each for each in centre.values() if each["rev"] > after), key=lambda each: each["rev"])
        if news:
            store.take(news)


def test_the_clock_of_a_removal_begins_once(edge: Edge) -> None:
    store.take([a(1)])
    wish = store.wish("app", "a")
    assert wish is not None
    began = store.note(wish, Applied.State.REMOVING).since
    assert store.note(wish, Applied.State.REMOVING, error={"detail": "x"}).since == began <= time.time()
