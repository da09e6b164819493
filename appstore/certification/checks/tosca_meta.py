"""Check `tosca-meta`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

_CODES = ("tosca-meta-missing", "tosca-meta-invalid", "listed-member-missing")


class ToscaMeta(Check):
    """TOSCA.meta is there and its Entry-Definitions leads to a file (NFV-SOL 004, 4.1.2)."""

    name = "tosca-meta"
    title = say("TOSCA.meta leads to the descriptor")
    reason = say("It is where every reader begins.")
    group = "packaging"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.WHOLE})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        support.csar_only(subject)
        yield from support.raised(support.told(subject, *_CODES))
