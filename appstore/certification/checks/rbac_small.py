"""Check `rbac-small`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say
from engines.planning import items

_RAISING = frozenset({"escalate", "bind", "impersonate"})
_SENSITIVE = frozenset({"secrets", "pods/exec", "pods/attach", "nodes", "nodes/proxy", "serviceaccounts/token"})


class RbacSmall(Check):
    """Roles name what they need: no wildcard, no secrets of others, no right to raise rights."""

    name = "rbac-small"
    title = say("Few rights in the API of Kubernetes")
    reason = say("A role with a wildcard is an administrator of the namespace.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        for each in support.manifests(tools):
            if each.kind not in ("Role", "ClusterRole"):
                continue
            place = f"{each.kind}/{each.name}"
            for rule in items(each.body.get("rules")):
                verbs, resources = (_texts(rule.get(name)) for name in ("verbs", "resources"))
                if "*" in verbs or "*" in resources or "*" in _texts(rule.get("apiGroups")):
                    yield support.beyond(
                        tools, "rbac-wildcard", place, say("It grants everything by `*`"), say("Name what is needed")
                    )
                for verb in sorted(verbs & _RAISING):
                    yield support.beyond(
                        tools, "rbac-raise", place, say("It grants `{verb}`", verb=verb), say("Remove the verb")
                    )
                for resource in sorted(resources & _SENSITIVE):
                    message = say(
                        "It grants {verbs} on {resource}", verbs=", ".join(sorted(verbs))[:80], resource=resource
                    )
                    yield support.beyond(tools, "rbac-sensitive", place, message, say("Remove the resource"))


def _texts(value: Any) -> set[str]:
    return {str(each) for each in value} if isinstance(value, list) else set()
