"""Check `capabilities-small`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping


class CapabilitiesSmall(Check):
    """No container adds Linux capabilities beyond the usual; dropping all is better."""

    name = "capabilities-small"
    title = say("Few capabilities")
    reason = say("Each capability is a piece of root.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("allowed", ["NET_BIND_SERVICE"], "capabilities that may be added"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        allowed = {str(name).upper() for name in options["allowed"]}
        for each in support.all_containers(tools):
            stated = mapping(each.security.get("capabilities"))
            added = stated.get("add") if isinstance(stated.get("add"), list) else []
            names = {str(name).upper().removeprefix("CAP_") for name in added or ()}
            for name in sorted(names - allowed):
                yield support.beyond(
                    tools,
                    "capability",
                    each.place,
                    say("It adds the capability {name}", name=name[:40]),
                    say("Remove it"),
                )
            dropped = stated.get("drop") if isinstance(stated.get("drop"), list) else []
            if "ALL" not in {str(name).upper() for name in dropped or ()}:
                yield support.info(
                    "capabilities-kept", each.place, say("It keeps the default capabilities"), say("Drop ALL")
                )
