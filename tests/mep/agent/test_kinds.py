"""How an app follows its wish, step by step."""

from __future__ import annotations

import time

import pytest

from core.errors import Invalid, Unavailable
from engines.contract import LogLine, Reason, State
from mep.agent import store
from mep.agent.kinds import LEAVING, MOVING, SETTLED, TROUBLED, LogWatches, Orphans, RuleWishes, unsupported, unwished
from mep.agent.models import Applied
from mep.agent.reports import about_node
from mep.agent.trials import Sandboxes
from mep.mp1.models import RuleWish
from tests.mep.agent.conftest import Edge

#: What the centre sends with a deletion (`mecm.edge.services.REMOVAL`, which an edge knows nothing of).
REMOVAL = ("appInstanceId", "name", "namespace", "chart", "gracefulTerminationTimeout")


def test_a_wish_is_applied_once_and_reported(edge: Edge) -> None:
    edge.wish()
    assert edge.apps.step("a") == SETTLED
    told = edge.told()
    assert told is not None
    assert (told["observed_generation"], told["status"]["state"]) == (1, "ready")
    assert told["status"]["workloads"][0]["ready"] == 1


def test_the_app_is_given_its_identity_in_the_mep(edge: Edge) -> None:
    edge.wish(values={"global": {"keep": 1}, "note": "x"})
    edge.apps.step("a")
    values = edge.engine.applied[0].values
    assert values["note"] == "x"
    assert values["global"]["keep"] == 1
    assert values["global"]["mep"] == {
        "enabled": True,
        "url": "https://mep:8443",
        "tokenUrl": "https://mep:8443/mep/token",
        "caCert": "PEM",
        "appInstanceId": "instance-a",
        "clientId": "client-1",
        "clientSecret": "secret-1",
    }


def test_no_app_restarts_because_the_link_returned_and_told_the_same_again(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.wish()
    edge.apps.step("a")
    assert len(edge.engine.applied) == 1


def test_another_generation_is_an_upgrade(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.wish(generation=2, values={"n": 2})
    edge.apps.step("a")
    assert [release.generation for release in edge.engine.applied] == [1, 2]


def test_the_same_generation_with_another_content_is_applied_too(edge: Edge) -> None:
    """A centre that was restored may give a generation out twice."""
    edge.wish()
    edge.apps.step("a")
    edge.wish(values={"n": 2})
    edge.apps.step("a")
    assert len(edge.engine.applied) == 2


def test_an_app_that_is_not_ready_is_never_reported_ready(edge: Edge) -> None:
    edge.engine.state = State.PROGRESSING
    edge.wish()
    assert edge.apps.step("a") == MOVING
    assert edge.state() == "progressing"
    edge.engine.state = State.FAILED
    assert edge.apps.step("a") == TROUBLED
    assert edge.state() == "failed"


def test_only_what_changed_is_reported(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    store.delivered(10_000)
    edge.apps.step("a")
    assert store.waiting() == []
    edge.engine.state = State.PROGRESSING
    edge.apps.step("a")
    assert edge.state() == "progressing"


def test_what_may_work_later_is_tried_again(edge: Edge) -> None:
    edge.engine.trouble = Unavailable("the runtime is down")
    edge.wish()
    delay = edge.apps.step("a")
    assert delay is not None
    assert 0 < delay <= 30
    told = edge.told()
    assert told is not None
    assert (told["status"]["state"], told["status"]["reason"]) == ("progressing", "unavailable")
    edge.engine.trouble = None
    edge.apps.step("a")
    assert edge.state() == "ready"


def test_an_engine_that_breaks_is_tried_again_and_told_without_its_words(edge: Edge) -> None:
    edge.engine.trouble = RuntimeError("password=hunter2")
    edge.wish()
    assert edge.apps.step("a")
    told = edge.told()
    assert told is not None
    assert told["status"]["state"] == "progressing"
    assert "hunter2" not in str(told)


def test_what_cannot_work_is_reported_with_its_problem_and_left_until_the_wish_changes(edge: Edge) -> None:
    edge.engine.trouble = Invalid("the chart wants a DaemonSet", findings=[{"code": "kind-refused"}])
    edge.wish()
    assert edge.apps.step("a") is None
    told = edge.told()
    assert told is not None
    assert told["status"]["state"] == "failed"
    assert told["status"]["reason"] == "invalid"
    assert told["status"]["problem"]["findings"] == [{"code": "kind-refused"}]
    edge.engine.trouble = None
    assert edge.apps.step("a") is None
    assert edge.engine.applied == []
    edge.wish(generation=2)
    edge.apps.step("a")
    assert edge.state() == "ready"


def test_a_runtime_that_lost_the_app_gets_it_again(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.engine.held.clear()
    assert edge.apps.step("a") == 0.0
    edge.apps.step("a")
    assert len(edge.engine.applied) == 2
    assert edge.state() == "ready"


def test_the_engine_is_asked_for_the_images_of_each_app_before_it_starts_and_told_which_they_are(edge: Edge) -> None:
    image = edge.keep(b"an image")
    edge.wish(images=[{"name": "x", **image}])
    edge.apps.step("a")
    edge.wish(key="b", images=[{"name": "x", **image}])
    edge.apps.step("b")
    assert edge.engine.loaded == [image["sha256"]] * 2
    assert [list(each.images) for each in edge.engine.applied] == [[image["sha256"]]] * 2


def test_images_that_the_runtime_lost_are_loaded_again_now_and_then(edge: Edge) -> None:
    image = edge.keep(b"an image")
    edge.wish(images=[{"name": "x", **image}])
    edge.apps.step("a")
    edge.engine.state, edge.engine.reason = State.PROGRESSING, Reason.IMAGE_MISSING
    edge.apps.step("a")
    edge.apps.step("a")
    assert edge.engine.loaded == [image["sha256"]] * 2


def test_an_upgrade_that_cannot_work_is_a_failure_beside_what_still_runs(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.engine.trouble = Invalid("the new chart is wrong")
    edge.wish(generation=2)
    edge.apps.step("a")
    told = edge.told()
    assert told is not None
    assert (told["observed_generation"], told["status"]["state"]) == (2, "failed")
    assert told["status"]["workloads"][0]["ready"] == 1


def test_a_file_that_is_not_here_is_waited_for_without_holding_anything_up(edge: Edge) -> None:
    edge.wish(images=[{"name": "far-away", "sha256": "f" * 64, "size": 3}])
    edge.apps.step("a")
    told = edge.told()
    assert told is not None
    assert told["status"]["state"] == "progressing"
    assert told["status"]["reason"] == "Fetching"
    assert "far-away" in told["status"]["message"]
    assert edge.engine.applied == []
    edge.wish(key="b")
    edge.apps.step("b")
    assert edge.state("b") == "ready"


# --- the end -----------------------------------------------------------------------------------------------------------
def test_an_app_is_asked_to_finish_and_then_everything_of_it_goes(edge: Edge) -> None:
    edge.mep.over = False
    edge.wish()
    edge.apps.step("a")
    edge.unwish()
    assert edge.apps.step("a") == LEAVING
    assert edge.mep.announced == ["instance-a"]
    assert edge.engine.held
    assert edge.state() == "progressing"
    edge.mep.over = True
    assert edge.apps.step("a") is None
    assert edge.engine.held == {}
    assert edge.mep.known == {}
    assert edge.state() == "absent"
    assert store.wish("app", "a") is None
    assert store.outcome("app", "a") is None


def test_an_app_that_never_answers_goes_when_its_time_is_up(edge: Edge) -> None:
    edge.mep.over = False
    edge.wish(gracefulTerminationTimeout=5)
    edge.apps.step("a")
    edge.unwish()
    assert edge.apps.step("a") == LEAVING
    Applied.objects.update(since=time.time() - 6)
    assert edge.apps.step("a") is None
    assert edge.engine.held == {}


def test_an_app_that_does_not_run_is_not_waited_for(edge: Edge) -> None:
    edge.mep.over = False
    edge.engine.state = State.FAILED
    edge.wish()
    edge.apps.step("a")
    edge.unwish()
    assert edge.apps.step("a") is None
    assert edge.mep.announced == []
    assert edge.state() == "absent"


def test_a_removal_that_fails_is_tried_again(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.unwish()
    edge.engine.trouble = Unavailable("the runtime is down")
    assert edge.apps.step("a")
    assert store.wish("app", "a") is not None
    edge.engine.trouble = None
    assert edge.apps.step("a") is None
    assert edge.state() == "absent"


@pytest.mark.parametrize("kept", [True, False])
def test_a_removal_of_which_only_the_tombstone_is_known_is_carried_out_and_told(edge: Edge, kept: bool) -> None:
    """The node was rebuilt with an empty disk, and its runtime has kept the app or has not."""
    edge.wish()
    edge.apps.step("a")
    edge.wish(key="b")
    edge.apps.step("b")
    edge.lose_disk()
    if not kept:
        edge.engine.held.clear()
    spec = {name: edge.spec("a")[name] for name in REMOVAL}
    edge.unwish(generation=2, **spec)
    edge.mep.over = False
    assert edge.apps.step("a") == (LEAVING if kept else None)
    assert edge.mep.announced == ["instance-a"] * kept
    edge.mep.over = True
    assert edge.apps.step("a") is None
    told = edge.told()
    assert told is not None
    assert (told["observed_generation"], told["status"]["state"]) == (2, "absent")
    assert list(edge.engine.held) == [("t-acme", "b")] * kept
    assert store.wishes() == []


def test_a_late_removal_does_not_hit_another_app_of_that_name(edge: Edge) -> None:
    edge.wish(key="new", name="shared")
    edge.apps.step("new")
    edge.unwish(key="old", generation=2, **edge.spec("old", name="shared"))
    assert edge.apps.step("old") is None
    assert list(edge.engine.held) == [("t-acme", "shared")]
    assert edge.state("old") == "absent"
    assert "instance-new" in edge.mep.known


def test_what_runs_and_is_in_nobodys_wish_is_told_and_not_touched(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.wish(key="b")
    edge.apps.step("b")
    edge.lose_disk()
    assert unwished(edge.engine) == [], "before the first snapshot nobody knows what is wished for"
    edge.wish(key="b")
    store.end_snapshot("epoch-1", 9, {("app", "b")})
    status = about_node(edge.engine, "moody", unwished)
    assert (status["unwished"], status["problem"]) == (["t-acme/a"], None)
    assert len(edge.engine.held) == 2


def test_an_orphan_goes_when_the_centre_says_so_and_never_what_is_wished_for(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    edge.wish(key="b")
    edge.apps.step("b")
    edge.lose_disk()
    edge.wish(key="b")
    told: list[str] = []
    orphans = Orphans(edge.engine, edge.reporter, lambda: told.append("gone"))

    def wanted(name: str, generation: int = 1) -> tuple[float | None, str]:
        edge.wish(f"t-acme/{name}", kind="orphan", generation=generation, namespace="t-acme", name=name)
        again = orphans.step(f"t-acme/{name}")
        reported = edge.told("orphan", f"t-acme/{name}")
        assert reported is not None
        return again, reported["status"]["state"]

    edge.engine.trouble = Unavailable("the runtime is down")
    again, state = wanted("a")
    assert (bool(again), state, told) == (True, "progressing", [])
    edge.engine.trouble = None
    assert wanted("a") == (None, "absent")
    assert wanted("b") == (None, "kept")
    assert (list(edge.engine.held), told) == ([("t-acme", "b")], ["gone", "gone"])
    # The same name comes back as an app: the wish of before must not end it, whatever wakes it.
    edge.wish()
    edge.apps.step("a")
    assert orphans.step("t-acme/a") is None
    assert wanted("a", generation=2) == (None, "kept")
    assert ("t-acme", "a") in edge.engine.held
    edge.unwish("t-acme/a", kind="orphan")
    assert orphans.step("t-acme/a") is None
    assert store.wish("orphan", "t-acme/a") is None


def test_an_app_that_is_wished_for_again_while_it_leaves_stays(edge: Edge) -> None:
    edge.mep.over = False
    edge.wish()
    edge.apps.step("a")
    edge.unwish()
    edge.apps.step("a")
    edge.wish()
    edge.apps.step("a")
    assert edge.state() == "ready"
    assert len(edge.engine.applied) == 2


def test_removing_what_was_applied_by_a_process_that_was_killed_before_it_noted_it(edge: Edge) -> None:
    edge.wish()
    edge.apps.step("a")
    Applied.objects.all().delete()
    edge.unwish()
    assert edge.apps.step("a") is None
    assert edge.engine.held == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"chart": None},
        {"chart": {"sha256": "../../etc/passwd", "size": 1}},
        {"values": "x"},
        {"name": ""},
        {"images": "x"},
    ],
)
def test_a_spec_that_cannot_be_read_is_a_failure_and_no_crash(edge: Edge, changes: dict[str, object]) -> None:
    edge.wish(**changes)
    assert edge.apps.step("a") is None
    assert edge.state() == "failed"
    edge.unwish()
    edge.apps.step("a")
    assert edge.state() == "absent"


# --- other kinds -------------------------------------------------------------------------------------------------------
def test_lines_are_told_only_while_somebody_looks(edge: Edge) -> None:
    edge.engine.lines = [LogLine(None, "pod-1", "main", f"line {index}") for index in range(3)]
    edge.wish()
    edge.wish(kind="logWatch", until=time.time() + 60)
    assert edge.watches.step("a") == LogWatches.EVERY
    told = edge.told("appLog")
    assert told is not None
    assert [line["text"] for line in told["status"]["lines"]] == ["line 0", "line 1", "line 2"]
    edge.wish(kind="logWatch", until=time.time() - 1)
    assert edge.watches.step("a") is None


def test_a_flood_of_lines_is_cut_to_the_newest(edge: Edge) -> None:
    edge.engine.lines = [LogLine(None, "pod-1", "main", f"{index} " + "x" * 4000) for index in range(100)]
    edge.wish()
    edge.wish(kind="logWatch", until=time.time() + 60)
    edge.watches.step("a")
    told = edge.told("appLog")
    assert told is not None
    texts = [line["text"] for line in told["status"]["lines"]]
    assert texts[-1].startswith("99 ")
    assert sum(len(text) for text in texts) <= 64 * 1024


def test_a_kind_of_a_newer_centre_is_told_to_be_unsupported(edge: Edge) -> None:
    edge.wish(kind="teleporter", to="mars")
    unsupported(edge.reporter)("teleporter", "a")
    told = edge.told("teleporter")
    assert told is not None
    assert told["status"]["reason"] == "Unsupported"
    edge.unwish(kind="teleporter")
    unsupported(edge.reporter)("teleporter", "a")
    assert store.wish("teleporter", "a") is None


@pytest.mark.parametrize("kind", ["rules", "sandbox", "of-next-year"])
def test_the_end_of_what_this_node_never_heard_of_is_told_whatever_its_kind(edge: Edge, kind: str) -> None:
    steps = {
        "rules": RuleWishes(edge.reporter).step,
        "sandbox": Sandboxes(edge.reporter).step,
        "of-next-year": lambda key: unsupported(edge.reporter)("of-next-year", key),
    }
    RuleWish.objects.create(id="instance-a", generation=1, spec={})
    edge.unwish(kind=kind, generation=3, appInstanceId="instance-a")
    assert steps[kind]("a") is None
    told = edge.told(kind)
    assert told is not None
    assert (told["observed_generation"], told["status"]["state"]) == (3, "absent")
    assert store.wishes() == []
    assert RuleWish.objects.exists() == (kind != "rules")
