"""What a cluster says of pods and workloads becomes an honest state; no cluster takes part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.contract import Manifest, Reason, State, WorkloadStatus
from engines.kubernetes.kept import READY, Content, Kept
from engines.kubernetes.look import Look
from engines.kubernetes.status import HARD, late, overall, pod_state, pods_of, workload_status

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def pod(
    *containers: dict[str, Any], ready: bool = False, phase: str = "Running", name: str = "web-1", **metadata: Any
) -> dict[str, Any]:
    """A pod as the API tells it, with these container statuses."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **metadata},
        "spec": {"containers": [{"name": "web", "readinessProbe": {"httpGet": {"path": "/"}}}]},
        "status": {"phase": phase, "conditions": [condition], "containerStatuses": list(containers)},
    }


def container(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0, ready: bool = False) -> Any:
    return {"name": "web", "ready": ready, "restartCount": restarts, "state": state, "lastState": last or {}}


def running(seconds: int = 1) -> dict[str, Any]:
    return {"running": {"startedAt": (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def event(reason: str, message: str) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "web-1", "fieldPath": "spec.containers{web}"}
    return {"reason": reason, "message": message, "involvedObject": about, "lastTimestamp": "2026-05-04T11:59:59Z"}


def deployment(wanted: int = 1, **status: Any) -> dict[str, Any]:
    full = {"observedGeneration": 2, "replicas": wanted, "updatedReplicas": wanted, "availableReplicas": wanted}
    return {
        "metadata": {"name": "web", "uid": "uid-web", "generation": 2},
        "spec": {"replicas": wanted},
        "status": {**full, **status},
    }


def judged(*pods: dict[str, Any], events: tuple[dict[str, Any], ...] = (), **status: Any) -> WorkloadStatus:
    """The deployment `web` with these pods of its present revision."""
    found = deployment(len(pods), **status)
    return workload_status("Deployment", "web", found, [pod_state(each, events, NOW) for each in pods])


# Pods


def test_a_ready_pod_needs_no_reason() -> None:
    state = pod_state(pod(container(running(), ready=True, restarts=2), ready=True), (), NOW)
    assert (state.ready, state.reason, state.restarts) == (True, Reason.NONE, 2)


@pytest.mark.parametrize("word", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_had_is_missing(word: str) -> None:
    state = pod_state(pod(container(waiting(word, "no such host"))), (), NOW)
    assert (state.reason, state.message) == (Reason.IMAGE_MISSING, "web: no such host")


def test_a_secret_that_is_not_there_is_a_configuration_error() -> None:
    broken = pod(container(waiting("CreateContainerConfigError", 'secret "keys" not found')))
    state = pod_state(broken, (), NOW)
    assert (state.reason, state.message) == (Reason.CONFIG_ERROR, 'web: secret "keys" not found')


def test_a_volume_that_cannot_be_mounted_is_a_configuration_error() -> None:
    waits = pod(container(waiting("ContainerCreating")))
    told = event("FailedMount", 'MountVolume.SetUp failed: configmap "page" not found')
    assert pod_state(waits, (told,), NOW).reason is Reason.CONFIG_ERROR
    assert pod_state(waits, (), NOW).reason is Reason.STARTING


def test_a_container_that_ends_again_and_again_is_in_a_crash_loop() -> None:
    state = pod_state(pod(container(waiting("CrashLoopBackOff"), ended(3), restarts=4)), (), NOW)
    assert (state.reason, state.restarts) == (Reason.CRASH_LOOP, 4)
    assert "code 3" in state.message


def test_one_crash_is_no_loop_yet() -> None:
    assert pod_state(pod(container(ended(1), restarts=0)), (), NOW).reason is Reason.STARTING


@pytest.mark.parametrize(
    "seen",
    [
        container(ended(137, "OOMKilled")),
        container(waiting("CrashLoopBackOff"), ended(137, "OOMKilled"), restarts=2),
        container(running(), ended(137, "OOMKilled"), restarts=1),
    ],
)
def test_too_little_memory_is_told_as_that_whatever_the_container_does_now(seen: dict[str, Any]) -> None:
    assert pod_state(pod(seen), (), NOW).reason is Reason.OOM_KILLED


def test_a_failing_probe_is_told_in_its_own_words() -> None:
    told = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    state = pod_state(pod(container(running())), (told,), NOW)
    assert state.reason is Reason.PROBE_FAILING
    assert "statuscode: 503" in state.message


def test_a_pod_that_runs_long_without_being_ready_fails_its_probe_even_when_the_events_are_gone() -> None:
    assert pod_state(pod(container(running(seconds=5))), (), NOW).reason is Reason.STARTING
    assert pod_state(pod(container(running(seconds=90))), (), NOW).reason is Reason.PROBE_FAILING


def test_a_pod_without_a_place_is_unschedulable() -> None:
    nowhere = pod(phase="Pending")
    nowhere["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}
    )
    state = pod_state(nowhere, (), NOW)
    assert (state.reason, state.message) == (Reason.UNSCHEDULABLE, "0/1 nodes: Insufficient cpu")


def test_a_pod_that_is_being_stopped_is_not_ready_any_more() -> None:
    going = pod(container(running(), ready=True), ready=True, deletionTimestamp="2026-05-04T12:00:00Z")
    assert not pod_state(going, (), NOW).ready


# Workloads


def test_all_pods_ready_at_the_wanted_revision_is_ready() -> None:
    fine = pod(container(running(), ready=True), ready=True)
    status = judged(fine)
    assert (status.state, status.wanted, status.ready, status.reason) == (State.READY, 1, 1, Reason.NONE)


@pytest.mark.parametrize(
    "behind",
    [
        {"observedGeneration": 1},  # the controller has not seen the upgrade yet
        {"replicas": 2},  # an old pod is still there
        {"updatedReplicas": 0},  # only old pods serve
        {"availableReplicas": 0},  # ready for less than minReadySeconds
    ],
)
def test_a_rollout_that_is_under_way_is_not_ready(behind: dict[str, Any]) -> None:
    fine = pod(container(running(), ready=True), ready=True)
    status = judged(fine, **behind)
    assert (status.state, status.reason) == (State.PROGRESSING, Reason.STARTING)
    assert status.message


def test_the_old_pods_do_not_make_a_failing_upgrade_ready() -> None:
    status = judged(pod(container(waiting("ImagePullBackOff", "not found"))), replicas=2, availableReplicas=1)
    assert (status.state, status.reason, status.ready) == (State.FAILED, Reason.IMAGE_MISSING, 0)


def test_pods_that_the_cluster_refuses_to_make_are_told() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": 'pods "web" is forbidden: violates PodSecurity'}
    found = deployment(1, replicas=0, updatedReplicas=0, availableReplicas=0, conditions=[refused])
    status = workload_status("Deployment", "web", found, [])
    assert (status.state, status.reason) == (State.FAILED, Reason.CONFIG_ERROR)
    assert "violates PodSecurity" in status.message


def test_a_deadline_that_has_passed_is_a_failure() -> None:
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}
    status = judged(pod(container(running())), availableReplicas=0, conditions=[condition])
    assert (status.state, status.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)


def test_what_is_not_in_the_cluster_any_more_has_failed() -> None:
    assert workload_status("Deployment", "web", None, []).state is State.FAILED


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([], State.PROGRESSING),
        ([{"type": "Complete", "status": "True"}], State.READY),
        (
            [{"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}],
            State.FAILED,
        ),
    ],
)
def test_a_job_is_ready_when_it_has_done_its_work(conditions: list[dict[str, Any]], state: State) -> None:
    job = {"metadata": {"name": "once"}, "spec": {"completions": 1}, "status": {"conditions": conditions}}
    assert workload_status("Job", "once", job, []).state is state


def test_a_stateful_set_counts_the_pods_of_its_new_revision_only() -> None:
    found = {
        "metadata": {"uid": "uid-db", "generation": 1},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 1,
            "availableReplicas": 2,
            "updateRevision": "b",
        },
    }
    owner = [{"kind": "StatefulSet", "uid": "uid-db"}]
    pods = [
        pod(ready=True, name=f"db-{at}", ownerReferences=owner, labels={"controller-revision-hash": hash_})
        for at, hash_ in enumerate("ab")
    ]
    new = pods_of("StatefulSet", found, pods, [])
    assert [each["metadata"]["name"] for each in new] == ["db-1"]
    status = workload_status("StatefulSet", "db", found, [pod_state(each, (), NOW) for each in new])
    assert (status.state, status.ready, status.wanted) == (State.PROGRESSING, 1, 2)


def test_a_deployment_owns_the_pods_of_its_newest_replica_set() -> None:
    revision = "deployment.kubernetes.io/revision"
    found = {"metadata": {"uid": "uid-web", "annotations": {revision: "2"}}}
    owner = [{"uid": "uid-web"}]
    sets = [
        {"metadata": {"uid": f"set-{at}", "ownerReferences": owner, "annotations": {revision: str(at)}}}
        for at in (1, 2)
    ]
    pods = [pod(name=f"web-{at}", ownerReferences=[{"uid": f"set-{at}"}]) for at in (1, 2)]
    assert [each["metadata"]["name"] for each in pods_of("Deployment", found, pods, sets)] == ["web-2"]


# Releases


def test_a_release_is_as_bad_as_its_worst_workload() -> None:
    ready = WorkloadStatus("Deployment", "a", State.READY, 1, 1)
    slow = WorkloadStatus("Deployment", "b", State.PROGRESSING, 1, 0, Reason.STARTING, "0 of 1")
    broken = WorkloadStatus("Deployment", "c", State.FAILED, 1, 0, Reason.IMAGE_MISSING, "no image")
    assert overall([ready]) == (State.READY, Reason.NONE, "")
    assert overall([]) == (State.READY, Reason.NONE, "")
    assert overall([ready, slow, broken]) == (State.FAILED, Reason.IMAGE_MISSING, "Deployment/c: no image")


def test_who_is_late_has_failed_and_says_what_kept_it() -> None:
    slow = WorkloadStatus("Deployment", "b", State.PROGRESSING, 2, 1, Reason.PROBE_FAILING, "web: status 503")
    told = late(slow)
    assert (told.state, told.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "1 of 2" in told.message
    assert "status 503" in told.message
    ready = WorkloadStatus("Deployment", "a", State.READY, 1, 1)
    assert late(ready) is ready


STATES = st.one_of(
    st.builds(waiting, st.sampled_from(["ImagePullBackOff", "CrashLoopBackOff", "PodInitializing", "Unheard-of", ""])),
    st.builds(ended, st.integers(0, 255), st.sampled_from(["Error", "OOMKilled", "Completed"])),
    st.builds(running, st.integers(0, 3600)),
    st.just({}),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.builds(container, STATES, STATES, st.integers(0, 9)), max_size=3), st.integers(0, 3))
def test_without_ready_pods_nothing_is_ever_ready_and_something_is_always_said(seen: list[Any], wanted: int) -> None:
    states = [pod_state(pod(each, name=f"web-{at}"), (), NOW) for at, each in enumerate(seen)]
    status = workload_status("Deployment", "web", deployment(wanted + 1), states)
    assert status.state is not State.READY
    assert status.reason is not Reason.NONE
    assert status.message
    assert (status.state is State.FAILED) == (status.reason in HARD)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JSON))
def test_whatever_a_cluster_answers_is_judged_without_a_crash(nonsense: dict[str, Any]) -> None:
    state = pod_state(nonsense, (nonsense,), NOW)
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"):
        pods_of(kind, nonsense, [nonsense], [nonsense])
        workload_status(kind, "x", nonsense, [state])


# The deadline


class OneRelease:
    """A cluster, and the one release in it: the deployment `web`, none of whose pods is ready."""

    def __init__(self, *, ready_once: bool) -> None:
        labels = {READY: "1" if ready_once else ""}
        self.kept = Kept("t", "one", 1, "deployed", 1, "secret", "5", labels)

    def revisions(self, namespace: str, name: str) -> list[Kept]:
        return [self.kept]

    def content(self, kept: Kept) -> Content:
        web = Manifest("Deployment", "web", "apps/v1", {})
        return Content("web", "1.0.0", NOW - timedelta(minutes=10), "Install complete", (web,))

    def all(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        return [deployment(1, availableReplicas=0)] if kind == "Deployment" else []


@pytest.mark.parametrize(("ready_once", "state"), [(False, State.FAILED), (True, State.PROGRESSING)])
def test_only_a_revision_that_was_never_ready_is_late(ready_once: bool, state: State) -> None:
    both: Any = OneRelease(ready_once=ready_once)
    status = Look(both, both, timedelta(minutes=5)).status("one", "t", NOW)
    assert status.state is state
    assert (status.reason is Reason.DEADLINE_EXCEEDED) != ready_once
