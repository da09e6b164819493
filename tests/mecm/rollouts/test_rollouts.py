"""Rollouts on rows: what is wished on which node, in which order, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import Membership
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid
from core.operations import services as operations
from core.operations.models import Operation
from mecm.deployments import services as deployments
from mecm.deployments.models import Deployment, DeploymentRevision
from mecm.rollouts import handlers, services, stepping
from mecm.rollouts.models import Place, Rollout, places_of

pytestmark = pytest.mark.django_db


def test_waves_follow_each_other_as_their_nodes_become_ready(fleet: Any, roll: Any) -> None:
    world = fleet(4, bare=1)
    rollout = world.steps(roll(world, max_parallel=2), 2)
    assert (rollout.state, rollout.wave, rollout.wave_count) == ("running", 1, 2)
    assert world.states(rollout) == {"n0": "going", "n1": "waiting", "n2": "waiting", "n3": "waiting"}
    assert world.versions() == {"n0": "2.0.0", "n1": "1.0.0", "n2": "1.0.0"}

    # A node that is ready for the old generation is not ready; nothing goes on.
    assert world.steps(rollout, 3).wave == 1
    world.report(rollout)
    world.steps(rollout, 2)
    assert world.states(rollout) == {"n0": "ready", "n1": "going", "n2": "going", "n3": "waiting"}
    world.report(rollout, "ready", "n2")
    world.steps(rollout)
    assert world.states(rollout)["n3"] == "going"
    world.report(rollout)
    assert world.steps(rollout, 2).state == "done"
    assert set(world.states(rollout).values()) == {"ready"}
    assert world.versions() == dict.fromkeys(("n0", "n1", "n2", "n3"), "2.0.0")
    assert rollout.finished_at is not None
    told = list(Entry.objects.filter(object_id=str(rollout.pk)).values_list("action", flat=True).order_by("at"))
    assert told == ["rollout.planned", "rollout.started", "rollout.wave", "rollout.wave", "rollout.done"]


def test_a_failure_stops_it_and_it_holds_until_a_person_decides(fleet: Any, roll: Any) -> None:
    world = fleet(5)
    rollout = world.steps(roll(world, waves=["2", "rest"]), 2)
    world.report(rollout, "failed", "n0", reason="ImagePullBackOff", message="no such image")
    rollout = world.steps(rollout, 1)
    assert (rollout.state, rollout.why) == ("stopping", "1 of 2 failed in wave 1; none may.")
    world.report(rollout, "ready", "n1")
    assert world.steps(rollout, 1).state == "failed"
    assert world.states(rollout) == {"n0": "failed", "n1": "ready", "n2": "waiting", "n3": "waiting", "n4": "waiting"}
    failed = places_of(rollout).get(state="failed")
    assert (failed.reason, failed.message) == ("ImagePullBackOff", "no such image")

    # Another try where it failed; then it goes on by itself.
    services.retry(rollout, actor=world.actor)
    rollout = world.steps(rollout, 1)
    assert world.report(rollout) == ["n0"]
    rollout = world.steps(rollout, 3)
    assert (rollout.wave, sorted(world.states(rollout).values())) == (2, ["going"] * 3 + ["ready"] * 2)

    # Or on in spite of it.
    world.report(rollout, "failed", "n3")
    world.report(rollout, "ready", "n2", "n4")
    assert world.steps(rollout, 2).state == "failed"
    services.resume(rollout, actor=world.actor)
    rollout = world.steps(rollout, 2)
    assert (rollout.state, rollout.why) == ("done", "1 of 5 failed; that was allowed.")


def test_what_was_ready_and_fails_in_the_pause_stops_it(fleet: Any, roll: Any) -> None:
    world = fleet(2)
    rollout = world.steps(roll(world, pause=3600), 2)
    world.report(rollout)
    assert world.steps(rollout, 2).wave_ready_at is not None
    first = Deployment.objects.get(node__name="n0")
    deployments.observe(first.pk, first.generation, {"state": "failed", "reason": "CrashLoopBackOff"})
    assert world.steps(rollout, 2).state == "failed"
    assert places_of(rollout).get(node__name="n0").message.startswith("It was ready, and failed then.")


def test_it_can_roll_back_by_its_rule_and_leaves_alone_what_others_changed(fleet: Any, roll: Any) -> None:
    world = fleet(4, bare=1)
    rollout = world.steps(roll(world, waves=["rest"], on_stop="rollback", node_timeout=60, max_parallel=3), 2)
    assert sorted(world.states(rollout).values()) == ["going", "going", "going", "waiting"]
    world.report(rollout, "ready", "n0")
    world.steps(rollout)
    world.report(rollout, "ready", "n3")
    # Somebody has other plans for n1; n2 never says anything.
    deployments.upgrade(Deployment.objects.get(node__name="n1"), actor=world.actor, values={"message": "mine"})
    world.steps(rollout)
    assert world.states(rollout)["n1"] == "failed"
    rollout = world.steps(rollout, 3)
    assert (rollout.state, rollout.goal) == ("stopping", "rollback")
    assert world.states(rollout) == {"n0": "returning", "n1": "failed", "n2": "returning", "n3": "returning"}
    assert world.versions() == {"n0": "1.0.0", "n1": "2.0.0", "n2": "1.0.0", "n3": "2.0.0"}
    new = Deployment.objects.get(node__name="n3")
    deployments.observe(new.pk, new.generation, {"state": "absent"})
    world.report(rollout, "ready", "n0", "n2")
    rollout = world.steps(rollout, 2)
    assert rollout.state == "rolled-back"
    assert world.states(rollout) == {"n0": "returned", "n1": "failed", "n2": "returned", "n3": "returned"}
    assert Deployment.objects.get(node__name="n1").values == {"message": "mine"}


def test_a_rollout_that_is_over_can_be_rolled_back(fleet: Any, roll: Any) -> None:
    world = fleet(3)
    rollout = world.steps(roll(world, waves=["rest"]), 2)
    world.report(rollout)
    assert world.steps(rollout, 2).state == "done"
    services.roll_back(rollout, actor=world.actor)
    world.steps(rollout, 2)
    # One of them cannot be brought back at once: that is told, and tried again when a person says so.
    world.report(rollout, "failed", "n2", reason="Pending")
    world.report(rollout, "ready", "n0", "n1")
    rollout = world.steps(rollout, 2)
    assert (rollout.state, rollout.why) == ("failed", "1 could not be brought back.")
    services.retry(rollout, actor=world.actor)
    world.steps(rollout, 1)
    world.report(rollout)
    assert world.steps(rollout, 2).state == "rolled-back"
    assert set(world.versions().values()) == {"1.0.0"}
    with pytest.raises(Conflict, match="nothing to roll back"):
        services.roll_back(rollout, actor=world.actor)


def test_pausing_begins_nothing_new_and_a_person_may_decide_between_waves(fleet: Any, roll: Any) -> None:
    world = fleet(3)
    rollout = world.steps(roll(world, pause=None), 2)
    services.pause(rollout, actor=world.actor)
    world.report(rollout)
    rollout = world.steps(rollout, 3)
    assert (rollout.state, world.states(rollout)["n0"]) == ("paused", "ready")
    services.resume(rollout, actor=world.actor)
    # The first wave is through, so to go on is to begin the second.
    rollout = world.steps(rollout, 2)
    assert (rollout.state, rollout.wave, world.states(rollout)["n2"]) == ("running", 2, "going")
    other = world.steps(roll(world, name="second", waves=["1", "rest"], pause=None), 2)
    world.report(other)
    other = world.steps(other, 3)
    assert (other.state, other.why) == ("paused", "Wave 1 is through. Wave 2 waits for a person.")
    assert not places_of(other).filter(state="going").exists()


def test_aborting_leaves_the_rest_as_it_was(fleet: Any, roll: Any) -> None:
    world = fleet(3)
    rollout = world.steps(roll(world), 2)
    services.abort(rollout, actor=world.actor)
    assert world.states(rollout) == {"n0": "going", "n1": "skipped", "n2": "skipped"}
    assert world.steps(rollout).state == "stopping"
    world.report(rollout)
    assert world.steps(rollout).state == "aborted"
    for verb in (services.abort, services.pause, services.start, services.retry):
        with pytest.raises(Conflict):
            verb(rollout, actor=world.actor)


def test_a_worker_that_dies_anywhere_loses_nothing_and_does_nothing_twice(
    fleet: Any, roll: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fleet(4)
    rollout = roll(world, waves=["rest"], max_parallel=3)

    class Killed(BaseException):
        """What no handler catches, as nobody catches a signal 9."""

    deadly = {"at": 0}
    real = Place.save

    def save(self: Place, *args: Any, **kwargs: Any) -> None:
        deadly["at"] += 1
        if deadly["at"] in (2, 5):
            raise Killed
        real(self, *args, **kwargs)

    # The wish is made already when the worker dies; its transaction takes it back.
    monkeypatch.setattr(Place, "save", save)
    for _ in range(8):
        try:
            world.steps(rollout)
        except Killed:
            continue
        world.report(rollout)
    assert deadly["at"] == 6
    assert world.steps(rollout, 2).state == "done"
    assert dict(DeploymentRevision.objects.filter(action="upgrade").values_list("deployment__node__name", "generation")) == {
        "n0": 2, "n1": 2, "n2": 2, "n3": 2,
    }  # fmt: skip


def test_a_lost_step_is_found_by_the_sweep_and_steps_leave_no_heap(fleet: Any, roll: Any) -> None:
    world = fleet(2)
    rollout = roll(world)
    assert handlers.sweep() == 0
    Operation.objects.all().delete()
    assert handlers.sweep() == 1
    assert operations.run_due(kinds=[services.STEP]) > 0
    assert world.states(rollout)["n0"] == "going"
    assert Operation.objects.filter(kind=services.STEP).count() <= 2
    assert Operation.objects.get(kind=services.STEP, state="pending").run_after > timezone.now()


def test_who_lost_the_right_to_deploy_deploys_no_more(fleet: Any, roll: Any, make_user: Any, organisation: Any) -> None:
    world = fleet(2)
    rollout = roll(world)
    Membership.objects.filter(user=world.actor.user).delete()
    rollout = world.steps(rollout, 2)
    assert (rollout.state, rollout.why) == (
        "paused", "admin may not deploy here any more; somebody else can resume it.",
    )  # fmt: skip
    assert set(world.versions().values()) == {"1.0.0"}
    with pytest.raises(Denied):
        services.resume(rollout, actor=Actor(make_user("viewer", organisation, "viewer")))
    services.resume(rollout, actor=Actor(make_user("second", organisation, "operator")))
    world.steps(rollout)
    assert world.versions()["n0"] == "2.0.0"
    assert Deployment.objects.get(node__name="n0").revisions.first().requested_by.username == "second"


def test_a_plan_tells_for_each_node_what_would_be_done_and_why_not(
    fleet: Any, roll: Any, make_node: Any, make_package: Any, organisation: Any, actor: Any
) -> None:
    world = fleet(3, bare=1, labels={"region": "north"})
    small = make_node("small", cpu_millis=100, labels={"region": "north"})
    make_node("elsewhere", labels={"region": "south", "a__b": "x"})
    other = make_package("9", name="other")
    taken = make_node("taken", labels={"region": "north"}, last_seen_at=timezone.now() - timedelta(hours=1))
    deployments.request(actor=actor, organisation=organisation, node=taken, package=other, name="hello")
    deployments.upgrade(Deployment.objects.get(node__name="n1"), actor=actor, package=world.new)
    rollout = roll(world, start=False, target={"labels": {"region": "north"}})
    found = {
        each.node.name: (each.action, each.wave, each.reason) for each in places_of(rollout).select_related("node")
    }
    assert found == {
        "n0": ("upgrade", 1, ""), "n1": ("keep", 0, ""), "n2": ("install", 2, ""), "small": ("unfit", 0, "cpu"),
        "taken": ("unfit", 0, "other-application"),
    }  # fmt: skip
    small.delete()
    services.plan_again(rollout, actor=actor)
    assert places_of(rollout).count() == 4
    with pytest.raises(Invalid, match="Nothing is chosen"):
        roll(world, target={"labels": {"a__b": "y"}})
    with pytest.raises(Invalid) as refused:
        roll(world, values={"replicas": "many"})
    assert refused.value.context["field"] == "values"


def test_deployments_of_other_names_are_upgraded_with_their_own_values(
    fleet: Any, roll: Any, organisation: Any, actor: Any
) -> None:
    world = fleet(2)
    beside = deployments.request(
        actor=actor, organisation=organisation, node=world.nodes[0], package=world.old, name="beside",
        values={"message": "mine"},
    )  # fmt: skip
    target = {"kind": "deployments", "release": str(world.old.pk)}
    rollout = world.steps(roll(world, name="", target=target, waves=["rest"]), 2)
    assert places_of(rollout).count() == 3
    beside.refresh_from_db()
    assert (beside.package, beside.values) == (world.new, {"message": "mine"})


def test_two_rollouts_of_one_name_are_not_at_work_at_once(fleet: Any, roll: Any) -> None:
    world = fleet(2)
    first = roll(world)
    second = roll(world, start=False)
    with pytest.raises(Conflict, match="Another rollout of hello is at work"):
        services.start(second, actor=world.actor)
    # Nor do two touch one deployment when they choose it in another way: it waits for its turn.
    world.steps(first, 2)
    chosen = {"kind": "deployments"}
    third = world.steps(roll(world, name="", target=chosen, values={"message": "x"}, waves=["rest"]), 2)
    assert world.states(third) == {"n0": "waiting", "n1": "going"}


def test_a_step_and_a_plan_cost_the_same_queries_for_any_number_of_nodes(
    fleet: Any, roll: Any, organisation: Any, actor: Any, django_assert_max_num_queries: Any
) -> None:
    world = fleet(12)
    for target in ({"q": "n1"}, {}):
        # Six of them are what stands before the release: roles, policy of signatures, certificates, reviews. One is about
        # rules that operators changed.
        with django_assert_max_num_queries(12):
            services.plan(
                actor=Actor(actor.user), organisation=organisation, package=world.new, name="hello", target=target
            )
    rollout = world.steps(roll(world, waves=["rest"]), 2)
    with django_assert_max_num_queries(16):
        stepping.step(rollout.pk)
    world.report(rollout)
    Rollout.objects.filter(pk=rollout.pk).update(state="paused")
    with django_assert_max_num_queries(16):
        stepping.step(rollout.pk)
