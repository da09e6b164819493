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
        self._kernel = kernel
        self._waiting: SimpleQueue[Sequence[bytes] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None
        #: Of the ruleset once all is done that was put.
        self.generation = generation

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
            self._waiting.put(messages)

    def end(self) -> None:
        """Wait for all of it; raises what went wrong, and then nothing behind that was done."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        if self._problem is not None:
            raise self._problem

    def _work(self) -> None:
        while (messages := self._waiting.get()) is not None:
            if self._problem is None:
                try:
                    self._do(messages)
                except Exception as problem:
                    self._problem = problem

    def _do(self, messages: Sequence[bytes]) -> None:
        self._kernel.commit(messages, self.generation)
        self.generation = self.generation % 0xFFFFFFFF + 1
