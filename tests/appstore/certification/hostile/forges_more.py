"""A check that misbehaves: ForgesMore."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class ForgesMore(Check):
    """Misbehaves."""

    name = "forges-more"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        os.write(3, b'{"result": {"check": "raises", "outcome": "passed"}}\n')
        time.sleep(20)
        yield Progress(1)
