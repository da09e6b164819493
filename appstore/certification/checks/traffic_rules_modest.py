"""Check `traffic-rules-modest`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say

_ANY = frozenset({"0.0.0.0/0", "::/0", "any"})
_NARROWING = (
    "srcPort",
    "dstPort",
    "tag",
    "uri",
    "packetLabel",
    "tgtTunnelAddress",
    "srcTunnelAddress",
    "dSCP",
    "qCI",
    "tC",
)


class TrafficRulesModest(Check):
    """Traffic rules say whose traffic they take: none takes all traffic of all subscribers."""

    name = "traffic-rules-modest"
    title = say("Traffic rules take no more than they need")
    reason = say("A filter that fits to everything takes the internet from every subscriber of the site.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        rules = list(subject.descriptor.get("appTrafficRule") or ())
        if not rules:
            raise Skip(say("It has no traffic rule"))
        for number, rule in enumerate(rules):
            place = f"appTrafficRule[{number}]"
            for filter_ in rule.get("trafficFilter") or ():
                if _takes_everything(filter_) and rule.get("action") != "PASSTHROUGH":
                    message = say("It would {action} the traffic of everybody to everywhere", action=rule.get("action"))
                    yield support.error("traffic-everything", place, message, say("Give it addresses or ports"))
            if rule.get("action") == "DROP":
                yield support.warning(
                    "traffic-drop", place, say("It drops traffic of subscribers"), say("The operator must agree")
                )
        seen: dict[str, int] = {}
        for number, rule in enumerate(rules):
            key = json.dumps([rule.get("trafficFilter"), rule.get("priority")], sort_keys=True)
            if key in seen:
                message = say("It has filter and priority of appTrafficRule[{seen}]", seen=seen[key])
                yield support.warning(
                    "traffic-ambiguous", f"appTrafficRule[{number}]", message, say("Give it another priority")
                )
            seen.setdefault(key, number)


def _takes_everything(filter_: Mapping[str, Any]) -> bool:
    """Return whether a filter leaves nothing out (MEC 011, 7.1.5.3: members are AND-ed, absent ones fit to all)."""
    if any(filter_.get(name) for name in _NARROWING):
        return False
    for name in ("srcAddress", "dstAddress"):
        addresses = {str(each).lower() for each in filter_.get(name) or ()}
        if addresses and not addresses & _ANY:
            return False
    return not {str(each).upper() for each in filter_.get("protocol") or ()} - {"ANY"}
