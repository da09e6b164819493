"""Check `seccomp-kept`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping


class SeccompKept(Check):
    """Nobody turns off seccomp, AppArmor or SELinux confinement."""

    name = "seccomp-kept"
    title = say("Confinement by the kernel is kept")
    reason = say("These filters stop most ways out of a container.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools):
            for context in (each.security, each.pod_security):
                for key in ("seccompProfile", "appArmorProfile"):
                    if mapping(context.get(key)).get("type") == "Unconfined":
                        yield support.beyond(
                            tools,
                            "unconfined",
                            each.place,
                            say("{key} is Unconfined", key=key),
                            say("Use RuntimeDefault"),
                        )
