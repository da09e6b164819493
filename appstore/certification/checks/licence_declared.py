"""Check `licence-declared`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class LicenceDeclared(Check):
    """The package says under which licence it may be used, as an SPDX expression."""

    name = "licence-declared"
    title = say("A licence is declared")
    reason = say("Without one nobody may run it.")
    group = "legal"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DOCUMENTS, Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        licences = [str(each) for each in subject.contents.get("licences") or ()]
        if not licences:
            remedy = say("Add the annotation artifacthub.io/license, or a LICENSE file")
            yield support.error("licence-missing", "", say("No licence is declared"), remedy)
