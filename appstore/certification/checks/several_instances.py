"""Check `several-instances`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

#: The release name under which charts are rendered for certification.
_RELEASE = "certification"


class SeveralInstances(Check):
    """Two releases of the chart fit side by side: the names of its objects hold the name of the release."""

    name = "several-instances"
    title = say("It can be installed twice")
    reason = say("Two tenants want the same application on one node.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.manifests(tools):
            if _RELEASE not in each.name and each.kind != "Namespace":
                place = f"{each.kind}/{each.name}"
                remedy = say("Begin the name with {{{{ .Release.Name }}}}")
                yield support.warning("name-fixed", place, say("Its name is the same for every release"), remedy)
