"""Transactions in a line: the kernel works on one while the next is made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue

from upf_adapter.nftables import netlink as nl


class Line:
    """Carries out transactions one after the other, each on the ruleset that the one before left.

    A large one goes to a thread of its own, because the kernel needs no interpreter while it works.
    """

    def __init__(self, kernel: nl.Kernel, generation: int) -> None:
        self._kernel, self._generation = kernel, generation
        self._waiting: SimpleQueue[Sequence[bytes] | threading.Event | None] = SimpleQueue()
        self._behind: list[Sequence[bytes]] = []
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None
        self._open = 0

    @property
    def idle(self) -> bool:
        """Return whether the kernel waits for more."""
        return not self._open

    def put(self, messages: Sequence[bytes], *, large: bool = False) -> None:
        """Have it done, after everything that was put before; what goes wrong in the thread is raised by `end`."""
        if not messages:
            return
        if self._thread is None and large:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        if self._thread is None:
            self._do(messages)
        else:
            self._open += 1
            self._waiting.put(messages)

    def put_behind(self, messages: Sequence[bytes]) -> None:
        """Have it done in the end; with a thread, nobody waits for it before `finish`."""
        if self._thread is None:
            self.put(messages)
        elif messages:
            self._behind.append(messages)

    def end(self) -> int:
        """Wait for all but what was put behind, and return the generation of the ruleset when that is done as well.

        Raises what went wrong, and then nothing after that was done.
        """
        if self._thread is not None:
            reached = threading.Event()
            self._waiting.put(reached)
            reached.wait()
        generation = self._generation
        for messages in self._behind:
            self._waiting.put(messages)
            generation = _next(generation)
        self._waiting.put(None)
        if self._problem is not None:
            raise self._problem
        return generation

    def finish(self) -> None:
        """Wait for what was put behind; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
        if self._problem is not None:
            raise self._problem

    def _work(self) -> None:
        while (what := self._waiting.get()) is not None:
            if isinstance(what, threading.Event):
                what.set()
            elif self._problem is None:
                try:
                    self._do(what)
                except Exception as problem:
                    self._problem = problem
                # Only a hint: an addition that is lost between two threads makes parts smaller or larger, never wrong.
                self._open -= 1

    def _do(self, messages: Sequence[bytes]) -> None:
        self._kernel.commit(messages, self._generation)
        self._generation = _next(self._generation)


def _next(generation: int) -> int:
    return generation % 0xFFFFFFFF + 1
