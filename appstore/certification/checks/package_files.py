"""Check `package-files`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class PackageFiles(Check):
    """There are not more files than a reader should have to handle."""

    name = "package-files"
    title = say("The package has not too many files")
    reason = say("Very many files are a way to exhaust a reader.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    options = (Option("files", 1024, "files that the package may hold"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        found, most = len(tools.archive().members), int(options["files"])
        if found > most:
            yield support.error(
                "package-files",
                "",
                say("It has {found} files; {most} are taken", found=found, most=most),
                say("Leave out what it does not need"),
            )
