"""Check `no-host-path`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import items, mapping


class NoHostPath(Check):
    """No volume opens a folder of the host."""

    name = "no-host-path"
    title = say("No folder of the host is opened")
    reason = say("A folder of the host is a way out of the container.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for place, pod, _ in support.pods(tools):
            for volume in items(pod.get("volumes")):
                if "hostPath" in volume:
                    path = str(mapping(volume["hostPath"]).get("path", ""))[:120]
                    yield support.beyond(
                        tools,
                        "host-path",
                        place,
                        say("It opens {path} of the host", path=repr(path)),
                        say("Use another volume"),
                    )
