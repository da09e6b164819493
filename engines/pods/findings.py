"""What this engine does with each kind of object; whatever it cannot run is refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.planning import CLUSTER_SCOPED, mapping
from engines.pods.translate import RUNS

CARRIES = frozenset([*RUNS, "Service", "ConfigMap", "Secret", "PersistentVolumeClaim"])

#: Without effect here, and harmless so: there is no Kubernetes API that a service account could ask.
NEEDLESS = frozenset(["ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget"])

#: Without effect here, which the author should know.
WITHOUT_EFFECT = {
    "Ingress": say("nothing serves an Ingress here; use a Service of type NodePort or a traffic rule of the app"),
    "NetworkPolicy": say("the tenant's network is closed to the outside, but apps of one tenant see each other"),
    "HorizontalPodAutoscaler": say("the number of pods stays as the chart says"),
    "ResourceQuota": say("limits are set on each container only"),
    "LimitRange": say("limits are set on each container only"),
}


def kind_findings(manifests: Sequence[Manifest], namespace: str) -> Iterator[Finding]:
    """Tell which objects cannot run here, and which are without effect."""
    for manifest in manifests:
        place = f"{manifest.kind}/{manifest.name}"
        own = mapping(manifest.body.get("metadata")).get("namespace")
        if own and own != namespace and manifest.kind not in CLUSTER_SCOPED:
            yield Finding(
                Level.WARNING,
                "other-namespace",
                place,
                say(
                    "asks for the namespace {own} and runs in the tenant's, {namespace}",
                    own=repr(str(own)[:80]),
                    namespace=repr(namespace),
                ),
                say("leave metadata.namespace out"),
            )
        if manifest.kind in NEEDLESS:
            yield Finding(Level.INFO, "kind-needless", place, say("{kind} has no effect here", kind=manifest.kind))
        elif manifest.kind in WITHOUT_EFFECT:
            yield Finding(Level.WARNING, "kind-without-effect", place, WITHOUT_EFFECT[manifest.kind])
        elif manifest.kind not in CARRIES and manifest.kind not in CLUSTER_SCOPED:
            yield Finding(
                Level.ERROR,
                "kind-not-supported",
                place,
                say(
                    "{kind} ({api_version}) cannot run without Kubernetes",
                    kind=manifest.kind,
                    api_version=manifest.api_version,
                ),
                say("leave it out by a value, or choose a node with the kubernetes engine"),
            )
