"""Check `manifest-complete`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("manifest-unlisted", "manifest-after-signature")


class ManifestComplete(Check):
    """No file of the package is missing from the manifest (NFV-SOL 004, 4.3.3)."""

    name = "manifest-complete"
    title = say("The manifest lists every file")
    reason = say("What is not listed is not protected by the signature.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST, Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, *_CODES))
