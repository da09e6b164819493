"""Check `read-only-root`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ReadOnlyRoot(Check):
    """The root file system of a container is read-only."""

    name = "read-only-root"
    title = say("The root file system is read-only")
    reason = say("Who breaks in cannot leave anything behind there.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            if each.security.get("readOnlyRootFilesystem") is not True:
                remedy = say("Set readOnlyRootFilesystem: true and mount an emptyDir where it writes")
                yield support.info("root-writable", each.place, say("Its root file system can be written"), remedy)
