"""Check `liveness-probe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class LivenessProbe(Check):
    """Every container that serves a port has a liveness or a startup probe."""

    name = "liveness-probe"
    title = say("It is restarted when it hangs")
    reason = say("Nobody is at the edge site to restart it.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.all_containers(tools, lasting=True):
            if each.body.get("ports") and not (each.body.get("livenessProbe") or each.body.get("startupProbe")):
                yield support.warning(
                    "liveness-missing", each.place, say("It has no liveness probe"), say("Add livenessProbe")
                )
