"""The rules of the sync protocol (numbers as in docs/edge-link.md), on the centre's side."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as some

from core.errors import Invalid
from core.frames import PUT_BYTES, PUT_OBJECTS, canonical, spec_digest, store_digest
from mecm.edge import reports, services, stream
from mecm.edge.doorbell import bell
from mecm.edge.models import DesiredObject, NodeSync, ReportedObject
from mecm.edge.stream import Hello, Standing
from mecm.nodes.models import Node


def revs(node: Node, after: int = 0) -> list[tuple[str, int]]:
    return [(row["key"], row["rev"]) for row in stream.batch(node.pk, after)[1]]


def hello(node: Node, last_rev: int | None = None, **changes: Any) -> Hello:
    sync = NodeSync.objects.get(pk=node.pk)
    last_rev = sync.last_rev if last_rev is None else last_rev
    facts = {
        "epoch": sync.epoch,
        "last_rev": last_rev,
        "digest": stream.digest_of(node.pk) if last_rev == sync.last_rev else "older",
        "outbox": "store-1",
        "agent_version": "1",
    }
    return Hello(**{**facts, **changes})


# --- rule 1: level-triggered, the latest wish for a key wins -----------------------------------------------------------
def test_a_node_is_told_the_latest_wish_for_each_key_in_the_order_of_revisions(node: Node) -> None:
    for generation in (1, 2, 3):
        services.put(node, "app", "a", generation=generation, spec={"n": generation})
    services.put(node, "app", "b", generation=1, spec={})
    assert revs(node) == [("a", 3), ("b", 4)]
    assert revs(node, after=3) == [("b", 4)]


def test_the_same_wish_again_is_no_change(node: Node) -> None:
    first = services.put(node, "app", "a", generation=1, spec={"x": [1, 2], "y": "z"})
    assert services.put(node, "app", "a", generation=1, spec={"y": "z", "x": [1, 2]}).rev == first.rev == 1


def test_each_node_has_revisions_of_its_own(node: Node, other_node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    assert services.put(other_node, "app", "a", generation=1, spec={}).rev == 1


def test_a_put_is_bounded_in_objects_and_in_bytes(node: Node) -> None:
    for index in range(PUT_OBJECTS + 5):
        services.put(node, "app", f"small-{index}", generation=1, spec={})
    last_rev, rows = stream.batch(node.pk, 0)
    assert (len(rows), last_rev) == (PUT_OBJECTS, PUT_OBJECTS + 5)
    for index in range(3):
        services.put(node, "app", f"large-{index}", generation=1, spec={"text": "x" * 120_000})
    _, rows = stream.batch(node.pk, PUT_OBJECTS + 5)
    assert len(rows) == 2
    assert sum(len(canonical(row)) for row in rows) <= PUT_BYTES


def test_a_spec_that_would_not_fit_a_put_is_refused(node: Node) -> None:
    with pytest.raises(Invalid):
        services.put(node, "app", "huge", generation=1, spec={"text": "x" * 300_000})


# --- rule 2: a revision is taken under the lock of the node's row -------------------------------------------------------
def test_a_wish_that_is_rolled_back_uses_no_revision(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    with transaction.atomic():
        services.put(node, "app", "b", generation=1, spec={})
        transaction.set_rollback(True)
    services.put(node, "app", "c", generation=1, spec={})
    assert revs(node) == [("a", 1), ("c", 2)]


@pytest.mark.usefixtures("threads_db")
def test_writers_at_the_same_time_never_let_a_reader_pass_a_revision(node: Node) -> None:
    """A reader that follows the stream while four writers commit sees every revision once, and none too late."""
    _race(node, writers=4, each=15)


@pytest.mark.live
@pytest.mark.usefixtures("threads_db")
def test_writers_at_the_same_time_never_let_a_reader_pass_a_revision_on_postgresql(node: Node) -> None:
    """As above; only PostgreSQL lets transactions overlap, so only there a bare sequence would lose revisions."""
    if connection.vendor != "postgresql":
        pytest.skip("the database is not PostgreSQL; set BREAKWATER_DATABASE_URL")
    _race(node, writers=6, each=20)


def _race(node: Node, *, writers: int, each: int) -> None:
    services.put(node, "app", "first", generation=1, spec={})
    go = threading.Barrier(writers + 1)
    done = threading.Event()
    troubles: list[BaseException] = []

    def write(name: int) -> None:
        try:
            go.wait()
            for index in range(each):
                with transaction.atomic():
                    services.put(node, "app", f"{name}-{index}", generation=1, spec={})
                    DesiredObject.objects.filter(node=node).count()  # the transaction stays open for a moment
        except BaseException as trouble:
            troubles.append(trouble)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    go.wait()
    seen: set[str] = set()
    after = 0
    while True:
        over = not any(thread.is_alive() for thread in threads)
        rows = stream.batch(node.pk, after)[1]
        for row in rows:
            assert row["rev"] > after
            after = row["rev"]
            seen.add(row["key"])
        if over and not rows:
            break
    done.set()
    assert troubles == []
    assert len(seen) == writers * each + 1


# --- rule 3: deletions are tombstones until they are acknowledged --------------------------------------------------------
def test_a_deletion_travels_as_a_tombstone_and_is_dropped_once_acknowledged(node: Node) -> None:
    services.put(node, "logWatch", "a", generation=1, spec={"until": 1})
    services.put(node, "app", "b", generation=1, spec={})
    tombstone = services.delete(node, "logWatch", "a")
    assert tombstone is not None
    (row,) = stream.batch(node.pk, 2)[1]
    assert (row["key"], row["deleted"], row["spec"], row["rev"]) == ("a", True, {}, 3)
    stream.ack(node.pk, 2)
    assert DesiredObject.objects.filter(key="a").exists()
    stream.ack(node.pk, 3)
    assert not DesiredObject.objects.filter(key="a").exists()
    assert DesiredObject.objects.filter(key="b").exists()


def test_the_removal_of_an_app_is_told_again_until_the_node_says_that_it_is_gone(node: Node) -> None:
    """A node that loses its disk between the acknowledgement and the end would else never tell of it."""
    chart = {"sha256": "0" * 64, "size": 1}
    spec = {"name": "x", "namespace": "t-acme", "appInstanceId": "i", "chart": chart, "values": {"password": "hunter2"}}
    services.put(node, "app", "a", generation=1, spec=spec)
    services.put(node, "app", "a", generation=2, spec=spec)
    services.delete(node, "app", "a")

    def told() -> list[dict[str, Any]]:
        return stream.batch(node.pk, 0)[1]

    def say(seq: int, state: str, generation: int) -> None:
        item = {"seq": seq, "kind": "app", "key": "a", "observed_generation": generation, "status": {"state": state}}
        reports.take(node, "store-1", seq, [item])

    say(1, "absent", 2)
    assert told(), "it was not acknowledged yet, so this is about an earlier removal"
    stream.ack(node.pk, 3)
    say(2, "progressing", 2)
    say(3, "absent", 1)
    (row,) = told()
    assert row["deleted"]
    assert row["spec"] == {name: value for name, value in spec.items() if name != "values"}
    assert row["sha256"] == spec_digest(row["spec"])
    say(4, "absent", 2)
    assert told() == []


def test_an_acknowledgement_never_goes_back_nor_beyond_what_there_is(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    services.put(node, "app", "b", generation=1, spec={})
    for rev in (2, 1, 7):
        stream.ack(node.pk, rev)
        assert NodeSync.objects.get(pk=node.pk).acked_rev == 2


def test_deleting_what_is_not_there_changes_nothing(node: Node) -> None:
    assert services.delete(node, "app", "never") is None
    services.put(node, "app", "a", generation=1, spec={})
    first = services.delete(node, "app", "a")
    again = services.delete(node, "app", "a")
    assert first is not None
    assert again is not None
    assert first.rev == again.rev


def test_a_wish_after_a_deletion_is_a_wish(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    services.delete(node, "app", "a")
    services.put(node, "app", "a", generation=1, spec={})
    (row,) = stream.batch(node.pk, 0)[1]
    assert (row["deleted"], row["rev"]) == (False, 3)


# --- rules 4 and 5: epoch and digest decide between delta and snapshot ----------------------------------------------------
def test_a_node_that_was_here_before_is_told_only_what_changed(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    stream.ack(node.pk, 1)
    services.put(node, "app", "b", generation=1, spec={})
    answer = stream.welcome(node, hello(node, last_rev=1), "hub")
    assert (answer.snapshot, answer.server_rev) == (False, 2)


def test_a_database_that_was_restored_tells_everything(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    before = hello(node)
    services.new_epoch()
    answer = stream.welcome(node, before, "hub")
    assert answer.snapshot
    assert answer.epoch != before.epoch


def test_a_node_that_knows_more_than_we_do_is_told_everything_and_no_revision_is_used_twice(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    answer = stream.welcome(node, hello(node, last_rev=9), "hub")
    assert (answer.snapshot, answer.server_rev) == (True, 9)
    assert services.put(node, "app", "b", generation=1, spec={}).rev == 10


def test_a_node_whose_own_store_went_back_is_told_everything(node: Node) -> None:
    """Tombstones between what it has and what it had acknowledged are gone."""
    services.put(node, "app", "a", generation=1, spec={})
    services.put(node, "app", "b", generation=1, spec={})
    stream.ack(node.pk, 2)
    assert stream.welcome(node, hello(node, last_rev=1), "hub").snapshot


revisions = some.integers(0, 20)


@given(
    ours=some.tuples(revisions, revisions), theirs=revisions, same_epoch=some.booleans(), same_digest=some.booleans()
)
def test_a_delta_is_only_sent_to_a_store_that_it_fits(
    ours: tuple[int, int], theirs: int, same_epoch: bool, same_digest: bool
) -> None:
    acked, last = sorted(ours)
    standing = Standing("e1", last, acked, "d1")
    said = Hello("e1" if same_epoch else "e0", theirs, "d1" if same_digest else "d0", "o", "1")
    if not stream.needs_snapshot(standing, said):
        assert same_epoch
        assert acked <= theirs <= last
        assert theirs < last or same_digest


def test_a_differing_digest_is_noticed_when_both_are_at_one_revision(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    assert stream.matches(node.pk, 1, store_digest([("app", "a", 1)]))
    assert not stream.matches(node.pk, 1, store_digest([("app", "a", 1), ("app", "ghost", 1)]))
    assert NodeSync.objects.get(pk=node.pk).mismatches == 1
    services.put(node, "app", "b", generation=1, spec={})
    assert stream.matches(node.pk, 1, "whatever it was then")


def test_a_wish_that_is_committed_while_a_digest_is_judged_is_no_difference(node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    asked: list[str] = []

    def interleave(execute: Any, sql: str, *rest: Any) -> Any:
        """Commit a wish for the node after the first query and before the second."""
        asked.append(sql)
        if len(asked) == 2:
            services.put(node, "app", "b", generation=1, spec={})
        return execute(sql, *rest)

    with connection.execute_wrapper(interleave):
        assert stream.matches(node.pk, 1, store_digest([("app", "a", 1)]))
    assert len(asked) > 2
    assert NodeSync.objects.get(pk=node.pk).mismatches == 0


# --- rule 7: reports are taken once ------------------------------------------------------------------------------------
def report(seq: int, key: str = "a", **status: Any) -> dict[str, Any]:
    return {"seq": seq, "kind": "test.kind", "key": key, "observed_generation": 1, "status": status}


@pytest.fixture
def heard() -> Any:
    calls: list[tuple[str, dict[str, Any]]] = []

    @reports.handles("test.kind")
    def listen(node: Node, key: str, observed_generation: int, status: dict[str, Any]) -> None:
        if status.get("explode"):
            raise RuntimeError("a bug")
        calls.append((key, status))

    yield calls
    reports._handlers.pop("test.kind")


def test_a_report_that_comes_twice_is_taken_once(node: Node, heard: Any) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    assert reports.take(node, "store-1", 2, [report(1, state="x"), report(2, state="y")]) == 2
    assert reports.take(node, "store-1", 3, [report(1, state="x"), report(2, state="y"), report(3, state="z")]) == 1
    assert [status["state"] for _, status in heard] == ["x", "y", "z"]
    assert ReportedObject.objects.get(node=node, key="a").status == {"state": "z"}


def test_a_new_store_on_the_node_counts_from_the_start(node: Node, heard: Any) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    reports.take(node, "store-1", 40, [report(40, state="old")])
    assert reports.take(node, "store-2", 1, [report(1, state="new")]) == 1


def test_a_report_that_nobody_understands_holds_up_no_other(node: Node, heard: Any) -> None:
    services.put(node, "app", "a", generation=1, spec={})
    odd: list[Any] = [None, 7, {}, {"kind": 1}, {**report(1), "status": []}, {**report(1), "key": "x" * 500}]
    batch = [*odd, report(1, explode=True), report(2, state="fine")]
    reports.take(node, "store-1", 2, batch)
    assert [status for _, status in heard] == [{"state": "fine"}]
    assert NodeSync.objects.get(pk=node.pk).last_seq == 2


# --- the doorbell and the cost of many nodes -----------------------------------------------------------------------------
@pytest.mark.usefixtures("threads_db")
def test_the_bell_rings_after_the_commit_and_not_before(node: Node) -> None:
    before = bell().value()
    with transaction.atomic():
        services.put(node, "app", "a", generation=1, spec={})
        assert bell().value() == before
    rung = bell().value()
    assert rung != before
    services.put(node, "app", "a", generation=1, spec={})
    assert bell().value() == rung


def test_looking_for_changes_costs_as_many_queries_for_many_nodes_as_for_one(organisation: Any) -> None:
    nodes = [
        Node.objects.create(organisation=organisation, name=f"n-{index}", engine="memory", link="agent")
        for index in range(30)
    ]
    for each in nodes:
        services.put(each, "app", "a", generation=1, spec={})
        stream.welcome(each, hello(each, last_rev=0), "hub-1")
    with CaptureQueriesContext(connection) as queries:
        assert len(stream.waiting("hub-1")) == 30
        assert len(stream.held("hub-1")) == 30
        stream.revoked("hub-1")
        stream.seen(each.pk for each in nodes)
    assert len(queries) == 4
    stream.ack(nodes[0].pk, 1)
    assert len(stream.waiting("hub-1")) == 29
    assert stream.waiting("hub-2") == {}


def test_the_node_is_held_before_its_row_of_the_link_by_all_who_hold_both(node: Node) -> None:
    """Whoever takes them the other way round waits for a deployment that waits for it; PostgreSQL then ends one of them."""

    def first_held(act: Any) -> str:
        with CaptureQueriesContext(connection) as queries:
            act()
        writes = [each["sql"] for each in queries if each["sql"].startswith("UPDATE") or "FOR " in each["sql"]]
        kept = [sql for sql in writes if '"nodes_node"' in sql or '"edge_nodesync"' in sql]
        tables = re.findall(r'"(nodes_node|edge_nodesync)"', kept[0]) if kept else [""]
        return tables[0]

    services.put(node, "app", "a", generation=1, spec={})
    assert first_held(lambda: stream.welcome(node, hello(node), "hub")) == "nodes_node"
    if connection.vendor == "postgresql":
        assert first_held(lambda: reports.take(node, "box", 1, [])) == "nodes_node"
