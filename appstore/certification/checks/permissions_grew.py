"""Check `permissions-grew`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class PermissionsGrew(Check):
    """A new release does not ask for more than the one before without saying why."""

    name = "permissions-grew"
    title = say("Permissions did not grow unnoticed")
    reason = say("An update is the quietest way to gain rights.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        if subject.previous is None:
            raise Skip(say("There is no earlier release"))
        before = {(row.get("code"), row.get("value")) for row in subject.previous.get("permissions") or ()}
        for row in subject.contents.get("permissions") or ():
            if (row.get("code"), row.get("value")) in before:
                continue
            code, words = str(row.get("code"))[:40], str(row.get("words"))[:200]
            if row.get("severity") == "high":
                yield support.beyond(
                    tools,
                    code,
                    str(row.get("place"))[:120],
                    say("New in this release: {words}", words=words),
                    say("Remove it"),
                )
            else:
                yield support.warning(
                    "permission-new", str(row.get("place"))[:120], say("New in this release: {words}", words=words)
                )
