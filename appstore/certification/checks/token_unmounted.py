"""Check `token-unmounted`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Part, Progress, Skip, Subject, Tools
from core.findings import Finding
from core.words import say


class TokenUnmounted(Check):
    """A pod that does not speak to Kubernetes holds no token for it."""

    name = "token-unmounted"
    title = say("No needless Kubernetes token")
    reason = say("A token that nobody needs is still there to be stolen.")
    group = "security"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        bound = any(each.kind in ("RoleBinding", "ClusterRoleBinding") for each in support.manifests(tools))
        if bound:
            raise Skip(say("The chart binds a role, so its pods speak to Kubernetes"))
        for place, pod, _ in support.pods(tools):
            if pod.get("automountServiceAccountToken") is not False:
                remedy = say("Set automountServiceAccountToken: false")
                yield support.info("token-mounted", place, say("It holds a token of Kubernetes without need"), remedy)
