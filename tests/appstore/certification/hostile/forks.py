"""A check that misbehaves: Forks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Forks(Check):
    """Misbehaves."""

    name = "forks"
    title = "Misbehaves"
    reason = "A test."
    seconds = 1.5

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.01)
        yield Progress(1)
