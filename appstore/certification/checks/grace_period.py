"""Check `grace-period`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class GracePeriod(Check):
    """Kubernetes gives pods at least the time to finish that the descriptor asks for (MEC 010-2, 6.2.1.2)."""

    name = "grace-period"
    title = say("It has time to say goodbye")
    reason = say("Otherwise it is killed before it has confirmed its termination.")
    group = "lifecycle"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART, Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        wanted = int(subject.descriptor.get("gracefulTerminationTimeout") or 0)
        for place, pod, _ in support.pods(tools, hooks=False):
            given = pod.get("terminationGracePeriodSeconds", 30)
            if isinstance(given, int) and given < wanted:
                message = say(
                    "Kubernetes waits {given} s, the descriptor asks for {wanted} s", given=given, wanted=wanted
                )
                yield support.error("grace-too-short", place, message, say("Raise terminationGracePeriodSeconds"))
