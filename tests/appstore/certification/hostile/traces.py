"""A check that misbehaves: Traces."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Traces(Check):
    """Misbehaves."""

    name = "traces"
    title = "Misbehaves"
    reason = "A test."

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        libc = ctypes.CDLL(None, use_errno=True)
        for pid in options["pids"]:
            if libc.ptrace(16, pid, 0, 0) == 0:
                yield Finding(Level.ERROR, "traced", str(pid), "It could be traced")
        for flags in (0x10000000, 0x20000, 0x40000000):
            if libc.unshare(flags) == 0:
                yield Finding(Level.ERROR, "unshared", hex(flags), "A way back to privileges")
        if libc.mount(b"none", b"/own", b"tmpfs", 0, None) == 0:
            yield Finding(Level.ERROR, "mounted", "/tmp", "It could mount")
        try:
            os.setuid(0)
            if options["root"]:
                yield Finding(Level.ERROR, "root", "", "It became root")
        except OSError:
            yield Finding(Level.INFO, "no-root", "", "It did not become root")
