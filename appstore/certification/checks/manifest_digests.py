"""Check `manifest-digests`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("manifest-hash-mismatch", "image-checksum")


class ManifestDigests(Check):
    """The digests of the manifest are those of the files."""

    name = "manifest-digests"
    title = say("The digests fit to the files")
    reason = say("A digest that differs means damage or tampering.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST, Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, *_CODES))
