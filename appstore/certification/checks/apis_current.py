"""Check `apis-current`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say

#: Version in which an API was removed, and what to use (Kubernetes deprecated API migration guide).
_ENDED: dict[tuple[str, str], tuple[tuple[int, int], str]] = {
    ("extensions/v1beta1", "Deployment"): ((1, 16), "apps/v1"),
    ("extensions/v1beta1", "DaemonSet"): ((1, 16), "apps/v1"),
    ("extensions/v1beta1", "ReplicaSet"): ((1, 16), "apps/v1"),
    ("apps/v1beta1", "Deployment"): ((1, 16), "apps/v1"),
    ("apps/v1beta1", "StatefulSet"): ((1, 16), "apps/v1"),
    ("apps/v1beta2", "Deployment"): ((1, 16), "apps/v1"),
    ("apps/v1beta2", "DaemonSet"): ((1, 16), "apps/v1"),
    ("apps/v1beta2", "StatefulSet"): ((1, 16), "apps/v1"),
    ("extensions/v1beta1", "NetworkPolicy"): ((1, 16), "networking.k8s.io/v1"),
    ("extensions/v1beta1", "Ingress"): ((1, 22), "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress"): ((1, 22), "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass"): ((1, 22), "networking.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "Role"): ((1, 22), "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding"): ((1, 22), "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole"): ((1, 22), "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding"): ((1, 22), "rbac.authorization.k8s.io/v1"),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"): ((1, 22), "apiextensions.k8s.io/v1"),
    ("admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration"): ((1, 22), "admissionregistration.k8s.io/v1"),
    ("admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration"): (
        (1, 22), "admissionregistration.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): ((1, 22), "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass"): ((1, 22), "storage.k8s.io/v1"),
    ("batch/v1beta1", "CronJob"): ((1, 25), "batch/v1"),
    ("policy/v1beta1", "PodDisruptionBudget"): ((1, 25), "policy/v1"),
    ("policy/v1beta1", "PodSecurityPolicy"): ((1, 25), "the pod security standards"),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): ((1, 25), "autoscaling/v2"),
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): ((1, 25), "discovery.k8s.io/v1"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): ((1, 26), "autoscaling/v2"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema"): ((1, 29), "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema"): ((1, 32), "flowcontrol.apiserver.k8s.io/v1"),
}  # fmt: skip


class ApisCurrent(Check):
    """No object uses an API version that Kubernetes has removed or will remove."""

    name = "apis-current"
    title = say("API versions are current")
    reason = say("After the next upgrade of the cluster it cannot be installed any more.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (Option("version", "1.35", "the newest Kubernetes that the operator runs"),)

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        newest = tuple(int(part) for part in str(options["version"]).split(".")[:2])
        for each in support.manifests(tools):
            known = _ENDED.get((each.api_version, each.kind))
            if known is None:
                continue
            place, (ended, instead) = f"{each.kind}/{each.name}", known
            when = ".".join(str(part) for part in ended)
            message = say(
                "{api_version} {kind} is gone since Kubernetes {when}",
                api_version=each.api_version,
                kind=each.kind,
                when=when,
            )
            finding = support.error if newest >= ended else support.warning
            yield finding("api-removed", place, message, say("Use {instead}", instead=instead))
