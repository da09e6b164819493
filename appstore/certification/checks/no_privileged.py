"""Check `no-privileged`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class NoPrivileged(Check):
    """Edge nodes are shared, so no container may own its host."""

    name = "no-privileged"
    title = say("No container is privileged")
    reason = say("A privileged container reads and changes everything on its node.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            if each.security.get("privileged"):
                yield support.beyond(
                    tools, "privileged", each.place, say("It runs privileged"), say("Remove privileged")
                )
