"""Check `known-vulnerabilities`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification import advisories
from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Skip, Subject, Tools
from core.findings import Finding


class KnownVulnerabilities(Check):
    """No component of the SBOM has a known weakness of the given severity, by an advisory database without network."""

    name = "known-vulnerabilities"
    title = "No known weakness"
    reason = "What everybody knows how to break is broken first."
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.IMAGES, Part.CHART, Part.WHOLE})
    options = (
        Option("severity", "high", "from this severity on it fails", ("low", "medium", "high", "critical")),
        Option("ignored", [], "advisories that were judged and do not count, by id or alias"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        components = [each for each in subject.contents.get("components") or () if each.get("purl")]
        if subject.advisories is None:
            raise Skip("The operator has given no advisory database")
        if not components:
            raise Skip("The package has no component that is known by a package URL")
        ignored = {str(each) for each in options["ignored"]}
        gate = advisories.SEVERITIES.index(str(options["severity"]))
        yield Progress(10, f"{len(components)} components are looked up")
        for hit in advisories.search(subject.advisories, components):
            if hit.id in ignored or ignored & set(hit.aliases):
                continue
            fatal = advisories.SEVERITIES.index(hit.severity) >= gate
            finding = support.error if fatal else support.warning
            remedy = f"Update to {hit.fixed}" if hit.fixed else "There is no corrected version yet"
            message = f"{hit.component} {hit.version} has {hit.id} ({hit.severity}): {hit.summary[:160]}"
            yield finding("vulnerable", hit.place, message, remedy)
