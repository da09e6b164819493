"""Check `nothing-kept`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.helm.hooks import Hook, kept
from engines.planning import mapping

_DELETE = "helm.sh/hook-delete-policy"


class NothingKept(Check):
    """Nothing of the chart asks to be left behind when it is removed."""

    name = "nothing-kept"
    title = say("Nothing asks to be left behind")
    reason = say("What stays on a node after its application has no owner, and nobody knows whether it may go.")
    group = "lifecycle"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.manifests(tools):
            if kept(each):
                place = f"{each.kind}/{each.name}"
                message = say(
                    "It asks to be left behind when the application is removed (helm.sh/resource-policy: keep)"
                )
                yield support.beyond(tools, "left-behind", place, message, say("Remove the annotation"))
        for events, body in tools.hooks():
            annotations = mapping(mapping(body.get("metadata")).get("annotations"))
            hook = Hook(support.manifest(body), events)
            if hook.only_test or str(annotations.get(_DELETE) or "").strip():
                continue
            message = say("Helm leaves the object of this hook behind, since it says nothing of its deletion")
            yield support.warning(
                "hook-left-behind", hook.place, message, say("Add {delete}: hook-succeeded", delete=_DELETE)
            )
