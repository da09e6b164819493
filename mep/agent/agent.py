"""The agent process: apps first, the centre afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import signal
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections

import engines
from core.errors import BreakwaterError
from core.frames import named_blobs
from engines.applier import Applier
from engines.contract import Engine, EngineSettings
from engines.limits import Limits
from mep.agent import identity, recalls, store
from mep.agent.blobs import Blobs, Fetcher
from mep.agent.kinds import Apps, LogWatches, Orphans, RuleWishes, unsupported, unwished
from mep.agent.link import Link
from mep.agent.port import LocalMep
from mep.agent.recalls import Recalls
from mep.agent.reconciler import Reconciler
from mep.agent.reports import Reporter, about_node
from mep.agent.trials import Sandboxes, Trials
from mep.mp1 import services as mp1

logger = logging.getLogger("breakwater.agent")

#: Seconds between two rounds of the engine, two looks at the MEP, at the node, and at files nobody needs.
SUPERVISE_EVERY, MEP_EVERY, MEP_WHOLE_EVERY, NODE_EVERY, COLLECT_EVERY = 0.5, 1.0, 10.0, 60.0, 60.0
#: Seconds between two tellings of what rules have counted.
COUNTS_EVERY = 15.0


class Agent:
    """Everything that the process runs, wired together."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.reporter = Reporter()
        self.blobs = Blobs(folder / "blobs")
        self.fetcher = Fetcher(self.blobs, lambda: identity.load(self.identity_folder))
        applier = Applier(engine, LocalMep(), self.blobs.path)
        self.recalls = Recalls(self.reporter, self._centre, self._wake_apps)
        apps = Apps(
            applier,
            self.blobs,
            self.fetcher,
            self.reporter,
            wake=lambda key: self.reconciler.wake(("app", key)),
            stops=self.recalls.stops,
        )
        watches = LogWatches(applier, self.reporter)
        kinds = {
            "app": apps.step,
            "logWatch": watches.step,
            recalls.KIND: self.recalls.step,
            RuleWishes.KIND: RuleWishes(self.reporter).step,
            "sandbox": Sandboxes(self.reporter).step,
            Orphans.KIND: Orphans(engine, self.reporter, self._look_at_node).step,
        }
        # The kind `trial` needs the link, and the link tells the centre which kinds there are.
        self.link = Link(
            self.identity_folder,
            wake=lambda key: self.reconciler.wake(key),
            caps=sorted([*kinds, "trial"]),
            digest_every=settings.DIGEST_EVERY,
            longest_pause=settings.LINK_PAUSE,
        )
        kinds["trial"] = Trials(engine, self.reporter, self.link).step
        self.reconciler = Reconciler(kinds, unsupported(self.reporter))
        self.reporter.poke = self.link.poke
        self._stopped, self._node_due = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._supervise, name="supervise", daemon=True),
            threading.Thread(target=self._look_around, name="look-around", daemon=True),
        ]

    @property
    def identity_folder(self) -> Path:
        """Where the node's key and certificate lie."""
        return self.folder / "identity"

    def run(self, *, join: str = "", halt: bool = False) -> None:
        """Serve until SIGTERM or SIGINT. Apps start from the store before any socket to the centre is opened."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())
        self.start()
        if join:
            threading.Thread(target=self._join, args=(join,), name="join", daemon=True).start()
        try:
            asyncio.run(self.link.run())
        finally:
            self.close(halt=halt)

    def start(self) -> None:
        """Start what keeps apps running; needs nothing but this machine."""
        wished = store.keys()
        logger.info("starting with %d wishes from the store", len(wished))
        # A list that came just before the process ended is in force before anything is started.
        for kind, key in wished:
            if kind == recalls.KIND:
                self.recalls.step(key)
        self.reconciler.start(wished)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the process to end; safe in a signal handler."""
        self._stopped.set()
        self.link.stop()

    def close(self, *, halt: bool = False) -> None:
        """End the threads; workloads go on running unless `halt`."""
        self._stopped.set()
        self.fetcher.stop()
        self.reconciler.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
        try:
            if halt:
                self.engine.halt()
        finally:
            self.engine.close()

    def _centre(self) -> str:
        """Return by what our centre is known; empty before we joined one."""
        mine = identity.load(self.identity_folder)
        return recalls.mark_of(mine.ca_pem) if mine else ""

    def _look_at_node(self) -> None:
        self._node_due.set()

    def _wake_apps(self) -> None:
        for wish in store.keys():  # noqa: SIM118 - a module's function, no mapping
            if wish[0] == "app":
                self.reconciler.wake(wish)

    def _join(self, join: str) -> None:
        """Enrol with a join string that was not used here before; it replaces the identity that the node has."""
        mark = hashlib.sha256(join.encode()).hexdigest()
        tries = 0
        while not self._stopped.is_set():
            try:
                if identity.load(self.identity_folder) is not None and store.joined_with() == mark:
                    return
                joined = identity.enrol(identity.Join.read(join), self.identity_folder)
                store.remember_join(mark)
                logger.info("this node joined %s as %s", joined.base_url, joined.node_id)
                return
            except BreakwaterError as problem:
                logger.error("joining failed: %s", problem.detail)
                if not problem.retryable:
                    return
            finally:
                close_old_connections()
            tries += 1
            self._stopped.wait(min(5.0, 0.3 * 2**tries))

    def _supervise(self) -> None:
        """Do the engine's rounds (probes, restarts) about twice a second."""
        while not self._stopped.wait(SUPERVISE_EVERY):
            try:
                self.engine.supervise()
            except BreakwaterError as problem:
                logger.warning("the engine cannot look after its apps: %s", problem.detail)
                self._stopped.wait(2)
            except Exception:
                logger.exception("the engine's round broke")
                self._stopped.wait(2)

    def _look_around(self) -> None:
        """Report the node and its MEP when they change, and remove files that nobody needs."""
        seen, whole_at, node_at, counts_at = "", 0.0, 0.0, 0.0
        collect_at = time.monotonic() + COLLECT_EVERY
        while not self._stopped.is_set():
            now = time.monotonic()
            try:
                if now >= node_at or self._node_due.is_set():
                    self._node_due.clear()
                    node_at = now + NODE_EVERY
                    told = about_node(self.engine, settings.ENGINE, unwished)
                    if self.reporter.say("node", "self", 0, told) and told["unwished"]:
                        logger.warning("nobody wishes for what runs here as %s", ", ".join(told["unwished"]))
                version = mp1.snapshot_version()
                if version != seen or now >= whole_at:
                    seen, whole_at = version, now + MEP_WHOLE_EVERY
                    self.reporter.say("mep", "state", 0, mp1.snapshot())
                if now >= counts_at:
                    counts_at = now + COUNTS_EVERY
                    self.reporter.say("mep", "counters", 0, {"rules": mp1.counted()}, ttl=COUNTS_EVERY)
                if now >= collect_at:
                    collect_at = now + COLLECT_EVERY
                    self.blobs.collect(needed_files())
            except Exception:
                logger.exception("looking around the node broke")
            finally:
                close_old_connections()
            self._stopped.wait(MEP_EVERY)


def needed_files() -> set[str]:
    """Return the digests of every file that some wish names."""
    return {digest for wish in store.wishes() if not wish.deleted for digest in named_blobs(wish.spec)}


def make_engine(folder: Path) -> Engine:
    """Return the engine that this node's settings name."""
    kubeconfig = settings.ENGINE_KUBECONFIG
    return engines.registry.get(settings.ENGINE)(
        EngineSettings(
            name=settings.NODE_NAME,
            state_dir=folder / "engine",
            socket=settings.ENGINE_SOCKET,
            kubeconfig=kubeconfig.read_text() if kubeconfig else "",
            helm=settings.ENGINE_HELM,
            progress_deadline=settings.PROGRESS_DEADLINE,
            internal_networks=settings.INTERNAL_NETWORKS,
            limits=Limits(
                memory=settings.CONTAINER_MEMORY,
                pids=settings.CONTAINER_PIDS,
                disk=settings.CONTAINER_DISK,
                log=settings.CONTAINER_LOG,
                container_memory=settings.CONTAINER_MEMORY_MOST,
                tenant_memory=settings.TENANT_MEMORY_MOST,
            ),
            pod_networks=tuple(settings.POD_NETWORKS),
            ue_networks=tuple(settings.UE_NETWORKS),
        )
    )


def make_agent() -> Agent:
    """Return the agent of this node."""
    folder = Path(settings.VAR)
    return Agent(make_engine(folder), folder)
