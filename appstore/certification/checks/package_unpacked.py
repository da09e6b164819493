"""Check `package-unpacked`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class PackageUnpacked(Check):
    """Unpacked it is not larger than the operator takes."""

    name = "package-unpacked"
    title = say("The package does not unpack to too much")
    reason = say("A small file that unpacks to very much fills a disk.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    options = (Option("gib", 10, "GiB that all members may take unpacked"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        found, most = (
            sum(member.size for member in tools.archive().members.values()),
            int(float(options["gib"]) * (1 << 30)),
        )
        if found > most:
            yield support.error(
                "package-unpacked",
                "",
                say("It has {found} bytes unpacked; {most} are taken", found=found, most=most),
                say("Leave out what it does not need"),
            )
