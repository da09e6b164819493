"""Check `descriptor-valid`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("appd-*", "rule-*", "tosca-*", "service-*", "feature-*")


class DescriptorValid(Check):
    """The application descriptor follows MEC 010-2 and its rules MEC 011."""

    name = "descriptor-valid"
    title = say("The application descriptor is valid")
    reason = say("What the platform cannot read it cannot set up: services, names and traffic stay undone.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        yield from support.raised(support.told(subject, *_CODES))
