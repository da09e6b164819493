"""Check `rules-referenced`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class RulesReferenced(Check):
    """Rules that an offered service names are there."""

    name = "rules-referenced"
    title = say("Services name rules that exist")
    reason = say("A service whose rule is missing cannot be reached.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        present = {
            "dnsRuleIdList": {str(each.get("dnsRuleId")) for each in subject.descriptor.get("appDNSRule") or ()},
            "trafficRuleIdList": {
                str(each.get("trafficRuleId")) for each in subject.descriptor.get("appTrafficRule") or ()
            },
        }
        for number, service in enumerate(subject.descriptor.get("appServiceProduced") or ()):
            for member, known in present.items():
                for name in service.get(member) or ():
                    if str(name) not in known:
                        place = f"appServiceProduced[{number}].{member}"
                        yield support.error(
                            "rule-unknown",
                            place,
                            say("There is no rule {name}", name=repr(str(name)[:80])),
                            say("Add or drop it"),
                        )
