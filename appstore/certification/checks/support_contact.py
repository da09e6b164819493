"""Check `support-contact`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appstore.certification.contract import Check, Field, Kind, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class SupportContact(Check):
    """Somebody answers when the application troubles a site at night; only a person can find that out."""

    name = "support-contact"
    title = say("The provider can be reached and answers")
    reason = say("An operator who runs the application needs somebody to call.")
    group = "operation"
    kind = Kind.MANUAL
    form = (
        Field("contact", "How the provider is reached", help="a telephone number, an address or a page"),
        Field("answered", "Answered within the promised time", kind="yes-no"),
        Field("hours", "Hours until the answer", kind="number", required=False),
        Field(
            "record", "Record of the contact", kind="file", required=False, help="a letter or a page as PDF or picture"
        ),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        raise Skip(say("A person decides this"))
        yield
