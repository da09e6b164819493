"""The docker engine: charts rendered by Helm, run through the Docker Engine API. It is not Kubernetes.

The wish lies in SQLite, the truth in the container runtime; `supervise` compares the two and does what is missing.
So it does not matter where the process died before.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from core.errors import BreakwaterError, Invalid, Unavailable
from core.findings import Finding, Level
from core.words import say
from engines.contract import (
    Capacity,
    Engine,
    EngineSettings,
    Event,
    LogLine,
    Plan,
    Reason,
    Release,
    ReleaseStatus,
    Revision,
)
from engines.docker import netns
from engines.docker.daemon import Daemon
from engines.docker.doors import Doors, needs_mapping
from engines.docker.files import Files, root_for
from engines.docker.keeper import Keeper, Memory
from engines.docker.logs import read_logs
from engines.docker.loop import LoopThread
from engines.docker.probes import Prober
from engines.docker.proxy import Proxies
from engines.docker.rounds import Rounds
from engines.docker.seen import Fate
from engines.helm import Rendered, helm
from engines.helm.hooks import not_run
from engines.helm.port import check_names
from engines.limits import Isolation, Limits
from engines.planning import compute_of, host_findings, images_of
from engines.pods.findings import kind_findings
from engines.pods.limits import limit_findings, memory_of
from engines.pods.translate import translate
from engines.releases import check_owners, refuse, roll_back, wish_digest
from engines.store import Store

#: How long `remove` waits for containers to go before it leaves the rest to `supervise`.
REMOVE_SECONDS = 5.0
#: Nobody gets more time than this to say goodbye when the node halts.
HALT_GRACE = 5


class DockerEngine(Engine):
    """Runs releases on one machine through dockerd or podman's compatible socket."""

    name: ClassVar[str] = "docker"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        if settings.state_dir is None:
            raise Invalid(say("The docker engine needs a state_dir for its release history"))
        self.helm = helm(settings.helm)
        self.daemon = Daemon(settings.socket)
        self.store = Store(settings.state_dir)
        self.files = Files(root_for(settings.state_dir))
        fates = {key: Fate(row[0], 0, 0.0, Reason(row[1]), row[2]) for key, row in self.store.fates().items()}
        memory = Memory(fates=fates)
        self.keeper = Keeper(settings, self.daemon, self.store, self.files, memory)
        self._loop = LoopThread()
        self._workers = ThreadPoolExecutor(max_workers=12, thread_name_prefix="engine-pods")
        self._askers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="engine-probes")
        self._proxies = Proxies(self._loop)
        self.rounds = Rounds(
            settings=settings,
            daemon=self.daemon,
            store=self.store,
            keeper=self.keeper,
            prober=Prober(self._loop, self._askers, self.daemon.run),
            doors=Doors(self.daemon, self.store, self._proxies),
            workers=self._workers,
        )
        self._changing = threading.RLock()
        self._closed = False

    def ping(self) -> str:
        return self.daemon.version()

    def capacity(self) -> Capacity:
        info = self.daemon.info()
        storage = 0
        with contextlib.suppress(OSError):  # the daemon's folder may lie where we cannot look
            storage = shutil.disk_usage(str(info.get("DockerRootDir") or "")).total
        return Capacity(int(info.get("NCPU") or 0) * 1000, int(info.get("MemTotal") or 0), storage)

    def isolation(self) -> Isolation:
        return Isolation("enforced", "a network for each tenant")

    def limits(self) -> Limits:
        limits = self.settings.limits
        return limits if self.daemon.sizes_disk() else replace(limits, disk=0)

    # Changing

    def plan(self, chart: Path, values: Mapping[str, Any], *, name: str = "plan", namespace: str = "default") -> Plan:
        return self._plan(self.helm.render(chart, values, name=name, namespace=namespace), namespace, {})

    def _plan(self, rendered: Rendered, namespace: str, images: Mapping[str, str], taken: int = 0) -> Plan:
        manifests = rendered.manifests
        wanted, findings = translate(manifests, namespace, images)
        findings = [*kind_findings(manifests, namespace), *host_findings(manifests), *findings]
        findings += not_run(rendered.hooks, rendered.crds)
        findings += limit_findings(wanted, self.settings.limits, taken)
        if not netns.possible():
            findings += [
                Finding(
                    Level.ERROR,
                    "service-port-mapping",
                    workload.key,
                    say("a Service leads to another port of these pods, which only an engine run by root can do"),
                    say("make port and targetPort the same"),
                )
                for workload in needs_mapping(wanted)
            ]
        return Plan(manifests, tuple(findings), compute_of(manifests), images_of(manifests))

    def apply(self, release: Release) -> Revision:
        try:
            return self._apply(release)
        finally:
            self.store.claim_images(release.images.values())
            self.rounds.untidy = True

    def _apply(self, release: Release) -> Revision:
        check_names(release.name, release.namespace)
        digest = wish_digest(release)
        with self._changing:
            current = self.store.current(release.namespace, release.name)
            if current is not None and current.leaving:
                raise Unavailable(
                    say("{name} is still being removed; apply it again when it is gone", name=release.name)
                )
            if current is not None and current.digest == digest and current.revision.generation == release.generation:
                self._nudge()
                return current.revision
            rendered = self.helm.render(release.chart, release.values, name=release.name, namespace=release.namespace)
            taken = self._taken(release)
            refuse(self._plan(rendered, release.namespace, release.images, taken))
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
            self.rounds.rewrite_files(kept)
        self._nudge()
        return kept.revision

    def _taken(self, release: Release) -> int:
        """Return how much memory the tenant's other releases may use, where that is bounded."""
        if not self.settings.limits.tenant_memory:
            return 0
        return sum(
            memory_of(self.rounds.wanted(kept).workloads, self.settings.limits)
            for kept in self.store.releases()
            if kept.namespace == release.namespace and kept.name != release.name
        )

    def rollback(self, name: str, namespace: str, revision: int | None = None, *, generation: int = 0) -> Revision:
        with self._changing:
            kept = roll_back(self.store, namespace, name, revision, generation)
            self.rounds.rewrite_files(kept)
        self._nudge()
        return kept.revision

    def remove(self, name: str, namespace: str) -> None:
        with self._changing:
            known = self.store.leave(namespace, name)
        deadline = time.monotonic() + REMOVE_SECONDS
        while known and time.monotonic() < deadline:
            self.supervise()
            if self.store.current(namespace, name) is None:
                return
            time.sleep(0.05)

    def _nudge(self) -> None:
        # The wish is on disk; if the runtime does not answer now, the next round does the work.
        with contextlib.suppress(BreakwaterError):
            self.supervise()

    def load_image(self, archive: Path) -> dict[str, str]:
        return self.keeper.images.load(archive)

    # Looking

    def status(self, name: str, namespace: str) -> ReleaseStatus:
        return self.rounds.status(namespace, name)

    def releases(self) -> list[tuple[str, str]]:
        return sorted(kept.key for kept in self.store.releases())

    def history(self, name: str, namespace: str) -> list[Revision]:
        return [kept.revision for kept in self.store.revisions(namespace, name)]

    def logs(self, name: str, namespace: str, *, workload: str = "", tail: int = 200) -> list[LogLine]:
        labels = self.keeper.labels(namespace=namespace, release=name)
        return read_logs(self.daemon, labels, workload=workload, tail=tail)

    def events(self, name: str, namespace: str, *, limit: int = 100) -> list[Event]:
        return self.store.events(namespace, name, limit)

    # Keeping it so

    def supervise(self) -> None:
        if not self._closed:
            self.rounds.once()

    def halt(self) -> None:
        self.rounds.halt(HALT_GRACE)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.rounds.stop()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._proxies.close()
        self._loop.close()
        self.store.close()
        self.daemon.close()
