"""Check `package-size`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class PackageSize(Check):
    """The file is not larger than the operator takes."""

    name = "package-size"
    title = say("The package is not too large")
    reason = say("Backhaul to an edge site is thin, and its disk small.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    options = (Option("gib", 5, "GiB that the package file may take"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        found, most = subject.path.stat().st_size, int(float(options["gib"]) * (1 << 30))
        if found > most:
            yield support.error(
                "package-size",
                "",
                say("It has {found} bytes; {most} are taken", found=found, most=most),
                say("Leave out what it does not need"),
            )
