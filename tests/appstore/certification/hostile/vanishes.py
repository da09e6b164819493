"""A check that misbehaves: Vanishes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding


class Vanishes(Check):
    """Misbehaves."""

    name = "vanishes"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Progress(1)
        os._exit(0)
