"""Decisions: which pods come and go, and what a pod's next step is. Pure functions; nothing here touches anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engines.docker.seen import Exit, Fate, Pod
from engines.docker.wanted import Container, PodTemplate, Workload


@dataclass(frozen=True, slots=True)
class Change:
    """Pods to make and pods to take away."""

    make: tuple[str, ...] = ()
    take: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodFact:
    """What a decision about a workload needs to know of one pod that is there."""

    name: str
    digest: str
    ready: bool
    known: bool = True


def pod_names(workload: Workload) -> list[str]:
    """Return the names of the pods that a workload wants, in order. They are fixed, so nothing can be doubled."""
    if workload.kind == "Pod":
        return [workload.name]
    if workload.ordered or workload.kind == "Job":
        return [f"{workload.name}-{number}" for number in range(workload.replicas)]
    return [f"{workload.name}-{workload.template.digest[:8]}-{number}" for number in range(workload.replicas)]


def change(workload: Workload, pods: Sequence[PodFact]) -> Change:
    """Compare what a workload wants with the pods that it has."""
    if workload.ordered:
        return _ordered(workload, pods)
    wanted = pod_names(workload)
    digest = workload.template.digest
    present = {pod.name: pod for pod in pods}
    old = [pod for pod in pods if pod.digest != digest]
    beyond = [pod.name for pod in pods if pod.digest == digest and pod.name not in wanted]
    missing = [name for name in wanted if name not in present]
    if workload.recreate and old:
        return Change(take=(*beyond, *(pod.name for pod in old)))
    room = workload.replicas + workload.surge - len(old) - (len(wanted) - len(missing))
    make = missing if not old else missing[: max(0, room)]
    # Old pods that do not work serve nobody, so they go first; of the others only as many as may be missed.
    broken = [pod.name for pod in old if pod.known and not pod.ready]
    serving = [pod.name for pod in old if pod.name not in broken]
    new_ready = sum(pod.ready for pod in pods if pod.digest == digest and pod.name in wanted)
    spare = max(0, len(serving) + new_ready - max(0, workload.replicas - workload.unavailable))
    return Change(make=tuple(make), take=(*beyond, *broken, *serving[:spare]))


def _ordered(workload: Workload, pods: Sequence[PodFact]) -> Change:
    wanted = pod_names(workload)
    present = {pod.name: pod for pod in pods}
    beyond = sorted((name for name in present if name not in wanted), key=_ordinal, reverse=True)
    if beyond:
        return Change(take=tuple(beyond if workload.parallel else beyond[:1]))
    missing = [name for name in wanted if name not in present]
    if missing:
        if workload.parallel:
            return Change(make=tuple(missing))
        before = wanted[: wanted.index(missing[0])]
        # One after the other; an old pod in front does not hold up the new ones.
        fine = all(present[name].ready or present[name].digest != workload.template.digest for name in before)
        return Change(make=(missing[0],) if fine else ())
    for name in reversed(wanted):
        pod = present[name]
        if pod.digest != workload.template.digest:
            return Change(take=(name,))
        if not pod.ready:
            return Change()
    return Change()


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2] or 0)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do for a pod: hold, rebuild, create, start, learn (how a container ended), restart."""

    verb: str
    container: str = ""


def next_steps(
    template: PodTemplate,
    pod: Pod,
    exits: Mapping[str, Exit],
    fates: Callable[[str], Fate],
    now: float,
    most_restarts: int | None = None,
) -> list[Step]:
    """Return what can be done for a pod at once; nothing when all is well, it must wait, or it had its chances."""
    if pod.holder is None:
        return [Step("rebuild" if pod.members else "hold")]
    if pod.holder.state == "created":
        return [Step("hold")]
    if pod.holder.state != "running":
        return [Step("rebuild")]
    for container in template.init:
        seen = pod.members.get(container.name)
        ended = exits.get(seen.id) if seen else None
        if seen is not None and ended is not None and ended.code == 0:
            continue
        if seen is not None and _gone_by(template, pod) and seen.state == "exited":
            continue
        step = _step(container, pod, exits, fates(container.name), now, _init_policy(template.restart), most_restarts)
        return [step] if step else []
    steps = [
        _step(each, pod, exits, fates(each.name), now, template.restart, most_restarts) for each in template.containers
    ]
    return [step for step in steps if step]


def _gone_by(template: PodTemplate, pod: Pod) -> bool:
    """Return whether the main containers were started already: then the init containers have done their work."""
    return any(each.name in pod.members and pod.members[each.name].state != "created" for each in template.containers)


def _init_policy(restart: str) -> str:
    return "Never" if restart == "Never" else "OnFailure"


def _step(
    container: Container, pod: Pod, exits: Mapping[str, Exit], fate: Fate, now: float, policy: str, most: int | None
) -> Step | None:
    seen = pod.members.get(container.name)
    if seen is None:
        return Step("create", container.name) if now >= fate.due else None
    if seen.state == "created":
        return Step("start", container.name) if now >= fate.due else None
    if seen.state not in {"exited", "dead"}:
        return None
    ended = exits.get(seen.id)
    if ended is None:
        return Step("learn", container.name)
    if not starts_again(policy, ended) or now < fate.due:
        return None
    if most is not None and fate.restarts >= most:
        return None
    return Step("restart", container.name)


def starts_again(policy: str, ended: Exit) -> bool:
    """Return whether a container that ended so is started again under this restart policy."""
    return policy == "Always" or (policy == "OnFailure" and ended.code != 0)


def pause_before_restart(level: int, first: float, longest: float = 300.0) -> float:
    """Return the seconds to wait before restart number `level` (from 0): none, then doubling, as Kubernetes does."""
    return 0.0 if level <= 0 else min(longest, first * 2.0 ** min(level - 1, 30))
