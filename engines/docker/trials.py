"""Trials on the docker engine: figures of the daemon, kills without a word, and a search by labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import engines.trials as trials
from core.errors import Conflict, Invalid, Missing
from core.words import say
from engines.docker.engine import DockerEngine
from engines.docker.seen import HOLDER, PREFIX
from engines.docker.seen import pods as pods_in
from engines.trials import Request, Trials, Usage

#: Between the two looks of the first question, in seconds; and after so long an earlier look says nothing about now.
FIRST_SPAN, STALE = 0.4, 60.0
EVENTS = 200


class DockerTrials(Trials[DockerEngine]):
    """One node, asked directly."""

    def __init__(self, engine: DockerEngine) -> None:
        super().__init__(engine)
        #: CPU seconds of each container at its last look.
        self._looks: dict[str, tuple[float, float]] = {}

    def usage(self, name: str, namespace: str) -> list[Usage]:
        running = self._running(name, namespace)
        now = time.monotonic()
        fresh = [each for each in running if now - self._looks.get(each, (-STALE, 0.0))[0] >= STALE]
        for container in fresh:
            self._cpu_millis(container, self._stats(container))
        if fresh:
            time.sleep(FIRST_SPAN)
        killed = self._out_of_memory(name, namespace)
        return [self._usage_of(container, pod, own, killed) for container, (pod, own) in running.items()]

    def kill(self, name: str, namespace: str) -> list[str]:
        killed = []
        for container, (pod, own) in self._running(name, namespace).items():
            try:
                self.engine.daemon.kill(container)
            except (Missing, Conflict):  # it ended by itself meanwhile
                continue
            killed.append(f"{pod}/{own}")
        return killed

    def ask(self, name: str, namespace: str, request: Request) -> dict[str, Any]:
        kept = self.engine.store.current(namespace, name)
        if kept is None:
            raise Missing(say("There is no release {name}", name=name))
        wanted = self.engine.rounds.wanted(kept)
        services = [each for each in wanted.services if any(port.port == request.port for port in each.ports)]
        if not services:
            raise Invalid(say("No Service of the application has port {port}", port=request.port), field="port")
        labels = self.engine.keeper.labels(namespace=namespace, release=name)
        for pod in pods_in(self.engine.daemon.containers(labels)).values():
            owner = self.engine.rounds.owner(pod)
            if pod.address and owner is not None and any(each.selects(owner.template.labels) for each in services):
                return trials.answer_of(pod.address, request.port, request)
        return {"connected": False, "problem": "no pod stands behind the Service now"}

    def leftovers(self, name: str, namespace: str) -> list[str]:
        labels, daemon = self.engine.keeper.labels(namespace=namespace), self.engine.daemon
        found = [f"container {_name(each)}" for each in daemon.containers(labels)]
        found += [f"network {each.get('Name')}" for each in daemon.networks(labels)]
        found += [f"volume {each}" for each in daemon.volumes(labels)]
        found += [f"release {each}" for space, each in self.engine.releases() if space == namespace]
        root = self.engine.files.root
        if root.exists():
            found += [f"files {path.name}" for path in sorted(root.glob(f"*{namespace}*"))]
        return found

    def _running(self, name: str, namespace: str) -> dict[str, tuple[str, str]]:
        """Return pod and name of each running container of the release, by its id."""
        labels = self.engine.keeper.labels(namespace=namespace, release=name)
        found = {}
        for each in self.engine.daemon.containers(labels):
            own = each.get("Labels") or {}
            container = str(own.get(PREFIX + "container", ""))
            if container != HOLDER and each.get("State") == "running":
                found[str(each["Id"])] = (str(own.get(PREFIX + "pod", "")), container)
        return found

    def _usage_of(self, container: str, pod: str, own: str, killed: Mapping[str, int]) -> Usage:
        stats = self._stats(container)
        try:
            host = self.engine.daemon.inspect(container).get("HostConfig") or {}
        except Missing:
            host = {}
        return Usage(
            pod=pod,
            container=own,
            memory_bytes=_memory(stats),
            memory_limit=int(host.get("Memory") or 0),
            cpu_millis=self._cpu_millis(container, stats),
            cpu_limit=int(host.get("NanoCpus") or 0) // 1_000_000,
            out_of_memory=killed.get(f"{pod}/{own}", 0),
        )

    def _stats(self, container: str) -> Mapping[str, Any]:
        try:
            return self.engine.daemon.stats(container)
        except (Missing, Conflict):  # it has just ended
            return {}

    def _cpu_millis(self, container: str, stats: Mapping[str, Any]) -> int:
        used = float(((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0) / 1e9
        now = time.monotonic()
        before = self._looks.get(container)
        self._looks = {key: look for key, look in self._looks.items() if now - look[0] < STALE}
        self._looks[container] = (now, used)
        if before is None or used < before[1] or now <= before[0]:
            return 0
        return round((used - before[1]) / (now - before[0]) * 1000)

    def _out_of_memory(self, name: str, namespace: str) -> dict[str, int]:
        """Return how often each container was killed for its memory; the event outlives the container's next start."""
        found: dict[str, int] = {}
        for event in self.engine.events(name, namespace, limit=EVENTS):
            if event.reason == "OOMKilled":
                container = event.message.removeprefix("Container ").partition(" ")[0]
                key = f"{event.object.removeprefix('Pod/')}/{container}"
                found[key] = found.get(key, 0) + max(1, event.count)
        return found


def _memory(stats: Mapping[str, Any]) -> int:
    """Return the working set: what is charged without the file cache that the kernel would give back."""
    memory = cast("Mapping[str, Any]", stats.get("memory_stats") or {})
    details = memory.get("stats") or {}
    cache = int(details.get("inactive_file") or details.get("total_inactive_file") or 0)
    return max(0, int(memory.get("usage") or 0) - cache)


def _name(entry: Mapping[str, Any]) -> str:
    names = entry.get("Names") or [str(entry.get("Id", ""))[:12]]
    return str(names[0]).lstrip("/")
