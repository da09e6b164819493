"""Long work as rows: asked once, done once, given back when its worker dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, Invalid, Unavailable
from core.operations import services as operations
from core.operations.models import LostLease, Operation

pytestmark = pytest.mark.django_db


@pytest.fixture
def handlers() -> Iterator[dict[str, Any]]:
    """The table of handlers, put back after the test."""
    before = dict(operations._handlers)
    yield operations._handlers
    operations._handlers.clear()
    operations._handlers.update(before)


@pytest.fixture
def done(handlers: dict[str, Any]) -> list[Any]:
    """A handler of `test.note` that remembers what it was asked to do."""
    notes: list[Any] = []
    operations.handles("test.note")(lambda operation: notes.append(operation.payload))
    return notes


def expire(operation: Operation) -> None:
    """Let the worker of this operation look dead."""
    Operation.objects.filter(pk=operation.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_what_is_asked_for_is_done(done: list[Any]) -> None:
    operation = operations.request("test.note", "thing:1", thing=1)
    assert operations.run_due() == 1
    operation.refresh_from_db()
    assert (done, operation.state, operation.percent) == ([{"thing": 1}], "succeeded", 100)


def test_asking_twice_while_pending_is_asking_once(done: list[Any]) -> None:
    first = operations.request("test.note", "thing:1", thing=1)
    second = operations.request("test.note", "thing:1", thing=2)
    assert first.pk == second.pk
    operations.run_due()
    assert done == [{"thing": 2}]


def test_asking_again_after_it_started_is_new_work(done: list[Any]) -> None:
    first = operations.request("test.note", "thing:1")
    assert first.claim()
    assert operations.request("test.note", "thing:1").pk != first.pk


def test_a_second_worker_goes_home() -> None:
    operation = operations.request("test.note", "thing:1")
    twin = Operation.objects.get(pk=operation.pk)
    assert operation.claim()
    assert not twin.claim()


def test_one_target_is_worked_on_by_one_worker_at_a_time() -> None:
    install = operations.request("test.install", "thing:1")
    remove = operations.request("test.remove", "thing:1")
    assert install.claim()
    assert not remove.claim()


def test_work_for_later_is_not_claimed_now() -> None:
    operation = operations.request("test.note", "thing:1", run_after=timezone.now() + timedelta(minutes=5))
    assert not operation.claim()


def test_the_work_of_a_dead_worker_is_given_to_another(done: list[Any]) -> None:
    operation = operations.request("test.note", "thing:1")
    operation.claim()
    expire(operation)
    operations.sweep()
    assert operations.run_due() == 1
    operation.refresh_from_db()
    assert (operation.state, operation.attempts) == ("succeeded", 2)


def test_a_worker_that_was_taken_for_dead_writes_nothing_any_more() -> None:
    ghost = operations.request("test.note", "thing:1")
    ghost.claim()
    expire(ghost)
    operations.sweep()
    Operation.objects.get(pk=ghost.pk).claim()
    with pytest.raises(LostLease):
        ghost.progress(50, "still alive, I believe")
    assert Operation.objects.get(pk=ghost.pk).percent == 0


def test_a_ghost_cannot_finish_what_another_is_doing(handlers: dict[str, Any]) -> None:
    seen: list[str] = []

    def handle(operation: Operation) -> None:
        expire(operation)
        operations.sweep()
        Operation.objects.get(pk=operation.pk).claim()
        seen.append("ghost is done")

    operations.handles("test.ghost")(handle)
    operation = operations.request("test.ghost", "thing:1")
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert (seen, operation.state, operation.attempts) == (["ghost is done"], "running", 2)


def test_dead_work_whose_twin_waits_gives_way_to_the_twin(done: list[Any]) -> None:
    old = operations.request("test.note", "thing:1", wish="old")
    old.claim()
    operations.request("test.note", "thing:1", wish="new")
    expire(old)
    operations.sweep()
    operations.run_due()
    old.refresh_from_db()
    assert (old.state, done) == ("cancelled", [{"wish": "new"}])


def test_only_errors_that_waiting_helps_are_retried(handlers: dict[str, Any]) -> None:
    def refuse(operation: Operation) -> None:
        raise Invalid("the chart has no name", field="name")

    def stall(operation: Operation) -> None:
        raise Unavailable("the node does not answer")

    operations.handles("test.refuse")(refuse)
    operations.handles("test.stall")(stall)
    refused, stalled = operations.request("test.refuse", "thing:1"), operations.request("test.stall", "thing:2")
    operations.run(refused.pk)
    operations.run(stalled.pk)
    refused.refresh_from_db()
    stalled.refresh_from_db()
    assert (refused.state, refused.problem["code"], refused.problem["field"]) == ("failed", "invalid", "name")
    assert (stalled.state, stalled.problem["code"]) == ("pending", "unavailable")
    assert stalled.run_after > timezone.now()


def test_retries_come_to_an_end(handlers: dict[str, Any]) -> None:
    def stall(operation: Operation) -> None:
        raise Unavailable("the node does not answer")

    operations.handles("test.stall", max_attempts=2)(stall)
    operation = operations.request("test.stall", "thing:1")
    for _ in range(2):
        Operation.objects.update(run_after=timezone.now())
        operations.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.state, operation.attempts) == ("failed", 2)


def test_an_unexpected_error_says_nothing_of_its_inside(handlers: dict[str, Any]) -> None:
    def explode(operation: Operation) -> None:
        raise RuntimeError("password is hunter2")

    operations.handles("test.explode")(explode)
    operation = operations.request("test.explode", "thing:1")
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == "failed"
    assert "hunter2" not in str(operation.problem)


def test_pending_work_is_cancelled_at_once(done: list[Any]) -> None:
    operation = operations.cancel(operations.request("test.note", "thing:1"))
    assert operation.state == "cancelled"
    assert operations.run_due() == 0


def test_running_work_sees_that_it_is_to_stop(handlers: dict[str, Any]) -> None:
    def handle(operation: Operation) -> None:
        operations.cancel(Operation.objects.get(pk=operation.pk))
        if operation.cancelled():
            raise operations.Cancelled

    operations.handles("test.patient")(handle)
    operation = operations.request("test.patient", "thing:1")
    operations.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == "cancelled"


def test_finished_work_cannot_be_cancelled(done: list[Any]) -> None:
    operation = operations.request("test.note", "thing:1")
    operations.run_due()
    with pytest.raises(Conflict):
        operations.cancel(operation)


def test_a_broken_bell_loses_no_work(done: list[Any], settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    settings.OPERATION_BELL = "core.operations.services.there_is_no_such_bell"
    with django_capture_on_commit_callbacks(execute=True):
        operations.request("test.note", "thing:1")
    settings.OPERATION_BELL = ""
    assert operations.run_due() == 1


def test_old_finished_rows_are_dropped_and_open_ones_kept(done: list[Any], settings: Any) -> None:
    finished, waiting = operations.request("test.note", "thing:1"), operations.request("test.wait", "thing:2")
    operations.run_due()
    long_ago = timezone.now() - timedelta(days=settings.OPERATION_KEEP_DAYS + 1)
    Operation.objects.update(finished_at=long_ago, created_at=long_ago)
    Operation.objects.filter(pk=waiting.pk).update(finished_at=None)
    operations.sweep()
    assert list(Operation.objects.values_list("pk", flat=True)) == [waiting.pk]
    assert finished.pk != waiting.pk


@given(attempt=st.integers(min_value=1, max_value=200))
def test_waiting_grows_and_stays_under_a_minute(attempt: int) -> None:
    assert 0.2 <= operations.backoff(attempt) <= 60


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_once_exactly_one_claims() -> None:
    operation = operations.request("test.note", "thing:1")
    start, wins = threading.Barrier(4), []

    def work() -> None:
        mine = Operation.objects.get(pk=operation.pk)
        start.wait()
        wins.append(mine.claim())
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(wins) == [False, False, False, True]


def test_an_operation_is_seen_by_its_tenant_only(api: Any, stranger_api: Any, organisation: Any) -> None:
    operation = operations.request("test.note", "thing:1", organisation=organisation)
    assert api.get(f"/api/v1/operations/{operation.pk}").json()["state"] == "pending"
    assert stranger_api.get(f"/api/v1/operations/{operation.pk}").status_code == 404
    assert stranger_api.get("/api/v1/operations").json()["count"] == 0


def test_an_operation_is_cancelled_over_http_once(api: Any, organisation: Any) -> None:
    operation = operations.request("test.note", "thing:1", organisation=organisation)
    assert api.post(f"/api/v1/operations/{operation.pk}/cancel").status_code == 202
    again = api.post(f"/api/v1/operations/{operation.pk}/cancel")
    assert (again.status_code, again["Content-Type"]) == (409, "application/problem+json")


def test_listing_operations_costs_the_same_for_one_and_for_many(
    api: Any, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        operations.request("test.note", f"thing:{number}", organisation=organisation)
    with django_assert_max_num_queries(5):
        assert len(api.get("/api/v1/operations?page_size=50").json()["results"]) == 50
