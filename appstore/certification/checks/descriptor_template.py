"""Check `descriptor-template`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class DescriptorTemplate(Check):
    """The APPD holds a TOSCA service template as YAML (EdgeGallery: APPD/Definition)."""

    name = "descriptor-template"
    title = say("The descriptor is a TOSCA service template")
    reason = say("Without it the application has no services, rules and needs.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, "appd-missing", "bad-yaml", "not-text", "tosca-invalid"))
        if not subject.descriptor.get("appName"):
            yield support.error(
                "appd-mandatory", "appName", say("The descriptor gives the application no name"), say("Add appName")
            )
