"""What must hold across a whole descriptor, beyond the shape of its parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from core.appd.descriptor import CONTAINER, VM, AppDescriptor
from core.findings import Finding, Level
from core.words import say

_LONGEST = {"name": 128, "provider": 128, "version": 64, "app_d_id": 255, "description": 4000}
_PLAIN = re.compile(r"^[^\x00-\x1f\x7f]*\Z")


def validate(appd: AppDescriptor) -> list[Finding]:
    """Return every problem of a descriptor, all at once."""
    return [*_names(appd), *_services(appd), *_references(appd)]


def _names(appd: AppDescriptor) -> Iterator[Finding]:
    for field in ("name", "provider", "version"):
        if not getattr(appd, field):
            yield Finding(
                Level.ERROR,
                "appd-mandatory",
                field,
                say("The application has no {field}", field=field),
                say("Give it a {field}", field=field),
            )
    for field, longest in _LONGEST.items():
        value = getattr(appd, field)
        if len(value) > longest:
            yield Finding(
                Level.ERROR,
                "appd-too-long",
                field,
                say("is longer than {longest} characters", longest=longest),
                say("Shorten it"),
            )
        if field != "description" and not _PLAIN.match(value):
            yield Finding(Level.ERROR, "appd-invalid", field, say("holds control characters"), say("Use plain text"))
    if appd.app_class not in (CONTAINER, VM):
        yield Finding(
            Level.ERROR,
            "appd-invalid",
            "app_class",
            say("{app_class} is neither container nor vm", app_class=repr(appd.app_class[:40])),
        )
    elif appd.app_class == VM:
        yield Finding(
            Level.ERROR,
            "vm-not-supported",
            "app_class",
            say("Virtual machines are not run by this platform"),
            say("Ship a chart"),
        )


def _services(appd: AppDescriptor) -> Iterator[Finding]:
    yield from _twice("services_required", (s.ser_name for s in appd.services_required))
    yield from _twice("services_optional", (s.ser_name for s in appd.services_optional))
    yield from _twice("services_produced", (f"{s.ser_name} {s.version}" for s in appd.services_produced))
    required = {s.ser_name for s in appd.services_required}
    for service in appd.services_optional:
        if service.ser_name in required:
            message = say("{ser_name} is required and optional at once", ser_name=service.ser_name)
            yield Finding(Level.WARNING, "appd-duplicate", "services_optional", message, say("Keep it as required"))
    for produced in appd.services_produced:
        if len(produced.ser_name) > 128:
            message = say("{ser_name}… is longer than 128 characters", ser_name=produced.ser_name[:40])
            yield Finding(Level.ERROR, "appd-too-long", "services_produced", message, say("Shorten it"))


def _references(appd: AppDescriptor) -> Iterator[Finding]:
    dns = {str(rule.get("dnsRuleId")) for rule in appd.dns_rules}
    traffic = {str(rule.get("trafficRuleId")) for rule in appd.traffic_rules}
    for service in appd.services_produced:
        for wanted, known in ((service.dns_rule_ids, dns), (service.traffic_rule_ids, traffic)):
            for ident in wanted:
                if ident not in known:
                    message = say(
                        "{ser_name} names the rule {ident}, which is not there or not valid",
                        ser_name=service.ser_name,
                        ident=ident[:80],
                    )
                    yield Finding(
                        Level.WARNING, "rule-missing", "services_produced", message, say("Add or drop the rule")
                    )


def _twice(place: str, names: Iterable[str]) -> Iterator[Finding]:
    for name, times in Counter(names).items():
        if times > 1:
            yield Finding(
                Level.WARNING,
                "appd-duplicate",
                place,
                say("{name} is there {times} times", name=name.strip()[:80], times=times),
            )
