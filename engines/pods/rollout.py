"""Which pods of a workload come and go: scaling, rolling updates, ordered updates. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.pods.wanted import Workload


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
