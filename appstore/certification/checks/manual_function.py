"""Check `manual-function`, which a person answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Field, Kind, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class ManualFunction(Check):
    """A person has used the application and found that it does what its description says."""

    name = "manual-function"
    title = say("It does what it says")
    reason = say("No machine knows what it is meant to do.")
    kind = Kind.MANUAL
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    form = (
        Field("tried", "What was tried, step by step"),
        Field("works", "It does what its description says", kind="yes-no"),
        Field("evidence", "Screenshots or recording", kind="file", required=False),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        raise Skip(say("A person answers it"))
        yield  # pragma: no cover
