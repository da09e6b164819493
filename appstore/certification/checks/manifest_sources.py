"""Check `manifest-sources`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("manifest-source-missing", "manifest-duplicate", "listed-member-missing")


class ManifestSources(Check):
    """Every `Source` of the manifest is in the package, once."""

    name = "manifest-sources"
    title = say("Every file that the manifest lists is there")
    reason = say("A package that lost a file on its way fails on the node, when it is too late.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST, Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, *_CODES))
