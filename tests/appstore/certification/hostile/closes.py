"""A check that misbehaves: Closes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Closes(Check):
    """Misbehaves."""

    name = "closes"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        os.close(3)
        time.sleep(600)
        yield Progress(1)
