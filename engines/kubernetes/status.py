"""From what a cluster says of workloads and pods to what a release may call itself. Pure functions over API objects.

Everything read here is written by a cluster that others run, so each field may be absent or of another type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from core.words import say
from engines.contract import Reason, State, WorkloadStatus
from engines.planning import containers, items, mapping

Object = Mapping[str, Any]

#: Reasons that waiting does not cure.
HARD = frozenset(
    [Reason.IMAGE_MISSING, Reason.CONFIG_ERROR, Reason.CRASH_LOOP, Reason.OOM_KILLED, Reason.DEADLINE_EXCEEDED]
)
#: The worst first.
RANK = (
    Reason.IMAGE_MISSING, Reason.CONFIG_ERROR, Reason.OOM_KILLED, Reason.CRASH_LOOP, Reason.PROBE_FAILING,
    Reason.DEADLINE_EXCEEDED, Reason.UNSCHEDULABLE, Reason.UNKNOWN, Reason.STARTING, Reason.NONE,
)  # fmt: skip

#: The kubelet's words for why a container waits.
_WAITING = {
    **dict.fromkeys(
        ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
         "RegistryUnavailable", "SignatureValidationFailed"),
        Reason.IMAGE_MISSING,
    ),
    **dict.fromkeys(
        ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError", "PostStartHookError"),
        Reason.CONFIG_ERROR,
    ),
    "CrashLoopBackOff": Reason.CRASH_LOOP,
}  # fmt: skip

#: A container that has run for this long and still is not ready fails its probe, whether or not an event says so.
_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod: ready (or rightly ended), or why not."""

    name: str
    ready: bool
    reason: Reason = Reason.NONE
    message: str = ""
    restarts: int = 0


def pod_state(pod: Object, events: Sequence[Object], now: datetime) -> PodState:
    """Judge one pod; `events` are those of this pod."""
    status, spec = mapping(pod.get("status")), mapping(pod.get("spec"))
    name = str(mapping(pod.get("metadata")).get("name", ""))
    seen = items(status.get("initContainerStatuses")) + items(status.get("containerStatuses"))
    restarts = sum(number(each.get("restartCount"), 0) for each in seen)
    if status.get("phase") == "Succeeded":
        return PodState(name, True, restarts=restarts)
    if _condition(status, "Ready").get("status") == "True" and not _going(pod):
        return PodState(name, True, restarts=restarts)
    told = [_container(each, spec, events, now) for each in seen]
    told += _of_the_pod(pod, status, events, bool(seen))
    reason, message = min(told, key=lambda pair: RANK.index(pair[0]), default=(Reason.STARTING, ""))
    if reason is Reason.NONE:
        reason = Reason.STARTING
    return PodState(name, False, reason, _short(message), restarts)


def _container(seen: Object, spec: Object, events: Sequence[Object], now: datetime) -> tuple[Reason, str]:
    name = str(seen.get("name", ""))
    state, last = mapping(seen.get("state")), mapping(mapping(seen.get("lastState")).get("terminated"))
    if seen.get("ready") is True:
        return Reason.NONE, ""
    waiting, ended = mapping(state.get("waiting")), mapping(state.get("terminated"))
    if waiting:
        word = str(waiting.get("reason", ""))
        reason = _WAITING.get(word, Reason.STARTING)
        if reason is Reason.CRASH_LOOP:
            return _ended(name, last, events, "again and again")
        if reason is Reason.STARTING and last.get("reason") == "OOMKilled":
            return _ended(name, last, events, "")
        if reason is Reason.STARTING:
            return reason, ""
        return reason, f"{name}: {waiting.get('message') or word}"
    if ended:
        if ended.get("exitCode") == 0:
            return Reason.STARTING, ""
        return _ended(name, ended, events, "", loop=number(seen.get("restartCount"), 0) > 1 or not _restarts(spec))
    if last.get("reason") == "OOMKilled":
        return _ended(name, last, events, "")
    since = _moment(mapping(state.get("running")).get("startedAt"))
    probed = any(each.get("name") == name and each.get("readinessProbe") for each in containers(spec))
    failing = _probe_event(name, events)
    if failing:
        return Reason.PROBE_FAILING, f"{name}: {failing}"
    if probed and since and now - since > _PATIENCE:
        return Reason.PROBE_FAILING, f"{name}: runs for {int((now - since).total_seconds())} s and is not ready"
    return Reason.STARTING, ""


def _ended(name: str, ended: Object, events: Sequence[Object], how: str, *, loop: bool = True) -> tuple[Reason, str]:
    if ended.get("reason") == "OOMKilled":
        return Reason.OOM_KILLED, f"{name}: killed for using more memory than its limit"
    code = ended.get("exitCode")
    probe = _probe_event(name, events, "Liveness") or _probe_event(name, events, "Startup")
    said = f"; {probe}" if probe else f"; {ended['message']}" if ended.get("message") else ""
    message = " ".join(word for word in (f"{name}: ended with code {code}", how) if word) + said
    return (Reason.CRASH_LOOP if loop else Reason.STARTING), message


def _of_the_pod(pod: Object, status: Object, events: Sequence[Object], started: bool) -> list[tuple[Reason, str]]:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return [(Reason.UNSCHEDULABLE, str(scheduled.get("message", "")))]
    if status.get("phase") == "Failed" and not started:
        return [(Reason.UNKNOWN, f"{status.get('reason') or 'failed'}: {status.get('message') or 'no more is known'}")]
    if _going(pod):
        return [(Reason.STARTING, "is being stopped")]
    told = []
    for event in events:
        if event.get("reason") in {"FailedMount", "FailedAttachVolume"}:
            told.append((Reason.CONFIG_ERROR, str(event.get("message", ""))))
        elif event.get("reason") == "FailedCreatePodSandBox":
            told.append((Reason.UNKNOWN, str(event.get("message", ""))))
    waits = any(mapping(each.get("state")).get("waiting") for each in items(status.get("containerStatuses")))
    return told if waits else []


def workload_status(kind: str, name: str, found: Object | None, pods: Sequence[PodState]) -> WorkloadStatus:
    """Judge one workload; `pods` are those at the wanted revision."""
    if found is None:
        return WorkloadStatus(kind, name, State.FAILED, 0, 0, Reason.UNKNOWN, say("is not in the cluster any more"))
    wanted, ready, settled = _counts(kind, found, pods)
    finished = _finished(kind, found)
    restarts, names = sum(each.restarts for each in pods), tuple(sorted(each.name for each in pods))
    if finished is None and settled and ready >= wanted:
        return WorkloadStatus(kind, name, State.READY, wanted, min(ready, wanted), restarts=restarts, pods=names)
    if finished is True:
        return WorkloadStatus(kind, name, State.READY, wanted, wanted, restarts=restarts, pods=names)
    reason, message = _why(kind, found, pods)
    if finished is False and reason not in HARD:
        reason = Reason.CRASH_LOOP
        message = str(_condition(mapping(found.get("status")), "Failed").get("message", "")) or message
    if not message:
        message = say("{least} of {wanted} pods are ready", least=min(ready, wanted), wanted=wanted)
    state = State.FAILED if reason in HARD else State.PROGRESSING
    return WorkloadStatus(kind, name, state, wanted, min(ready, wanted), reason, _short(message), restarts, names)


def _counts(kind: str, found: Object, pods: Sequence[PodState]) -> tuple[int, int, bool]:
    """Return pods wanted, pods ready at the wanted revision, and whether the cluster is done with that revision."""
    spec, status = mapping(found.get("spec")), mapping(found.get("status"))
    generation = number(mapping(found.get("metadata")).get("generation"), 0)
    observed = number(status.get("observedGeneration"), 0) >= generation
    ready = sum(each.ready for each in pods)
    if kind in {"Deployment", "ReplicaSet", "StatefulSet"}:
        wanted = number(spec.get("replicas"))
        updated = number(status.get("updatedReplicas"), 0) if kind != "ReplicaSet" else wanted
        alone = number(status.get("replicas"), 0) == wanted == updated
        return wanted, ready, observed and alone and number(status.get("availableReplicas"), 0) >= wanted
    if kind == "DaemonSet":
        wanted = number(status.get("desiredNumberScheduled"), 0)
        updated = number(status.get("updatedNumberScheduled"), 0) >= wanted
        return wanted, ready, observed and updated and number(status.get("numberReady"), 0) >= wanted
    if kind == "Job":
        wanted = number(spec.get("completions"), number(spec.get("parallelism")))
        return wanted, number(status.get("succeeded"), 0), False
    if kind == "CronJob":
        return 0, 0, True
    return 1, ready, bool(pods)


def _finished(kind: str, found: Object) -> bool | None:
    """Return whether a Job ended well or badly; None for what does not end, or not yet."""
    if kind == "Job":
        status = mapping(found.get("status"))
        if _condition(status, "Complete").get("status") == "True":
            return True
        if _condition(status, "Failed").get("status") == "True":
            return False
    return None


def _why(kind: str, found: Object, pods: Sequence[PodState]) -> tuple[Reason, str]:
    status = mapping(found.get("status"))
    told = [(each.reason, each.message) for each in pods if not each.ready]
    refused = _condition(status, "ReplicaFailure")
    if refused.get("status") == "True":
        told.append((Reason.CONFIG_ERROR, str(refused.get("message", ""))))
    late = _condition(status, "Progressing")
    if kind == "Deployment" and late.get("reason") == "ProgressDeadlineExceeded":
        told.append((Reason.DEADLINE_EXCEEDED, str(late.get("message", ""))))
    return min(told, key=lambda pair: RANK.index(pair[0]), default=(Reason.STARTING, ""))


def late(workload: WorkloadStatus) -> WorkloadStatus:
    """Return what a workload is called once its time to become ready is over."""
    if workload.state is not State.PROGRESSING:
        return workload
    wanted = say("{ready} of {wanted} pods became ready in time", ready=workload.ready, wanted=workload.wanted)
    message = f"{wanted}; {workload.message}" if workload.reason is not Reason.STARTING else wanted
    return replace(workload, state=State.FAILED, reason=Reason.DEADLINE_EXCEEDED, message=message)


def overall(workloads: Sequence[WorkloadStatus]) -> tuple[State, Reason, str]:
    """Return the state of a release from those of its workloads: as bad as the worst."""
    if all(each.state is State.READY for each in workloads):
        return State.READY, Reason.NONE, ""
    worst = min(
        (each for each in workloads if each.state is not State.READY),
        key=lambda each: (each.state is not State.FAILED, RANK.index(each.reason)),
    )
    return worst.state, worst.reason, f"{worst.kind}/{worst.name}: {worst.message}"


def number(value: Any, default: int = 1) -> int:
    """Return a whole number that is not negative, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


# --- which pods are of the wanted revision


def pods_of(kind: str, found: Object, pods: Sequence[Object], replica_sets: Sequence[Object]) -> list[Object]:
    """Return the pods that a workload owns at its present revision, newest revision only, without those being stopped."""
    metadata = mapping(found.get("metadata"))
    owner = metadata.get("uid")
    if kind == "Pod":
        return [pod for pod in pods if mapping(pod.get("metadata")).get("uid") == owner]
    if kind == "Deployment":
        revision = mapping(metadata.get("annotations")).get("deployment.kubernetes.io/revision")
        current = [
            mapping(each.get("metadata")).get("uid")
            for each in replica_sets
            if owned(each, owner) and _revision_of(each) == revision
        ]
        return [pod for pod in pods if any(owned(pod, uid) for uid in current)]
    mine = [pod for pod in pods if owned(pod, owner)]
    wanted = mapping(found.get("status")).get("updateRevision")
    if kind == "StatefulSet" and wanted:
        return [pod for pod in mine if _label(pod, "controller-revision-hash") == wanted]
    if kind == "DaemonSet":
        newest = str(metadata.get("generation", ""))
        return [pod for pod in mine if _label(pod, "pod-template-generation") in (newest, None)]
    return mine


def owned(each: Object, uid: Any) -> bool:
    """Say whether the object has an owner with this uid."""
    return any(owner.get("uid") == uid for owner in items(mapping(each.get("metadata")).get("ownerReferences")))


def _revision_of(each: Object) -> Any:
    return mapping(mapping(each.get("metadata")).get("annotations")).get("deployment.kubernetes.io/revision")


def _label(each: Object, name: str) -> Any:
    return mapping(mapping(each.get("metadata")).get("labels")).get(name)


def _going(pod: Object) -> bool:
    return bool(mapping(pod.get("metadata")).get("deletionTimestamp"))


def _restarts(spec: Object) -> bool:
    return str(spec.get("restartPolicy", "Always")) != "Never"


def _condition(status: Object, name: str) -> Object:
    return next((each for each in items(status.get("conditions")) if each.get("type") == name), {})


def _probe_event(container: str, events: Sequence[Object], probe: str = "") -> str:
    """Return what the newest event says of a failing probe of this container."""
    path = f"spec.containers{{{container}}}"
    for event in sorted(events, key=lambda each: str(_last(each)), reverse=True):
        of = str(mapping(event.get("involvedObject")).get("fieldPath", path))
        if event.get("reason") == "Unhealthy" and of == path and str(event.get("message", "")).startswith(probe):
            return str(event.get("message", ""))
    return ""


def _last(event: Object) -> Any:
    return event.get("lastTimestamp") or event.get("eventTime") or ""


def _moment(text: Any) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _short(text: str, limit: int = 500) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
