"""A check that misbehaves: KeepsOn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class KeepsOn(Check):
    """Misbehaves."""

    name = "keeps-on"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        os.write(3, b'{"done": true}\n')
        while True:
            time.sleep(1)
        yield Progress(1)
