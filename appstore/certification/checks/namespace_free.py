"""Check `namespace-free`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import mapping


class NamespaceFree(Check):
    """No object fixes its namespace: the tenant gives it."""

    name = "namespace-free"
    title = say("The namespace is left to the platform")
    reason = say("An object in another namespace is another tenant there.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.manifests(tools):
            fixed = mapping(each.body.get("metadata")).get("namespace")
            if isinstance(fixed, str) and fixed and fixed not in ("certification", "default"):
                place = f"{each.kind}/{each.name}"
                message = say("It fixes the namespace {fixed}", fixed=repr(fixed[:63]))
                yield support.error("namespace-fixed", place, message, say("Remove metadata.namespace"))
