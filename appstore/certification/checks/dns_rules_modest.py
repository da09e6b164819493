"""Check `dns-rules-modest`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class DnsRulesModest(Check):
    """DNS rules are about names of the application, not about a whole domain of the internet."""

    name = "dns-rules-modest"
    title = say("DNS rules take no name of others")
    reason = say("A rule for a name of somebody else steals its traffic.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})
    options = (Option("protected", [], "domains that no application may take names of, such as the operator's own"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        rules = list(subject.descriptor.get("appDNSRule") or ())
        if not rules:
            raise Skip(say("It has no DNS rule"))
        protected = [str(each).lower().strip(".") for each in options["protected"]]
        names: dict[str, set[str]] = {}
        for number, rule in enumerate(rules):
            place, name = f"appDNSRule[{number}]", str(rule.get("domainName") or "").lower().rstrip(".")
            if name.startswith("*") or "." not in name:
                yield support.error(
                    "dns-too-wide",
                    place,
                    say("{name} is more than one name of an application", name=repr(name[:80])),
                    say("Name it"),
                )
            for each in protected:
                if name == each or name.endswith(f".{each}"):
                    yield support.error(
                        "dns-protected",
                        place,
                        say("{name} belongs to {each}", name=repr(name[:80]), each=each),
                        say("Use another name"),
                    )
            if rule.get("ttl") is not None and int(rule["ttl"]) > 3600:
                message = say("Its answers are kept for {ttl} s, also after the application has moved", ttl=rule["ttl"])
                yield support.warning("dns-ttl-long", place, message, say("Use 300 s or less"))
            names.setdefault(f"{name} {rule.get('ipAddressType')}", set()).add(str(rule.get("ipAddress")))
        for name, addresses in sorted(names.items()):
            if len(addresses) > 1:
                yield support.warning(
                    "dns-contradiction", name, say("It has several addresses by several rules"), say("Keep one rule")
                )
