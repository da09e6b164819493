"""Check `manifest-at-root`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ManifestAtRoot(Check):
    """Exactly one manifest lies at the top of the archive (NFV-SOL 004 V3.3.1, 4.3.1)."""

    name = "manifest-at-root"
    title = say("The manifest lies at the top of the package")
    reason = say("A reader that does not find the manifest checks no digest and no signature.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.MANIFEST})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        found = [name for name in tools.archive().members if "/" not in name and name.lower().endswith(".mf")]
        if not found:
            yield support.error(
                "manifest-not-at-root", "", say("There is no .mf file at the top"), say("Do not pack a wrapper folder")
            )
        for extra in found[1:]:
            yield support.error("manifest-several", extra, say("There is more than one manifest"), say("Keep one"))
