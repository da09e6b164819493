"""Check `no-privilege-escalation`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class NoPrivilegeEscalation(Check):
    """No process gains more rights than its parent has (pod security standard, restricted)."""

    name = "no-privilege-escalation"
    title = say("No privilege escalation")
    reason = say("A setuid file in the image then gives nobody root.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("strict", False, "fail when it is not forbidden, not only when it is allowed"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        finding = support.error if options["strict"] else support.warning
        for each in support.all_containers(tools):
            allowed = each.security.get("allowPrivilegeEscalation")
            if allowed is True:
                yield support.error(
                    "privilege-escalation", each.place, say("It allows privilege escalation"), say("Set it to false")
                )
            elif allowed is not False:
                remedy = say("Set allowPrivilegeEscalation: false")
                yield finding(
                    "privilege-escalation", each.place, say("It does not forbid privilege escalation"), remedy
                )
