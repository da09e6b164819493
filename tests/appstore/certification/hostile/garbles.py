"""A check that misbehaves: Garbles."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Garbles(Check):
    """Misbehaves."""

    name = "garbles"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        os.write(3, b"\xff\xfe{]\n")
        time.sleep(20)
        yield Progress(1)
