"""Check `manual-support`, which a person answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.contract import Check, Field, Kind, Part, Progress, Skip, Subject, Tools
from core.findings import Finding


class ManualSupport(Check):
    """The publisher has named somebody who answers, and in what time weaknesses are mended."""

    name = "manual-support"
    title = "Somebody answers for it"
    reason = "An operator needs to know whom to call at night."
    kind = Kind.MANUAL
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})
    form = (
        Field("contact", "Contact for incidents"),
        Field("hours", "Hours in which it answers"),
        Field("security_contact", "Contact for weaknesses"),
        Field("sufficient", "That is sufficient", kind="yes-no"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        raise Skip("A person answers it")
        yield  # pragma: no cover
