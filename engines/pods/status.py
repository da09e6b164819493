"""From the states of pods to what a workload and a release may call themselves. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.words import say
from engines.contract import Reason, State, WorkloadStatus
from engines.pods.rollout import PodFact, pod_names
from engines.pods.wanted import Workload

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


class NamedPod(Protocol):
    """What is asked of a pod here."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...


def facts(pods: Sequence[NamedPod], states: Mapping[str, PodState]) -> list[PodFact]:
    """Return what `decide.change` needs to know of the pods of one workload."""
    return [
        PodFact(pod.name, pod.digest, states[pod.name].ready or states[pod.name].completed, states[pod.name].known)
        for pod in pods
    ]


def workload_status(
    workload: Workload, pods: Sequence[NamedPod], states: Mapping[str, PodState], done: set[str], late: bool
) -> WorkloadStatus:
    """Judge one workload: ready only when each wanted pod is ready at the wanted revision and no old one is left."""
    digest = workload.template.digest
    names = pod_names(workload)
    new = [pod for pod in pods if pod.digest == digest and pod.name in names]
    old = [pod for pod in pods if pod not in new]
    # A Job is not ready because it runs, but because it is done; and it may take its time.
    finite = workload.kind == "Job"
    fine = {pod.name for pod in new if states[pod.name].ready and not finite} | (done & set(names))
    serving = len(fine) + sum(states[pod.name].ready for pod in old)
    worst = min(
        (states[pod.name] for pod in new if pod.name not in fine),
        key=lambda state: RANK.index(state.reason),
        default=None,
    )
    reason, message = (worst.reason or Reason.STARTING, worst.message) if worst else (Reason.STARTING, "")
    if len(fine) == workload.replicas and not old:
        state, reason, message = State.READY, Reason.NONE, ""
    else:
        if late and not finite and reason not in HARD:
            wanted = say(
                "{fine_count} of {replicas} pods became ready in time", fine_count=len(fine), replicas=workload.replicas
            )
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
