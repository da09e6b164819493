"""Decisions about pods: rolling updates, ordered updates, and a pod's next step. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.docker.decide import Step, next_steps, pause_before_restart
from engines.docker.seen import HOLDER, Exit, Fate, Pod, Seen
from engines.pods.rollout import Change, PodFact, change, pod_names
from engines.pods.wanted import Container, PodTemplate, Workload

NEW = PodTemplate("b" * 10, {}, (Container("main", "image"),))


def workload(kind: str = "Deployment", replicas: int = 3, **more: object) -> Workload:
    return replace(Workload(kind, "web", replicas, NEW), **more)


def fact(name: str, *, digest: str = NEW.digest, ready: bool = True, known: bool = True) -> PodFact:
    return PodFact(name, digest, ready, known)


def olds(count: int, **more: object) -> list[PodFact]:
    return [fact(f"web-aaaaaaaa-{n}", digest="a" * 10, **more) for n in range(count)]


def test_a_new_deployment_makes_all_its_pods_at_once() -> None:
    assert change(workload(), []) == Change(make=("web-bbbbbbbb-0", "web-bbbbbbbb-1", "web-bbbbbbbb-2"))


def test_a_complete_one_needs_nothing() -> None:
    assert change(workload(), [fact(name) for name in pod_names(workload())]) == Change()


def test_fewer_replicas_take_the_last_ones() -> None:
    pods = [fact(name) for name in pod_names(workload())]
    assert change(workload(replicas=1), pods) == Change(take=("web-bbbbbbbb-1", "web-bbbbbbbb-2"))


def test_an_update_makes_a_new_pod_before_it_takes_an_old_one() -> None:
    assert change(workload(), olds(3)) == Change(make=("web-bbbbbbbb-0",))
    assert change(workload(), [*olds(3), fact("web-bbbbbbbb-0", ready=False)]) == Change()
    assert change(workload(), [*olds(3), fact("web-bbbbbbbb-0")]).take == ("web-aaaaaaaa-0",)


def test_an_update_that_fails_leaves_every_old_pod_that_works() -> None:
    pods = [*olds(2), *olds(3, ready=False)[2:], fact("web-bbbbbbbb-0", ready=False)]
    assert change(workload(), pods).take == ("web-aaaaaaaa-2",)


def test_an_old_pod_that_was_not_asked_yet_is_not_taken_for_broken() -> None:
    assert change(workload(replicas=1), olds(1, ready=False, known=False)).take == ()


def test_recreate_takes_all_old_pods_before_it_makes_one() -> None:
    recreated = workload(recreate=True)
    assert change(recreated, olds(2)) == Change(take=("web-aaaaaaaa-0", "web-aaaaaaaa-1"))
    assert len(change(recreated, []).make) == 3


def test_a_stateful_set_goes_one_by_one() -> None:
    ordered = workload("StatefulSet", ordered=True)
    assert change(ordered, []) == Change(make=("web-0",))
    assert change(ordered, [fact("web-0", ready=False)]) == Change()
    assert change(ordered, [fact("web-0")]) == Change(make=("web-1",))
    full = [fact(f"web-{n}", digest="a" * 10) for n in range(3)]
    assert change(ordered, full) == Change(take=("web-2",))
    assert change(ordered, [*full[:2], fact("web-2", ready=False)]) == Change()
    assert change(ordered, [*full[:2], fact("web-2")]) == Change(take=("web-1",))
    assert change(replace(ordered, replicas=1), full) == Change(take=("web-2",))
    assert change(replace(ordered, parallel=True), []) == Change(make=("web-0", "web-1", "web-2"))


@given(
    replicas=st.integers(0, 6),
    before=st.integers(0, 6),
    surge=st.integers(0, 3),
    unavailable=st.integers(0, 3),
    ordered=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_every_update_ends_and_keeps_its_bounds(
    replicas: int, before: int, surge: int, unavailable: int, ordered: bool, order: object
) -> None:
    """Let pods become ready in any order: the update always ends, never with more or fewer pods than allowed."""
    if not surge and not unavailable:
        surge = 1
    wanted = workload(
        "StatefulSet" if ordered else "Deployment", replicas, surge=surge, unavailable=unavailable, ordered=ordered
    )
    pods = {
        name: fact(name, digest="a" * 10)
        for name in (f"web-{n}" if ordered else f"web-aaaaaaaa-{n}" for n in range(before))
    }
    for _ in range(200):
        step = change(wanted, list(pods.values()))
        if not ordered:
            assert len(pods) + len(step.make) <= max(before, replicas + surge)
            serving = [pod for pod in pods.values() if pod.ready and pod.name not in step.take]
            assert len(serving) >= min(replicas - unavailable, sum(pod.ready for pod in pods.values()))
        for name in step.take:
            del pods[name]
        for name in step.make:
            assert name not in pods
            pods[name] = fact(name, ready=False)
        waiting = [name for name, pod in pods.items() if not pod.ready]
        if waiting:
            name = order.choice(waiting)  # type: ignore[attr-defined]
            pods[name] = replace(pods[name], ready=True)
        elif step == Change():
            break
    assert sorted(pods) == sorted(pod_names(wanted))
    assert {pod.digest for pod in pods.values()} <= {NEW.digest}


# A pod's next step

TEMPLATE = PodTemplate("d", {}, (Container("a", "i"), Container("b", "i")), init=(Container("first", "i"),))


def steps(pod: Pod, exits: dict[str, Exit] | None = None, fate: Fate | None = None, now: float = 100.0) -> list[Step]:
    return next_steps(TEMPLATE, pod, exits or {}, lambda name: fate or Fate(), now)


def pod(holder: str | None = "running", **members: str) -> Pod:
    made = Pod("ns", "release", "web-0", "Deployment/web", "d")
    made.holder = Seen("h", HOLDER, holder) if holder else None
    made.members = {name: Seen(name.upper(), name, state) for name, state in members.items()}
    return made


def test_a_pod_begins_with_its_network() -> None:
    assert steps(pod(None)) == [Step("hold")]
    assert steps(pod("created")) == [Step("hold")]


def test_a_pod_that_lost_its_network_is_built_anew() -> None:
    assert steps(pod("exited", first="exited", a="running", b="running")) == [Step("rebuild")]
    assert steps(pod(None, a="running")) == [Step("rebuild")]


def test_init_containers_come_first_and_one_by_one() -> None:
    assert steps(pod()) == [Step("create", "first")]
    assert steps(pod(first="running")) == []
    assert steps(pod(first="exited")) == [Step("learn", "first")]
    assert steps(pod(first="exited"), {"FIRST": Exit(0, False, 1)}) == [Step("create", "a"), Step("create", "b")]
    assert steps(pod(first="exited"), {"FIRST": Exit(1, False, 1)}) == [Step("restart", "first")]


def test_after_a_restart_of_the_engine_init_containers_are_not_run_again() -> None:
    assert steps(pod(first="exited", a="running", b="running")) == []


def test_a_container_that_ended_waits_for_its_turn() -> None:
    ended = {"FIRST": Exit(0, False, 1), "A": Exit(1, False, 1)}
    there = pod(first="exited", a="exited", b="running")
    assert steps(there, ended, Fate(due=101.0)) == []
    assert steps(there, ended, Fate(due=99.0)) == [Step("restart", "a")]


def test_a_container_that_may_not_restart_stays_ended() -> None:
    never = replace(TEMPLATE, restart="Never", init=())
    there = pod(a="exited", b="exited")
    assert next_steps(never, there, {"A": Exit(1, False, 1), "B": Exit(0, False, 1)}, lambda _: Fate(), 1.0) == []
    failing = replace(never, restart="OnFailure")
    found = next_steps(failing, there, {"A": Exit(1, False, 1), "B": Exit(0, False, 1)}, lambda _: Fate(), 1.0)
    assert found == [Step("restart", "a")]
    assert next_steps(failing, there, {"A": Exit(1, False, 1), "B": Exit(0, False, 1)}, lambda _: Fate(6), 1.0, 6) == []


def test_restarts_wait_twice_as_long_each_time_up_to_five_minutes() -> None:
    assert [pause_before_restart(level, 10.0) for level in range(5)] == [0.0, 10.0, 20.0, 40.0, 80.0]
    assert pause_before_restart(500, 10.0) == 300.0


@pytest.mark.parametrize("kind", ["Job", "StatefulSet"])
def test_names_of_pods_are_fixed(kind: str) -> None:
    names: Sequence[str] = pod_names(workload(kind, 2, ordered=kind == "StatefulSet"))
    assert names == ["web-0", "web-1"]
