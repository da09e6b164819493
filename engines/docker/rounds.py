"""One round of supervision: look at what runs, decide, and let workers act. A round never waits for a container."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from datetime import UTC, datetime

from core.errors import BreakwaterError
from core.words import say
from engines.contract import Endpoint, EngineSettings, Reason, ReleaseStatus, State, WorkloadStatus
from engines.docker import decide, seen
from engines.docker.daemon import Daemon
from engines.docker.doors import LOOPBACK, Doors, InsideKey, OutsideKey, exposed, mapped
from engines.docker.keeper import Keeper
from engines.docker.probes import SETTLE, Prober
from engines.docker.proxy import Backend
from engines.docker.seen import Pod, PodKey
from engines.docker.status import pod_state
from engines.pods import rollout
from engines.pods.status import PodState, facts, overall, workload_status
from engines.pods.translate import translate
from engines.pods.wanted import ServicePort, Wanted, Workload
from engines.store import Kept, Store

DEFAULT_GRACE = 10

log = logging.getLogger(__name__)


class Rounds:
    """Compares the wish in the store with the containers that are there, again and again."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        daemon: Daemon,
        store: Store,
        keeper: Keeper,
        prober: Prober,
        doors: Doors,
        workers: Executor,
    ) -> None:
        self.settings, self.daemon, self.store = settings, daemon, store
        self.keeper, self.prober, self.doors, self.workers = keeper, prober, doors, workers
        self.memory = keeper.memory
        self._round = threading.Lock()
        self._jobs: dict[PodKey, Future[None]] = {}
        self._wanted: dict[tuple[str, str, int], Wanted] = {}
        self._owners: dict[tuple[str, str, str, str], Workload] = {}
        self._stopped = False
        #: Whether images may be there that nothing needs any more.
        self.untidy = True

    # What is wanted

    def wanted(self, kept: Kept) -> Wanted:
        """Return what a revision wants to run."""
        key = (*kept.key, kept.revision.number)
        if key not in self._wanted:
            made, _ = translate(kept.manifests, kept.namespace, kept.images)
            self._wanted[key] = made
            for workload in made.workloads:
                self._owners[(*kept.key, workload.key, workload.template.digest)] = workload
        return self._wanted[key]

    def owner(self, pod: Pod) -> Workload | None:
        """Return the workload, of whatever revision, that made this pod."""
        key = (pod.namespace, pod.release, pod.workload, pod.digest)
        if key not in self._owners:
            with contextlib.suppress(BreakwaterError):
                for kept in self.store.revisions(pod.namespace, pod.release):
                    self.wanted(kept)
        return self._owners.get(key)

    def _look(self, **labels: str) -> dict[PodKey, Pod]:
        return seen.pods(self.daemon.containers(self.keeper.labels(**labels)))

    # A round

    def once(self) -> None:
        """Do one round; when another thread is at it, that is enough."""
        if self._stopped or not self._round.acquire(blocking=False):
            return
        try:
            self._once()
        finally:
            self._round.release()

    def _once(self) -> None:
        self._reap()
        # Taken before looking: what a worker changes meanwhile is left to the next round.
        busy = set(self._jobs)
        pods = self._look()
        kept = self.store.releases()
        finished = self.store.finished()
        outside: dict[OutsideKey, tuple[ServicePort, Sequence[Backend]]] = {}
        inside: dict[InsideKey, tuple[Pod, int]] = {}
        for release in kept:
            mine = [pod for pod in pods.values() if (pod.namespace, pod.release) == release.key]
            if release.leaving:
                self._let_go(release, mine, busy)
                continue
            states = {pod.name: self._judge(pod, busy) for pod in mine}
            self._keep(release, mine, states, finished, busy)
            self._ports(release, mine, states, outside, inside)
        known = {release.key for release in kept}
        for pod in pods.values():
            if (pod.namespace, pod.release) not in known and pod.key not in busy:
                # Of a release that was forgotten with our disk: it ends as politely as any other.
                self._submit(pod.key, self.keeper.take, pod, DEFAULT_GRACE)
        self.prober.keep_only({each.id for pod in pods.values() for each in pod.members.values()})
        self.doors.sync(outside, inside)
        if self.untidy:
            self.untidy = False
            self.workers.submit(self._sweep_images)

    def _sweep_images(self) -> None:
        try:
            self.keeper.images.sweep()
        except BreakwaterError as problem:
            log.warning("images that nobody needs are left for later: %s", problem.detail)

    def _reap(self) -> None:
        for key, job in list(self._jobs.items()):
            if not job.done():
                continue
            del self._jobs[key]
            problem = job.exception()
            if problem is None:
                continue
            # The next round tries again; the person must be able to see why it is needed.
            told = problem.detail if isinstance(problem, BreakwaterError) else f"internal: {type(problem).__name__}"
            if not isinstance(problem, BreakwaterError):
                log.error("work on pod %s/%s/%s failed", *key, exc_info=problem)
            self.store.event(key[0], key[1], "Warning", "Failed", f"Pod/{key[2]}", told)

    def _submit(self, key: PodKey, work: Callable[..., None], *given: object) -> None:
        if key not in self._jobs and not self._stopped:
            self._jobs[key] = self.workers.submit(work, *given)

    def _judge(self, pod: Pod, busy: set[PodKey]) -> PodState:
        """Ask the pod's probes and return its state; a container that must die is stopped."""
        owner = self.owner(pod)
        if owner is None:
            running = bool(pod.members) and all(each.state == "running" for each in pod.members.values())
            return PodState(running, known=False)
        for container in owner.template.containers:
            member = pod.members.get(container.name)
            if member is None:
                continue
            if member.state != "running" or not pod.address:
                self.prober.forget(member.id)
                continue
            level = self.memory.fate(pod.key, container.name).level
            settle = max(SETTLE, min(30.0, decide.pause_before_restart(level, self.settings.restart_backoff)))
            told = self.prober.watch(member.id, container, pod.address, settle)
            if told.must_die and pod.key not in busy:
                self.prober.forget(member.id)
                grace = owner.template.grace
                self._submit(pod.key, self.keeper.kill, pod, container.name, told.message, grace)
        return self._state(pod, owner)

    def _state(self, pod: Pod, owner: Workload) -> PodState:
        return pod_state(
            owner.template,
            pod,
            self.memory.exits,
            lambda name: self.memory.fate(pod.key, name),
            self.prober.health,
        )

    def _keep(
        self,
        release: Kept,
        mine: Sequence[Pod],
        states: Mapping[str, PodState],
        finished: set[tuple[str, str, str, str]],
        busy: set[PodKey],
    ) -> None:
        wanted = self.wanted(release)
        present = {pod.name for pod in mine}
        taken: set[str] = set()
        for workload in wanted.workloads:
            own = [pod for pod in mine if pod.workload == workload.key]
            done = self._done(release, workload, own, states, finished)
            change = rollout.change(workload, facts(own, states))
            for name in change.make:
                key = (*release.key, name)
                if name not in present and name not in done and key not in busy:
                    fresh = Pod(*key, workload.key, workload.template.digest)
                    self._submit(key, self.keeper.advance, workload, fresh)
            taken.update(change.take)
        for pod in mine:
            if pod.key in busy:
                continue
            owner = self.owner(pod)
            if pod.name in taken or wanted.workload(pod.workload) is None or owner is None:
                self._submit(pod.key, self.keeper.take, pod, owner.template.grace if owner else DEFAULT_GRACE)
            elif decide.next_steps(*self.keeper.circumstances(owner, pod)):
                self._submit(pod.key, self.keeper.advance, owner, pod)
        self._mark(release, self._statuses(release, wanted, mine, states, finished))

    def _done(
        self,
        release: Kept,
        workload: Workload,
        own: Sequence[Pod],
        states: Mapping[str, PodState],
        finished: set[tuple[str, str, str, str]],
    ) -> set[str]:
        """Return the names of pods that ended well and need not run again; remember them for Jobs."""
        digest = workload.template.digest
        done = {name for name in rollout.pod_names(workload) if (*release.key, name, digest) in finished}
        for pod in own:
            if pod.digest == digest and states[pod.name].completed and workload.kind in {"Job", "Pod"}:
                done.add(pod.name)
                if (*release.key, pod.name, digest) not in finished:
                    self.store.set_finished((*release.key, pod.name, digest))
        return done

    def _statuses(
        self,
        release: Kept,
        wanted: Wanted,
        mine: Sequence[Pod],
        states: Mapping[str, PodState],
        finished: set[tuple[str, str, str, str]],
    ) -> list[WorkloadStatus]:
        age = (datetime.now(UTC) - release.revision.created_at).total_seconds()
        found = []
        for workload in wanted.workloads:
            own = [pod for pod in mine if pod.workload == workload.key]
            digest = workload.template.digest
            done = {name for name in rollout.pod_names(workload) if (*release.key, name, digest) in finished}
            done |= {
                pod.name
                for pod in own
                if pod.digest == digest and states[pod.name].completed and workload.kind in {"Job", "Pod"}
            }
            late = age > min(self.settings.progress_deadline, workload.deadline or self.settings.progress_deadline)
            found.append(workload_status(workload, own, states, done, late))
        return found

    def _mark(self, release: Kept, statuses: Sequence[WorkloadStatus]) -> None:
        """Say `deployed` when all is ready for the first time, `failed` when the time for that is over."""
        state, reason, message = overall(statuses)
        status = release.revision.status
        if state is State.READY and status != "deployed":
            self.store.set_status(release, "deployed", ready=True)
            self._event(
                release, "Normal", "Deployed", say("Revision {number} is ready", number=release.revision.number)
            )
        elif reason is Reason.DEADLINE_EXCEEDED and status.startswith("pending"):
            self.store.set_status(release, "failed")
            self._event(release, "Warning", str(reason), message)

    def _event(self, release: Kept, kind: str, reason: str, message: str) -> None:
        self.store.event(*release.key, kind, reason, f"Release/{release.name}", message)

    def _ports(
        self,
        release: Kept,
        mine: Sequence[Pod],
        states: Mapping[str, PodState],
        outside: dict[OutsideKey, tuple[ServicePort, Sequence[Backend]]],
        inside: dict[InsideKey, tuple[Pod, int]],
    ) -> None:
        wanted = self.wanted(release)
        owned = [(pod, owner) for pod in mine if pod.address and (owner := self.owner(pod)) is not None]
        for service, port in exposed(wanted):
            outside[(*release.key, service.name, port.port)] = (
                port,
                [
                    (pod.address, owner.template.port(port.target))
                    for pod, owner in owned
                    if states[pod.name].ready and service.selects(owner.template.labels)
                ],
            )
        for pod, owner in owned:
            if pod.holder is not None and pod.holder.state == "running":
                for number, target in mapped(wanted.services, owner.template).items():
                    inside[(pod.holder.id, number)] = (pod, target)

    # Leaving

    def _let_go(self, release: Kept, mine: Sequence[Pod], busy: set[PodKey]) -> None:
        for pod in mine:
            if pod.key not in busy:
                owner = self.owner(pod)
                self._submit(pod.key, self.keeper.take, pod, owner.template.grace if owner else DEFAULT_GRACE)
        if mine or any(key[:2] == release.key for key in busy):
            return
        for volume in self.daemon.volumes(self.keeper.labels(namespace=release.namespace, release=release.name)):
            self.daemon.remove_volume(volume)
        self.keeper.files.discard_release(*release.key)
        if not any(
            other.namespace == release.namespace and other.key != release.key for other in self.store.releases()
        ):
            self.keeper.networks.remove(release.namespace)
        self.store.forget(*release.key)
        self.untidy = True
        self._drop(release.key)

    def _drop(self, key: tuple[str, str]) -> None:
        for wanted in [each for each in self._wanted if each[:2] == key]:
            del self._wanted[wanted]
        for owner in [each for each in self._owners if each[:2] == key]:
            del self._owners[owner]
        for fate in [each for each in self.memory.fates if each[:2] == key]:
            del self.memory.fates[fate]

    def halt(self, grace: int) -> None:
        """Stop and remove every container and network of this node; the wish stays."""
        with self._round:
            wait(list(self._jobs.values()), timeout=60)
            self._jobs.clear()
            pods = self._look()
            going = []
            for pod in pods.values():
                owner = self.owner(pod)
                going.append(
                    self.workers.submit(self.keeper.take, pod, min(grace, owner.template.grace) if owner else 0)
                )
            wait(going, timeout=60)
            self.doors.sync({}, {})
            for network in self.daemon.networks(self.keeper.labels()):
                self.daemon.remove_network(network["Id"])
            for release in self.store.releases():
                self.keeper.networks.forget(release.namespace)
                self.keeper.files.discard_release(*release.key)

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True
        with self._round:
            pass

    def rewrite_files(self, release: Kept) -> None:
        """Bring the files of running pods up to date: a changed ConfigMap shows without a restart, as in Kubernetes."""
        try:
            pods = self._look(namespace=release.namespace, release=release.name)
        except BreakwaterError:
            return  # files are written anyway when a pod is made
        wanted = self.wanted(release)
        for pod in pods.values():
            workload = wanted.workload(pod.workload)
            if workload is not None and workload.template.digest == pod.digest:
                self._owners[(*release.key, workload.key, pod.digest)] = workload
                self.keeper.files.write(pod.key, workload.template)

    # Looking

    def status(self, namespace: str, name: str) -> ReleaseStatus:
        """Return the state of a release from one look at the runtime and what the last rounds learnt."""
        release = self.store.current(namespace, name)
        pods = list(self._look(namespace=namespace, release=name).values())
        if release is None:
            state = State.PROGRESSING if pods else State.ABSENT
            return ReleaseStatus(name, namespace, state, message=say("being removed") if pods else "")
        number, generation = release.revision.number, release.revision.generation
        if release.leaving:
            return ReleaseStatus(name, namespace, State.PROGRESSING, number, generation, message=say("being removed"))
        wanted = self.wanted(release)
        states = {}
        for pod in pods:
            owner = self.owner(pod)
            states[pod.name] = self._state(pod, owner) if owner else PodState(False, known=False)
        found = self._statuses(release, wanted, pods, states, self.store.finished())
        # Whoever is told "ready" may count on it that this revision can be rolled back to.
        self._mark(release, found)
        state, reason, message = overall(found)
        return ReleaseStatus(
            name=name,
            namespace=namespace,
            state=state,
            revision=number,
            generation=generation,
            reason=reason,
            message=message,
            workloads=tuple(found),
            endpoints=tuple(self._endpoints(release, wanted)),
        )

    def _endpoints(self, release: Kept, wanted: Wanted) -> list[Endpoint]:
        ports = self.store.ports()
        open_now = self.doors.proxies.names()
        found = []
        for service in wanted.services:
            for port in service.ports:
                key = (*release.key, service.name, port.port)
                number = ports.get(key, 0) if service.exposed and key in open_now else 0
                found.append(
                    Endpoint(
                        service=service.name,
                        port_name=port.name,
                        protocol=port.protocol,
                        cluster_host=f"{service.name}.{release.namespace}",
                        cluster_port=port.port,
                        address=LOOPBACK if number else "",
                        port=number,
                    )
                )
        return found
