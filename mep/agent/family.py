"""A small family of processes: one parent that starts its children again, and takes them along when it goes."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger("breakwater.edge")

#: prctl(2): the kernel sends this signal to a child whose parent died, however it died.
PR_SET_PDEATHSIG = 1
#: A child that lived this long counts as well, so that its next death is its first.
STEADY = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
#: Children get this long to end before they are killed.
FAREWELL = 25.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """One member: what it runs, and how it fares."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    again_at: float = 0.0


@dataclass
class Family:
    """Runs children side by side until `stop`; call `run` in the main thread.

    The death signal comes when the *thread* that started a child ends, so everything is started by the caller of `run`.
    """

    children: list[Child]
    environment: dict[str, str] | None = None
    farewell: float = FAREWELL
    clock: Callable[[], float] = time.monotonic
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Start all, start again who dies, and end all on SIGTERM or SIGINT."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())
        # A child's death ends the wait below at once.
        wakeful, pipe = os.pipe()
        os.set_blocking(pipe, False)
        os.set_blocking(wakeful, False)
        before = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while not self._stopping.is_set():
                self.look()
                _wait(wakeful, 0.5)
        finally:
            signal.set_wakeup_fd(before)
            os.close(wakeful)
            os.close(pipe)
            self.end()

    def stop(self) -> None:
        """Ask `run` to end; safe in a signal handler."""
        self._stopping.set()

    def look(self) -> None:
        """Start every child that does not run and whose pause is over."""
        now = self.clock()
        for child in self.children:
            if child.process is not None:
                code = child.process.poll()
                if code is None:
                    continue
                child.process = None
                child.deaths = 1 if now - child.started_at > STEADY else child.deaths + 1
                child.again_at = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (child.deaths - 1))
                logger.error("%s ended with %s; it starts again in %.1f s", child.name, code, child.again_at - now)
            if now >= child.again_at:
                self._start(child, now)

    def end(self) -> None:
        """End all children: politely, then by force."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self.farewell
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("process %d did not end and is killed", process.pid)
                process.kill()
                process.wait()

    def _start(self, child: Child, now: float) -> None:
        parent = os.getpid()

        def tie() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            # The parent may have died before that line.
            if os.getppid() != parent:
                os._exit(1)

        child.process = subprocess.Popen(child.command, env=self.environment, preexec_fn=tie, start_new_session=True)
        child.started_at = now
        logger.info("%s runs as process %d", child.name, child.process.pid)


def _wait(pipe: int, seconds: float) -> None:
    if select.select([pipe], [], [], seconds)[0]:
        os.read(pipe, 4096)
