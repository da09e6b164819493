"""A check that misbehaves: Sees."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Sees(Check):
    """Misbehaves."""

    name = "sees"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield Finding(Level.INFO, "environment", "", ",".join(sorted(os.environ)))
        try:
            yield Finding(
                Level.INFO, "handles", "", ",".join(sorted(path.name for path in Path("/proc/self/fd").iterdir()))
            )
        except OSError:
            yield Finding(Level.INFO, "handles", "", "")
        yield Finding(Level.INFO, "modules", "", ",".join(sorted({name.split(".")[0] for name in sys.modules})))
        yield Finding(Level.INFO, "user", "", str(os.getuid()))
        yield Finding(Level.INFO, "subject", "", f"{subject.name} {len(tools.archive().names())}")
