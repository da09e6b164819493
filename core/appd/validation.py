"""What must hold across a whole descriptor, beyond the shape of its parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from core.appd.descriptor import CONTAINER, VM, AppDescriptor
from core.findings import Finding, Level

_LONGEST = {"name": 128, "provider": 128, "version": 64, "app_d_id": 255, "description": 4000}
_PLAIN = re.compile(r"^[^\x00-\x1f\x7f]*\Z")


def validate(appd: AppDescriptor) -> list[Finding]:
    """Return every problem of a descriptor, all at once."""
    return [*_names(appd), *_services(appd), *_references(appd)]


def _names(appd: AppDescriptor) -> Iterator[Finding]:
    for field in ("name", "provider", "version"):
        if not getattr(appd, field):
            yield Finding(Level.ERROR, "appd-mandatory", field, f"The application has no {field}", f"Give it a {field}")
    for field, longest in _LONGEST.items():
        value = getattr(appd, field)
        if len(value) > longest:
            yield Finding(Level.ERROR, "appd-too-long", field, f"is longer than {longest} characters", "Shorten it")
        if field != "description" and not _PLAIN.match(value):
            yield Finding(Level.ERROR, "appd-invalid", field, "holds control characters", "Use plain text")
    if appd.app_class not in (CONTAINER, VM):
        yield Finding(Level.ERROR, "appd-invalid", "app_class", f"{appd.app_class[:40]!r} is neither container nor vm")
    elif appd.app_class == VM:
        yield Finding(
            Level.ERROR,
            "vm-not-supported",
            "app_class",
            "Virtual machines are not run by this platform",
            "Ship a chart",
        )


def _services(appd: AppDescriptor) -> Iterator[Finding]:
    yield from _twice("services_required", (s.ser_name for s in appd.services_required))
    yield from _twice("services_optional", (s.ser_name for s in appd.services_optional))
    yield from _twice("services_produced", (f"{s.ser_name} {s.version}" for s in appd.services_produced))
    required = {s.ser_name for s in appd.services_required}
    for service in appd.services_optional:
        if service.ser_name in required:
            message = f"{service.ser_name} is required and optional at once"
            yield Finding(Level.WARNING, "appd-duplicate", "services_optional", message, "Keep it as required")
    for produced in appd.services_produced:
        if len(produced.ser_name) > 128:
            message = f"{produced.ser_name[:40]}… is longer than 128 characters"
            yield Finding(Level.ERROR, "appd-too-long", "services_produced", message, "Shorten it")


def _references(appd: AppDescriptor) -> Iterator[Finding]:
    dns = {str(rule.get("dnsRuleId")) for rule in appd.dns_rules}
    traffic = {str(rule.get("trafficRuleId")) for rule in appd.traffic_rules}
    for service in appd.services_produced:
        for wanted, known in ((service.dns_rule_ids, dns), (service.traffic_rule_ids, traffic)):
            for ident in wanted:
                if ident not in known:
                    message = f"{service.ser_name} names the rule {ident[:80]}, which is not there or not valid"
                    yield Finding(Level.WARNING, "rule-missing", "services_produced", message, "Add or drop the rule")


def _twice(place: str, names: Iterable[str]) -> Iterator[Finding]:
    for name, times in Counter(names).items():
        if times > 1:
            yield Finding(Level.WARNING, "appd-duplicate", place, f"{name.strip()[:80]} is there {times} times")
