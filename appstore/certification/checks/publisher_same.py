"""Check `publisher-same`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class PublisherSame(Check):
    """The release comes from whom the releases before came from."""

    name = "publisher-same"
    title = say("The publisher did not change")
    reason = say("A stolen account publishes an update, too.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.SIGNATURE, Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        before = str((subject.previous or {}).get("signer") or "")
        now = str(subject.signature.get("fingerprint") or "")
        if subject.previous is None or not before:
            raise Skip(say("There is no earlier signed release"))
        if now != before:
            message = (
                say("The release before was signed with another certificate")
                if now
                else say("The release before was signed")
            )
            yield support.warning("signer-changed", "", message, say("Make sure that it is the same publisher"))
