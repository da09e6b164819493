"""Check `manual-data-protection`, which a person answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Field, Kind, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class ManualDataProtection(Check):
    """A person has judged which personal data of subscribers the application handles, and on what ground."""

    name = "manual-data-protection"
    title = say("Personal data are accounted for")
    reason = say("At the edge an application sees the traffic of people.")
    kind = Kind.MANUAL
    group = "legal"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    form = (
        Field("data", "Personal data that it handles", help="none, or which"),
        Field("ground", "Legal ground", kind="choice", choices=("none needed", "consent", "contract", "law", "other")),
        Field("acceptable", "The handling is acceptable", kind="yes-no"),
        Field("assessment", "Assessment", kind="file", required=False),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        raise Skip(say("A person answers it"))
        yield  # pragma: no cover
