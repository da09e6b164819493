"""Check `manual-virus-scan`, which a person answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Field, Kind, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class ManualVirusScan(Check):
    """A virus scanner of the certifier has looked at the package and its images."""

    name = "manual-virus-scan"
    title = say("Scanned for viruses")
    reason = say("The certifier has the scanner and its licence; the store has neither.")
    kind = Kind.MANUAL
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    form = (
        Field("scanner", "Scanner and version of its signatures"),
        Field("scanned_on", "Day of the scan", help="2026-05-01"),
        Field("clean", "Nothing was found", kind="yes-no"),
        Field("report", "Report of the scanner", kind="file"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        raise Skip(say("A person answers it"))
        yield  # pragma: no cover
