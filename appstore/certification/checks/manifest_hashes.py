"""Check `manifest-hashes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("manifest-hash-missing", "manifest-algorithm", "manifest-no-digests")


class ManifestHashes(Check):
    """Every `Source` has a digest of an algorithm that is not broken."""

    name = "manifest-hashes"
    title = say("Every listed file has a strong digest")
    reason = say("A file without a digest can be exchanged unseen.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, *_CODES))
