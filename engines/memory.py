"""A simulated runtime: charts are really rendered, checked and kept, but no container runs.

What would go wrong in a real one is scripted by an annotation of the pod template, `breakwater.dev/simulate`, with one
of `image-missing`, `probe-failing`, `oom`, `crash` or `slow`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from core.errors import Missing
from core.words import say
from engines.contract import (
    Capacity,
    Endpoint,
    Engine,
    EngineSettings,
    Event,
    LogLine,
    Plan,
    Reason,
    Release,
    ReleaseStatus,
    Revision,
    State,
)
from engines.helm import Rendered, helm
from engines.helm.hooks import not_run
from engines.helm.port import check_names
from engines.images.archive import opened
from engines.planning import compute_of, host_findings, images_of, mapping
from engines.pods import rollout
from engines.pods.findings import kind_findings
from engines.pods.status import PodState, facts, overall, workload_status
from engines.pods.translate import translate
from engines.pods.wanted import Wanted, Workload
from engines.releases import check_owners, refuse, roll_back, wish_digest
from engines.store import Kept, Store

SIMULATE = "breakwater.dev/simulate"

#: What a scripted pod says instead of becoming ready.
_TROUBLES = {
    "image-missing": (Reason.IMAGE_MISSING, "the image is not on the node (simulated)"),
    "probe-failing": (Reason.PROBE_FAILING, "readiness probe failed (simulated)"),
    "oom": (Reason.OOM_KILLED, "was killed because it needed more than its memory limit (simulated)"),
    "crash": (Reason.CRASH_LOOP, "ended with exit code 1 (simulated)"),
}
#: Rounds of `supervise` until a pod is ready.
_ROUNDS, _SLOW_ROUNDS = 2, 20


@dataclass(slots=True)
class _Pod:
    """A pod that does not exist: `age` counts rounds."""

    name: str
    workload: str
    digest: str
    age: int = 0
    restarts: int = 0
    broken: bool = False


@dataclass(slots=True)
class _Running:
    pods: dict[str, _Pod] = field(default_factory=dict)


class MemoryEngine(Engine):
    """The whole contract without a runtime. Pods become ready by rounds of `supervise`, not by time."""

    name: ClassVar[str] = "memory"
    simulated: ClassVar[bool] = True

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self.helm = helm(settings.helm)
        self.store = Store(settings.state_dir)
        self._lock = threading.RLock()
        self._running: dict[tuple[str, str], _Running] = {}
        self._wanted: dict[tuple[str, str, int], Wanted] = {}

    def ping(self) -> str:
        return "simulated runtime in memory"

    def capacity(self) -> Capacity:
        return Capacity(cpu_millis=8000, memory_bytes=16 << 30, storage_bytes=100 << 30)

    def plan(self, chart: Path, values: Mapping[str, Any], *, name: str = "plan", namespace: str = "default") -> Plan:
        return self._plan(self.helm.render(chart, values, name=name, namespace=namespace), namespace, {})

    def _plan(self, rendered: Rendered, namespace: str, images: Mapping[str, str]) -> Plan:
        manifests = rendered.manifests
        _, findings = translate(manifests, namespace, images)
        findings = [*kind_findings(manifests, namespace), *host_findings(manifests), *findings]
        findings += not_run(rendered.hooks, rendered.crds)
        return Plan(manifests, tuple(findings), compute_of(manifests), images_of(manifests))

    def apply(self, release: Release) -> Revision:
        try:
            return self._apply(release)
        finally:
            self.store.claim_images(release.images.values())

    def _apply(self, release: Release) -> Revision:
        check_names(release.name, release.namespace)
        digest = wish_digest(release)
        with self._lock:
            current = self.store.current(release.namespace, release.name)
            if current is not None and current.digest == digest and current.revision.generation == release.generation:
                return current.revision
            rendered = self.helm.render(release.chart, release.values, name=release.name, namespace=release.namespace)
            refuse(self._plan(rendered, release.namespace, release.images))
            check_owners(self.store, release, rendered)
            kept = self.store.add(
                release.namespace,
                release.name,
                generation=release.generation,
                chart=rendered.chart_name,
                chart_version=rendered.chart_version,
                digest=digest,
                values=release.values,
                manifests=rendered.manifests,
                status="pending-upgrade" if current else "pending-install",
                description="Upgrade" if current else "Install",
                images=release.images,
            )
            return kept.revision

    def rollback(self, name: str, namespace: str, revision: int | None = None, *, generation: int = 0) -> Revision:
        with self._lock:
            return roll_back(self.store, namespace, name, revision, generation).revision

    def remove(self, name: str, namespace: str) -> None:
        with self._lock:
            self.store.forget(namespace, name)
            self._running.pop((namespace, name), None)
            for key in [key for key in self._wanted if key[:2] == (namespace, name)]:
                del self._wanted[key]

    def load_image(self, archive: Path) -> dict[str, str]:
        """Return the IDs of the images in the archive by name; it is judged as for a real runtime, and run by none."""
        with opened(archive) as carried:
            carried.check_layers()
            for image in carried.images:
                self.store.note_load(f"sha256:{image.digest}")
            return {name: f"sha256:{image.digest}" for image in carried.images for name in image.known_as()}

    def images(self) -> set[str]:
        """Return the IDs of the images that a runtime would hold now."""
        return self.store.images_in_use()

    def image(self, name: str, namespace: str, workload: str) -> str:
        """Return the ID that the first container of a workload would run; empty when no package brought it."""
        return str(self._container(name, namespace, workload).image_id)

    # Looking

    def status(self, name: str, namespace: str) -> ReleaseStatus:
        with self._lock:
            kept = self.store.current(namespace, name)
            if kept is None:
                return ReleaseStatus(name, namespace, State.ABSENT)
            wanted = self._wants(kept)
            running = self._running.get(kept.key, _Running())
            states = {pod.name: self._state(pod, kept) for pod in running.pods.values()}
            found = []
            for workload in wanted.workloads:
                own = [pod for pod in running.pods.values() if pod.workload == workload.key]
                done = {pod.name for pod in own if states[pod.name].completed}
                found.append(workload_status(workload, own, states, done, self._late(kept)))
            state, reason, message = overall(found)
            endpoints = tuple(
                Endpoint(service.name, port.name, port.protocol, f"{service.name}.{namespace}", port.port)
                for service in wanted.services
                for port in service.ports
            )
            return ReleaseStatus(
                name=name,
                namespace=namespace,
                state=state,
                revision=kept.revision.number,
                generation=kept.revision.generation,
                reason=reason,
                message=message,
                workloads=tuple(found),
                endpoints=endpoints,
            )

    def _late(self, kept: Kept) -> bool:
        return (datetime.now(UTC) - kept.revision.created_at).total_seconds() > self.settings.progress_deadline

    def releases(self) -> list[tuple[str, str]]:
        return sorted(kept.key for kept in self.store.releases())

    def history(self, name: str, namespace: str) -> list[Revision]:
        return [kept.revision for kept in self.store.revisions(namespace, name)]

    def logs(self, name: str, namespace: str, *, workload: str = "", tail: int = 200) -> list[LogLine]:
        with self._lock:
            kept = self.store.current(namespace, name)
            pods = self._running.get((namespace, name), _Running()).pods.values() if kept else ()
            lines = []
            for pod in pods:
                if kept is None or (workload and workload not in {pod.workload, pod.workload.rpartition("/")[2]}):
                    continue
                owner = self._wants(kept).workload(pod.workload)
                for container in owner.template.containers if owner else ():
                    text = say("simulated: {image} does not really run", image=container.image)
                    lines.append(LogLine(kept.revision.created_at, pod.name, container.name, text))
            return lines[-tail:] if tail > 0 else []

    def events(self, name: str, namespace: str, *, limit: int = 100) -> list[Event]:
        return self.store.events(namespace, name, limit)

    def environment(self, name: str, namespace: str, workload: str) -> dict[str, str]:
        """Return the environment that the first container of a workload would see, pod fields left out."""
        return {each.name: each.value for each in self._container(name, namespace, workload).variables}

    def files(self, name: str, namespace: str, workload: str) -> dict[str, bytes]:
        """Return the files of ConfigMaps and Secrets that the first container of a workload would see, by path."""
        container = self._container(name, namespace, workload)
        kept = self.store.current(namespace, name)
        owner = self._wants(kept).workload(workload) if kept else None
        volumes = {volume.name: volume for volume in owner.template.volumes} if owner else {}
        return {
            f"{mount.path}/{file.path}": file.body
            for mount in container.mounts
            if mount.volume in volumes
            for file in volumes[mount.volume].files
        }

    def _container(self, name: str, namespace: str, workload: str) -> Any:
        kept = self.store.current(namespace, name)
        owner = self._wants(kept).workload(workload) if kept else None
        if owner is None:
            raise Missing(say("There is no {workload} in {name}", workload=workload, name=name))
        return owner.template.containers[0]

    def kill_probe(self, name: str, namespace: str, pod: str) -> None:
        """Let the liveness probe of a pod fail once, so that it is restarted."""
        with self._lock:
            found = self._running.get((namespace, name), _Running()).pods.get(pod)
            if found is None:
                raise Missing(say("There is no pod {pod} in {name}", pod=pod, name=name))
            found.broken = True

    # Pretending

    def supervise(self) -> None:
        with self._lock:
            for kept in self.store.releases():
                self._advance(kept)

    def _advance(self, kept: Kept) -> None:
        wanted = self._wants(kept)
        running = self._running.setdefault(kept.key, _Running())
        for pod in running.pods.values():
            pod.age += 1
            if pod.broken:
                pod.broken, pod.age = False, 0
                pod.restarts += 1
                self._event(kept, "Warning", "Unhealthy", pod, say("stopped because its probe failed (simulated)"))
        states = {pod.name: self._state(pod, kept) for pod in running.pods.values()}
        gone = [name for name, pod in running.pods.items() if wanted.workload(pod.workload) is None]
        for workload in wanted.workloads:
            own = [pod for pod in running.pods.values() if pod.workload == workload.key]
            change = rollout.change(workload, facts(own, states))
            gone += change.take
            for name in change.make:
                if name not in running.pods:
                    running.pods[name] = _Pod(name, workload.key, workload.template.digest)
                    self._event(kept, "Normal", "Created", running.pods[name], say("created (simulated)"))
        for name in gone:
            running.pods.pop(name, None)
        self._settle(kept)

    def _settle(self, kept: Kept) -> None:
        status = self.status(kept.name, kept.namespace)
        if status.state is State.READY and kept.revision.status != "deployed":
            self.store.set_status(kept, "deployed", ready=True)
        elif status.reason is Reason.DEADLINE_EXCEEDED and kept.revision.status.startswith("pending"):
            self.store.set_status(kept, "failed")

    def _state(self, pod: _Pod, kept: Kept) -> PodState:
        owner = self._wants(kept).workload(pod.workload)
        if owner is None or owner.template.digest != pod.digest:
            return PodState(ready=pod.age >= _ROUNDS, known=pod.age >= _ROUNDS, restarts=pod.restarts)
        script = self._script(kept, owner)
        if script in _TROUBLES and pod.age >= 1:
            reason, message = _TROUBLES[script]
            restarts = pod.age if script in {"oom", "crash"} else 0
            return PodState(False, True, reason, f"{owner.template.containers[0].name}: {message}", restarts)
        grown = pod.age >= (_SLOW_ROUNDS if script == "slow" else _ROUNDS)
        if owner.kind == "Job" and grown:
            return PodState(False, True, completed=True)
        reason = Reason.NONE if grown else Reason.STARTING
        return PodState(grown, grown, reason, restarts=pod.restarts)

    def _script(self, kept: Kept, owner: Workload) -> str:
        for manifest in kept.manifests:
            if f"{manifest.kind}/{manifest.name}" == owner.key:
                body = (
                    manifest.body
                    if owner.kind == "Pod"
                    else mapping(mapping(manifest.body.get("spec")).get("template"))
                )
                return str(mapping(mapping(body.get("metadata")).get("annotations")).get(SIMULATE) or "")
        return ""

    def _wants(self, kept: Kept) -> Wanted:
        key = (*kept.key, kept.revision.number)
        if key not in self._wanted:
            self._wanted[key] = translate(kept.manifests, kept.namespace, kept.images)[0]
        return self._wanted[key]

    def _event(self, kept: Kept, kind: str, reason: str, pod: _Pod, message: str) -> None:
        self.store.event(*kept.key, kind, reason, f"Pod/{pod.name}", message)

    def halt(self) -> None:
        with self._lock:
            self._running.clear()

    def close(self) -> None:
        self.store.close()
