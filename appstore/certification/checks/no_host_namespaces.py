"""Check `no-host-namespaces`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class NoHostNamespaces(Check):
    """No pod shares network, processes or memory of its host."""

    name = "no-host-namespaces"
    title = say("No pod enters the namespaces of its host")
    reason = say("There it sees and reaches what belongs to others.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for place, pod, _ in support.pods(tools):
            for key, code in (("hostNetwork", "host-network"), ("hostPID", "host-pid"), ("hostIPC", "host-ipc")):
                if pod.get(key):
                    yield support.beyond(
                        tools, code, place, say("It asks for {key}", key=key), say("Remove {key}", key=key)
                    )
