"""Check `termination-time`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class TerminationTime(Check):
    """The time to finish that the descriptor asks for is neither nothing nor for ever."""

    name = "termination-time"
    title = say("The time to finish is reasonable")
    reason = say("An operator who must free a node cannot wait an hour.")
    group = "lifecycle"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})
    options = (Option("seconds", 300, "the longest time that is granted"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        asked = int(subject.descriptor.get("gracefulTerminationTimeout") or 0)
        most = int(options["seconds"])
        if asked > most:
            message = say("It asks for {asked} s to finish; {most} s are granted", asked=asked, most=most)
            yield support.error("termination-long", "gracefulTerminationTimeout", message, say("Ask for less"))
