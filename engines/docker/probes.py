"""Startup, liveness and readiness probes: when each is due, what its answers mean, and asking without blocking."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from core.errors import BreakwaterError
from core.words import say
from engines.docker.loop import LoopThread
from engines.docker.seen import Health
from engines.pods.wanted import Container, Probe

#: Until its first success a probe is asked this often at least: an app that is up should not wait for its period.
EAGER = 1.0
#: A container without a readiness probe counts as ready once it has lived this long.
SETTLE = 1.0

#: Runs a command in a container (id, command, seconds) and returns its exit code.
Run = Callable[[str, tuple[str, ...], float], int]


@dataclass
class Count:
    """The answers of one probe so far: `passing` after enough successes, `failing` after enough failures."""

    probe: Probe
    began: float
    due: float = 0.0
    good: int = 0
    bad: int = 0
    passing: bool = False
    failing: bool = False
    message: str = ""
    asked: Future[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.due = self.began + self.probe.delay

    def answer(self, problem: str, now: float) -> None:
        """Take one answer, empty for success, and set when to ask again."""
        self.message = problem
        if problem:
            self.good, self.bad = 0, self.bad + 1
            if self.bad >= self.probe.failures:
                self.passing, self.failing = False, True
        else:
            self.good, self.bad = self.good + 1, 0
            if self.good >= self.probe.successes:
                self.passing, self.failing = True, False
        self.due = now + (self.probe.period if self.passing else min(self.probe.period, EAGER))


class Watch:
    """The probes of one run of one container."""

    def __init__(self, container: Container, now: float, settle: float = SETTLE) -> None:
        self.container, self.began, self.settle = container, now, settle
        self.startup = Count(container.startup, now) if container.startup else None
        self.liveness: Count | None = None
        self.readiness: Count | None = None
        self._begun(now)

    def _begun(self, now: float) -> None:
        if self.startup is None or self.startup.passing:
            if self.container.liveness and self.liveness is None:
                self.liveness = Count(self.container.liveness, now)
            if self.container.readiness and self.readiness is None:
                self.readiness = Count(self.container.readiness, now)

    def due(self, now: float) -> list[Count]:
        """Return the probes to ask now; liveness and readiness wait for startup, as in Kubernetes."""
        if self.startup is not None and not self.startup.passing:
            counts = [self.startup]
        else:
            self._begun(now)
            counts = [count for count in (self.liveness, self.readiness) if count is not None]
        return [count for count in counts if count.asked is None and now >= count.due]

    def health(self, now: float) -> Health:
        """Return what the answers so far say."""
        startup = self.startup
        if startup is not None and not startup.passing:
            # Asked more often than its period, a startup probe fails by time, not by count.
            allowed = startup.probe.delay + startup.probe.period * startup.probe.failures
            late = now - self.began > allowed
            told = say("startup probe failed: {message}", message=startup.message) if startup.message else ""
            return Health(ready=False, known=late, must_die=late, message=told)
        if self.liveness is not None and self.liveness.failing:
            return Health(
                ready=False,
                must_die=True,
                message=say("liveness probe failed: {message}", message=self.liveness.message),
            )
        if self.readiness is not None:
            told = (
                say("readiness probe failed: {message}", message=self.readiness.message)
                if self.readiness.message
                else ""
            )
            known = self.readiness.passing or self.readiness.failing
            return Health(ready=self.readiness.passing, known=known, message=told)
        lived = now - self.began >= self.settle
        return Health(ready=lived, known=lived)


class Prober:
    """Asks the probes of many containers; `watch` never blocks."""

    def __init__(self, loop: LoopThread, executor: Executor, run: Run) -> None:
        self._loop, self._executor, self._run = loop, executor, run
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()

    def watch(self, container_id: str, container: Container, address: str, settle: float = SETTLE) -> Health:
        """Take in answers, ask what is due, and return the health as known now."""
        now = time.monotonic()
        with self._lock:
            watch = self._watches.get(container_id)
            if watch is None:
                watch = self._watches[container_id] = Watch(container, now, settle)
            for count in (watch.startup, watch.liveness, watch.readiness):
                if count is not None and count.asked is not None and count.asked.done():
                    asked, count.asked = count.asked, None
                    count.answer(_outcome(asked), now)
            for count in watch.due(now):
                count.asked = self._ask(count.probe, container_id, address)
            return watch.health(now)

    def health(self, container_id: str) -> Health | None:
        """Return the health of a container that is watched, asking nothing."""
        with self._lock:
            watch = self._watches.get(container_id)
            return watch.health(time.monotonic()) if watch else None

    def forget(self, container_id: str) -> None:
        """Begin anew with this container: it was stopped or started again."""
        with self._lock:
            self._watches.pop(container_id, None)

    def keep_only(self, container_ids: set[str]) -> None:
        """Forget every container that is not among these."""
        with self._lock:
            for gone in set(self._watches) - container_ids:
                del self._watches[gone]

    def _ask(self, probe: Probe, container_id: str, address: str) -> Future[str]:
        if probe.kind == "exec":
            return self._executor.submit(self._exec, probe, container_id)
        asking = _http if probe.kind == "http" else _tcp
        return self._loop.submit(_bounded(asking(probe, address), probe.timeout))

    def _exec(self, probe: Probe, container_id: str) -> str:
        try:
            code = self._run(container_id, probe.command, probe.timeout)
        except BreakwaterError as problem:
            return problem.detail
        if code == 0:
            return ""
        command = probe.command[0] if probe.command else say("command")
        return say("{command} ended with exit code {code}", command=command, code=code)


def _outcome(asked: Future[str]) -> str:
    if asked.cancelled():
        return say("was not asked")
    problem = asked.exception()
    return asked.result() if problem is None else say("could not be asked: {name}", name=type(problem).__name__)


async def _bounded(asking: Awaitable[str], timeout: float) -> str:
    try:
        return await asyncio.wait_for(asking, timeout)
    except TimeoutError:
        return say("no answer within {timeout} s", timeout=format(timeout, "g"))
    except OSError as problem:
        return problem.strerror or type(problem).__name__
    except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return say("the answer is no HTTP")


async def _tcp(probe: Probe, address: str) -> str:
    _, writer = await asyncio.open_connection(address, probe.port)
    writer.close()
    return ""


async def _http(probe: Probe, address: str) -> str:
    context = None
    if probe.scheme == "https":
        # A probe asks the pod itself, whose certificate names something else; Kubernetes does not check it either.
        context = ssl._create_unverified_context()  # noqa: S323
    reader, writer = await asyncio.open_connection(address, probe.port, ssl=context)
    try:
        headers = dict(probe.headers)
        headers.setdefault("Host", f"{address}:{probe.port}")
        lines = [
            f"GET {_clean(probe.path)} HTTP/1.1",
            "User-Agent: breakwater-probe",
            "Accept: */*",
            "Connection: close",
        ]
        lines += [f"{_clean(name)}: {_clean(value, keep_spaces=True)}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        first = (await reader.readline()).decode("latin-1").split(None, 2)
        if len(first) < 2 or not first[0].startswith("HTTP/"):
            return say("the answer is no HTTP")
        status = int(first[1])
        return "" if 200 <= status < 400 else say("HTTP status {status}", status=status)
    finally:
        writer.close()


def _clean(text: str, *, keep_spaces: bool = False) -> str:
    """Return the text without what would end a line of HTTP."""
    text = text.replace("\r", "").replace("\n", "")
    return text if keep_spaces else text.replace(" ", "%20")
