"""The loop that makes things so: one worker for a key at a time, woken by change or by the clock.

It knows no kinds. For each there is one `step(key)`, which looks at the present wish, does what is next without
waiting for anything, and returns in how many seconds it wants to look again (None: when woken).
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from django.db import close_old_connections

from mep.agent.store import Key

logger = logging.getLogger("breakwater.agent")

Step = Callable[[str], float | None]

#: Steps that may run at once; none of them waits for the centre.
THREADS = 8
#: After a step broke in a way that nobody foresaw.
STUMBLED = 5.0


class Reconciler:
    """Runs the steps; `wake` may be called from any thread and for any key, as often as one likes."""

    def __init__(self, kinds: Mapping[str, Step], otherwise: Callable[[str, str], float | None]) -> None:
        self.kinds, self.otherwise = kinds, otherwise
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = itertools.count()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._change = threading.Condition()
        self._stopped = False
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="apply")
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self, keys: Iterable[Key]) -> None:
        """Begin with every key there is."""
        for key in keys:
            self.wake(key)
        self._thread.start()

    def wake(self, key: Key, delay: float = 0.0) -> None:
        """Look at `key` in `delay` seconds, or when the step that runs for it now has ended."""
        at = time.monotonic() + delay
        with self._change:
            if key in self._running:
                self._again.add(key)
                return
            if key in self._due and self._due[key] <= at:
                return
            self._due[key] = at
            heapq.heappush(self._heap, (at, next(self._count), key))
            self._change.notify()

    def stop(self, timeout: float = 10.0) -> None:
        """Begin no more steps and wait for those that run."""
        with self._change:
            self._stopped = True
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while True:
            with self._change:
                key = self._next()
                if self._stopped:
                    return
                if key is None:
                    left = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._change.wait(None if left is None else max(left, 0.0))
                    continue
                self._running.add(key)
            self._pool.submit(self._step, key)

    def _next(self) -> Key | None:
        """Take the key that is due, if there is one; call with the lock held."""
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:  # else it was brought forward meanwhile, or is a leftover
                del self._due[key]
                return key
        return None

    def _step(self, key: Key) -> None:
        delay: float | None = STUMBLED
        try:
            delay = self._do(key)
        except Exception:
            logger.exception("%s %s: this step broke and is tried again", *key)
        finally:
            close_old_connections()
            with self._change:
                self._running.discard(key)
                woken = key in self._again
                self._again.discard(key)
            if woken:
                self.wake(key)
            elif delay is not None:
                self.wake(key, delay)

    def _do(self, key: Key) -> float | None:
        kind, name = key
        step = self.kinds.get(kind)
        return step(name) if step else self.otherwise(kind, name)
