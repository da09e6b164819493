"""Whether a cluster's network really keeps NetworkPolicies: the API server takes them in any case and says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engines.kubernetes.api import Object
from engines.limits import Isolation
from engines.planning import containers, items, mapping

#: DaemonSets of network plugins that enforce policies, by what their names begin with.
_ENFORCE = {
    "calico-node": "Calico", "canal": "Canal", "cilium": "Cilium", "anetd": "Cilium", "antrea-agent": "Antrea",
    "kube-router": "kube-router", "weave-net": "Weave Net", "ovnkube-node": "OVN-Kubernetes", "kube-ovn-cni": "Kube-OVN",
    "kube-network-policies": "kube-network-policies", "azure-npm": "Azure NPM", "romana-agent": "Romana",
}  # fmt: skip
#: And of those that do not, when nothing else is there.
_DO_NOT = {"kube-flannel": "Flannel"}
_AWS = "aws-node"
#: What K3s writes on its nodes: its own policy controller is no pod.
_K3S_ARGUMENTS = "k3s.io/node-args"


def isolation(daemon_sets: Iterable[Object], nodes: Iterable[Object]) -> Isolation:
    """Return whether policies are enforced, by the network plugins that are known; `unknown` where none of them is."""
    listed = list(daemon_sets)
    for name, each in _named(listed):
        for beginning, plugin in _ENFORCE.items():
            if name.startswith(beginning):
                return Isolation("enforced", plugin)
        if name == _AWS:
            return Isolation("enforced" if _aws_enforces(each) else "not-enforced", "Amazon VPC CNI")
    for node in nodes:
        version = str(mapping(mapping(node.get("status")).get("nodeInfo")).get("kubeletVersion", ""))
        if "+k3s" in version or "+rke2" in version:
            arguments = str(mapping(mapping(node.get("metadata")).get("annotations")).get(_K3S_ARGUMENTS, ""))
            if "+rke2" in version:
                break  # its plugin is a DaemonSet, and none that is known was there
            off = "disable-network-policy" in arguments
            return Isolation("not-enforced" if off else "enforced", "K3s")
    for name, _ in _named(listed):
        for beginning, plugin in _DO_NOT.items():
            if name.startswith(beginning):
                return Isolation("not-enforced", plugin)
    return Isolation()


def _named(daemon_sets: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    for each in daemon_sets:
        # A tenant's chart may call its DaemonSet whatever it likes.
        metadata = mapping(each.get("metadata"))
        if not str(metadata.get("namespace", "")).startswith(("t-", "trial-")):
            yield str(metadata.get("name", "")).removeprefix("rke2-"), each


def _aws_enforces(daemon_set: Object) -> bool:
    pod = mapping(mapping(mapping(daemon_set.get("spec")).get("template")).get("spec"))
    arguments = [str(word) for each in containers(pod) for word in each.get("args") or ()]
    return any(word.replace(" ", "") == "--enable-network-policy=true" for word in arguments) and bool(
        items(pod.get("containers"))
    )
