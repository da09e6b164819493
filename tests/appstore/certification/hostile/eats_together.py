"""A check that misbehaves: EatsTogether."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class EatsTogether(Check):
    """Misbehaves."""

    name = "eats-together"
    title = "Misbehaves"
    reason = "A test."
    memory_mib = 96
    seconds = 15.0

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for _ in range(12):
            if os.fork() == 0:
                kept = bytearray(os.urandom(1 << 20) * 40)
                time.sleep(60)
                os._exit(len(kept) % 7)
        time.sleep(30)
        yield Progress(50)
