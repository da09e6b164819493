"""Check `services-declared`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class ServicesDeclared(Check):
    """Offered services have a name, a version and a transport, each name once (MEC 010-2, 6.2.1.5)."""

    name = "services-declared"
    title = say("Offered services are described")
    reason = say("Other applications find a service by what is said here.")
    group = "mec"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.DESCRIPTOR})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        offered = list(subject.descriptor.get("appServiceProduced") or ())
        if not offered:
            raise Skip(say("It offers no service"))
        seen: set[str] = set()
        for number, each in enumerate(offered):
            place, name = f"appServiceProduced[{number}]", str(each.get("serName") or "")
            if name in seen:
                yield support.error(
                    "service-twice", place, say("{name} is offered twice", name=repr(name[:80])), say("Keep one")
                )
            seen.add(name)
            if not each.get("version"):
                yield support.warning(
                    "service-unversioned", place, say("{name} has no version", name=repr(name[:80])), say("Give it one")
                )
            if not each.get("transportsSupported"):
                yield support.info(
                    "service-transport",
                    place,
                    say("{name} names no transport; REST over HTTP is taken", name=repr(name[:80])),
                )
