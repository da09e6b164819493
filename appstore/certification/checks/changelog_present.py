"""Check `changelog-present`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class ChangelogPresent(Check):
    """The release says what changed: a change log in the package, or the annotation of the chart."""

    name = "changelog-present"
    title = say("It says what changed")
    reason = say("An operator decides about an upgrade by it, above all when it mends a weakness.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DOCUMENTS, Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        archive = tools.archive()
        named = [name for name in archive.members if "changelog" in name.rsplit("/", 1)[-1].lower()]
        if any(archive.members[name].size > 8 for name in named) or subject.contents.get("changes"):
            return
        message = say("The change log is empty") if named else say("There is no change log")
        yield support.warning(
            "changelog-missing", named[0] if named else "Artifacts/ChangeLog.txt", message, say("Write one")
        )
