"""Check `runs-as-user`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class RunsAsUser(Check):
    """No container runs as root."""

    name = "runs-as-user"
    title = say("Containers do not run as root")
    reason = say("Root in a container is one kernel fault away from root on the node.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("strict", False, "fail when it is not forbidden, not only when it is asked for"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        finding = support.error if options["strict"] else support.warning
        for each in support.all_containers(tools):
            user = each.security.get("runAsUser", each.pod_security.get("runAsUser"))
            no_root = each.security.get("runAsNonRoot", each.pod_security.get("runAsNonRoot"))
            if user == 0:
                yield support.beyond(
                    tools, "run-as-root", each.place, say("It runs as user 0"), say("Set another runAsUser")
                )
            elif no_root is not True and not user:
                yield finding("may-run-as-root", each.place, say("It may run as root"), say("Set runAsNonRoot: true"))
