"""From pods and their health to what a release is allowed to call itself. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engines.contract import Reason, State, WorkloadStatus
from engines.docker.decide import PodFact, pod_names, starts_again
from engines.docker.seen import Exit, Fate, Health, Pod
from engines.docker.wanted import PodTemplate, Workload

#: Reasons that do not go away by waiting a little.
HARD = frozenset(
    [Reason.IMAGE_MISSING, Reason.CONFIG_ERROR, Reason.CRASH_LOOP, Reason.OOM_KILLED, Reason.DEADLINE_EXCEEDED]
)
#: The worst first.
RANK = (
    Reason.IMAGE_MISSING, Reason.CONFIG_ERROR, Reason.OOM_KILLED, Reason.CRASH_LOOP, Reason.PROBE_FAILING,
    Reason.DEADLINE_EXCEEDED, Reason.UNSCHEDULABLE, Reason.UNKNOWN, Reason.STARTING, Reason.NONE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod: ready or why not; `completed` for one whose containers all ended well and stay so."""

    ready: bool
    known: bool
    reason: Reason = Reason.NONE
    message: str = ""
    restarts: int = 0
    completed: bool = False
    failed: bool = False


def pod_state(
    template: PodTemplate,
    pod: Pod,
    exits: Mapping[str, Exit],
    fates: Callable[[str], Fate],
    health: Callable[[str], Health | None],
) -> PodState:
    """Judge one pod."""
    ready, known, ended, failed = True, True, 0, False
    reasons: list[tuple[Reason, str]] = []
    restarts = 0
    for container in (*template.init, *template.containers):
        fate = fates(container.name)
        restarts += fate.restarts
        seen = pod.members.get(container.name)
        if fate.reason is not Reason.NONE and (fate.waiting or seen is None or seen.state != "running"):
            reasons.append((_named(fate), f"{container.name}: {fate.message}"))
    for container in template.containers:
        seen = pod.members.get(container.name)
        exit_ = exits.get(seen.id) if seen else None
        if (
            seen is not None
            and seen.state in {"exited", "dead"}
            and exit_
            and not starts_again(template.restart, exit_)
        ):
            ended += exit_.code == 0
            failed = failed or exit_.code != 0
            ready = False
            continue
        if seen is None or seen.state != "running":
            ready = False
            # Just exited and not yet learnt about, or not yet made: an old pod in that state serves nobody.
            known = known and seen is not None and seen.state == "exited"
            continue
        told = health(seen.id)
        if told is None:
            ready = known = False
            continue
        ready, known = ready and told.ready, known and told.known
        fate = fates(container.name)
        if not told.ready and told.known:
            named = Reason.OOM_KILLED if fate.reason is Reason.OOM_KILLED else Reason.PROBE_FAILING
            reasons.append((named, f"{container.name}: {told.message or fate.message}"))
        elif not told.ready and fate.reason in HARD:
            reasons.append((_named(fate), f"{container.name}: {fate.message}"))
        elif not told.ready and told.message:
            reasons.append((Reason.STARTING, f"{container.name}: {told.message}"))
    if not (pod.holder and pod.holder.state == "running"):
        ready = False
    reason, message = min(reasons, key=lambda pair: RANK.index(pair[0]), default=(Reason.STARTING, ""))
    completed = ended == len(template.containers)
    if ready or completed:
        reason, message = Reason.NONE, ""
    return PodState(ready, known or reason in HARD, reason, message, restarts, completed, failed)


def _named(fate: Fate) -> Reason:
    # One crash is no loop yet.
    if fate.reason is Reason.CRASH_LOOP and not fate.waiting and fate.restarts < 2:
        return Reason.STARTING
    return fate.reason


def facts(pods: Sequence[Pod], states: Mapping[str, PodState]) -> list[PodFact]:
    """Return what `decide.change` needs to know of the pods of one workload."""
    return [
        PodFact(pod.name, pod.digest, states[pod.name].ready or states[pod.name].completed, states[pod.name].known)
        for pod in pods
    ]


def workload_status(
    workload: Workload, pods: Sequence[Pod], states: Mapping[str, PodState], done: set[str], late: bool
) -> WorkloadStatus:
    """Judge one workload: ready only when each wanted pod is ready at the wanted revision and no old one is left."""
    digest = workload.template.digest
    names = pod_names(workload)
    new = [pod for pod in pods if pod.digest == digest and pod.name in names]
    old = [pod for pod in pods if pod not in new]
    fine = {pod.name for pod in new if states[pod.name].ready} | (done & set(names))
    serving = len(fine) + sum(states[pod.name].ready for pod in old)
    worst = min(
        (states[pod.name] for pod in new if pod.name not in fine),
        key=lambda state: RANK.index(state.reason),
        default=None,
    )
    reason, message = (worst.reason, worst.message) if worst else (Reason.STARTING, "")
    if len(fine) == workload.replicas and not old:
        state, reason, message = State.READY, Reason.NONE, ""
    else:
        if late and reason not in HARD:
            wanted = f"{len(fine)} of {workload.replicas} pods became ready in time"
            reason, message = Reason.DEADLINE_EXCEEDED, f"{wanted}; {message}" if message else wanted
        state = State.FAILED if reason in HARD else State.PROGRESSING
        message = message or f"{len(fine)} of {workload.replicas} pods are ready"
    return WorkloadStatus(
        kind=workload.kind,
        name=workload.name,
        state=state,
        wanted=workload.replicas,
        ready=min(serving, workload.replicas),
        reason=reason,
        message=message,
        restarts=sum(states[pod.name].restarts for pod in new),
        pods=tuple(sorted(pod.name for pod in pods)),
    )


def overall(workloads: Sequence[WorkloadStatus]) -> tuple[State, Reason, str]:
    """Return the state of a release from those of its workloads: as bad as the worst."""
    if all(each.state is State.READY for each in workloads):
        return State.READY, Reason.NONE, ""
    worst = min(
        (each for each in workloads if each.state is not State.READY),
        key=lambda each: (each.state is not State.FAILED, RANK.index(each.reason)),
    )
    return worst.state, worst.reason, f"{worst.kind}/{worst.name}: {worst.message}"
