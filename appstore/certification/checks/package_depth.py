"""Check `package-depth`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class PackageDepth(Check):
    """Folders are not nested deeper than readers handle."""

    name = "package-depth"
    title = say("Folders are not nested too deep")
    reason = say("Some readers recurse by folder.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    options = (Option("depth", 10, "folders above one another"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        found, most = max((name.count("/") for name in tools.archive().members), default=0), int(options["depth"])
        if found > most:
            yield support.error(
                "package-depth",
                "",
                say("It has {found} folders above one another; {most} are taken", found=found, most=most),
                say("Leave out what it does not need"),
            )
