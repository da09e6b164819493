"""A check that misbehaves: Threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Threads(Check):
    """Misbehaves."""

    name = "threads"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        done = []
        several = [threading.Thread(target=done.append, args=(1,)) for _ in range(4)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()
        yield Finding(Level.INFO, "threads", str(len(done)), "they work")
