"""Check `known-vulnerabilities`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification import advisories
from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class KnownVulnerabilities(Check):
    """No component of the SBOM has a known weakness of the given severity, by an advisory database without network."""

    name = "known-vulnerabilities"
    title = say("No known weakness")
    reason = say("What everybody knows how to break is broken first.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.IMAGES, Part.CHART, Part.WHOLE})
    options = (
        Option("severity", "high", "from this severity on it fails", ("low", "medium", "high", "critical")),
        Option("ignored", [], "advisories that were judged and do not count, by id or alias"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        components = [each for each in subject.contents.get("components") or () if each.get("purl")]
        if subject.advisories is None:
            raise Skip(say("The operator has given no advisory database"))
        if not components:
            raise Skip(say("The package has no component that is known by a package URL"))
        ignored = {str(each) for each in options["ignored"]}
        gate = advisories.SEVERITIES.index(str(options["severity"]))
        yield Progress(10, say("{components_count} components are looked up", components_count=len(components)))
        for hit in advisories.search(subject.advisories, components):
            if hit.id in ignored or ignored & set(hit.aliases):
                continue
            fatal = advisories.SEVERITIES.index(hit.severity) >= gate
            finding = support.error if fatal else support.warning
            remedy = (
                say("Update to {fixed}", fixed=hit.fixed) if hit.fixed else say("There is no corrected version yet")
            )
            message = say(
                "{component} {version} has {hit_id} ({severity}): {summary}",
                component=hit.component,
                version=hit.version,
                hit_id=hit.id,
                severity=hit.severity,
                summary=hit.summary[:160],
            )
            yield finding("vulnerable", hit.place, message, remedy)
