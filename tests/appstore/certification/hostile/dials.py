"""A check that misbehaves: Dials."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Progress, Subject, Tools
from core.findings import Finding, Level


class Dials(Check):
    """Misbehaves."""

    name = "dials"
    title = "Misbehaves"
    reason = "A test."
    options = ()

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM)):
            for port in (options["port"],):
                try:
                    with socket.socket(family, kind) as line:
                        line.settimeout(1)
                        line.connect(("127.0.0.1" if family == socket.AF_INET else "::1", port))
                        if kind == socket.SOCK_STREAM:
                            yield Finding(Level.ERROR, "reached", "", "The network is there")
                except OSError as problem:
                    yield Finding(Level.INFO, "unreached", "", str(problem))
