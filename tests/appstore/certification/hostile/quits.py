"""A check that misbehaves: Quits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Quits(Check):
    """Misbehaves."""

    name = "quits"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Progress(1)
        sys.exit(0)
