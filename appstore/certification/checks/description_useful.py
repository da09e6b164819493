"""Check `description-useful`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class DescriptionUseful(Check):
    """The description is a sentence, and not the name once more."""

    name = "description-useful"
    title = say("The description says something")
    reason = say("It is all that people see in the catalogue.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})
    options = (Option("characters", 20, "the least that counts as a sentence"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        text = str(subject.descriptor.get("appDescription") or "").strip()
        if len(text) < int(options["characters"]) or text.lower() == subject.name.lower():
            remedy = say("Say in a sentence what it does")
            yield support.warning("description-poor", "appDescription", say("The description says nothing"), remedy)
