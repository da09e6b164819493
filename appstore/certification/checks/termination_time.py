"""Check `termination-time`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding


class TerminationTime(Check):
    """The time to finish that the descriptor asks for is neither nothing nor for ever."""

    name = "termination-time"
    title = "The time to finish is reasonable"
    reason = "An operator who must free a node cannot wait an hour."
    group = "lifecycle"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})
    options = (Option("seconds", 300, "the longest time that is granted"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        asked = int(subject.descriptor.get("gracefulTerminationTimeout") or 0)
        most = int(options["seconds"])
        if asked > most:
            message = f"It asks for {asked} s to finish; {most} s are granted"
            yield support.error("termination-long", "gracefulTerminationTimeout", message, "Ask for less")
