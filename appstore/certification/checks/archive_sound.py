"""Check `archive-sound`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = (
    "archive-*",
    "broken-*",
    "member-*",
    "unsafe-*",
    "duplicate-*",
    "compression-bomb",
    "crc-mismatch",
    "digest-mismatch",
    "hidden-*",
    "not-*",
    "too-*",
    "name-*",
    "encrypted-*",
    "path-*",
    "prepended-*",
    "trailing-*",
    "yaml-bomb",
    "document-too-large",
)


class ArchiveSound(Check):
    """The archive has no trick: paths that lead outside, links, duplicate names, lying headers, bombs, trailing bytes."""

    name = "archive-sound"
    title = say("The archive hides nothing")
    reason = say("Two readers that see two different packages are how tampered packages get through.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield from support.raised(support.told(subject, *_CODES))
