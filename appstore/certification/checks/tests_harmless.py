"""Check `tests-harmless`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from appstore.contents.permissions import permissions_of
from core.findings import Finding
from core.words import say


class TestsHarmless(Check):
    """The tests of a chart (`helm test`) ask for no more than every container may do."""

    name = "tests-harmless"
    title = say("Its tests ask for nothing")
    reason = say("No node here runs them, but whoever takes the chart elsewhere may, with rights of their own.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        found = support.tests(tools)
        if not found:
            raise Skip(say("The chart has no tests"))
        for each in permissions_of([hook.manifest for hook in found], "certification"):
            place, message = f"{each.place} (test)", say("A test {words}", words=each.words)
            if each.severity == "high":
                yield support.beyond(tools, "test-asks", place, message, say("Let the test do without"))
            elif each.severity == "medium":
                yield support.warning("test-asks", place, message, say("Let the test do without"))
