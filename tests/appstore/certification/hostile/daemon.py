"""A check that misbehaves: Daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Daemon(Check):
    """Misbehaves."""

    name = "daemon"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(120)
            os._exit(0)
        yield Progress(50)
