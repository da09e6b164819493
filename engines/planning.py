"""What a chart asks for, read from its objects: compute, images, and what no shared node allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from core.errors import Invalid
from core.findings import Finding, Level
from core.words import say
from engines.contract import Compute, Manifest

#: Kinds that own pods, and where their pod spec lies.
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")
#: And those whose pods must be looked into, though no engine follows them.
_OWNERS = frozenset([*WORKLOADS, "ReplicationController"])

#: Kinds that belong to a whole cluster; a tenant's chart may not bring one.
CLUSTER_SCOPED = frozenset(
    [
        "Namespace",
        "Node",
        "PersistentVolume",
        "StorageClass",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "APIService",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "PriorityClass",
        "RuntimeClass",
        "IngressClass",
        "CSIDriver",
        "CSINode",
        "VolumeAttachment",
        "PodSecurityPolicy",
        "FlowSchema",
        "PriorityLevelConfiguration",
        "CertificateSigningRequest",
    ]
)

_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodOwner:
    """An object that owns pods: how many, and of what spec."""

    manifest: Manifest
    replicas: int
    pod: Mapping[str, Any]
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.manifest.kind}/{self.manifest.name}"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` when it is an object, else an empty one: charts are written by strangers."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list; anything else in it is dropped."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def count(value: Any, default: int = 1) -> int:
    """Return a count that is no less than 0 and bounded; the default where there is none."""
    return min(max(value, 0), 10_000) if isinstance(value, int) and not isinstance(value, bool) else default


def quantity(value: Any) -> Decimal:
    """Read a Kubernetes quantity such as `500m`, `64Mi` or `2`; `Invalid` when it is none."""
    text = str(value).strip()
    digits = text.rstrip("nukmKMGTPi")
    try:
        factor = _SUFFIXES[text[len(digits) :]]
        number = Decimal(digits) * factor
    except (KeyError, InvalidOperation):
        raise Invalid(say("{text} is no quantity; write it like 500m, 64Mi or 2", text=repr(text[:40]))) from None
    if not number.is_finite() or not 0 <= number < Decimal(2**63):
        raise Invalid(say("{text} is no usable quantity", text=repr(text[:40])))
    return number


def pod_owners(manifests: Sequence[Manifest]) -> Iterator[PodOwner]:
    """Return every object that owns pods, in order."""
    for manifest in manifests:
        spec = mapping(manifest.body.get("spec"))
        if manifest.kind not in _OWNERS:
            continue
        if manifest.kind == "Pod":
            yield PodOwner(manifest, 1, spec, _annotations(manifest.body))
            continue
        if manifest.kind == "CronJob":
            spec = mapping(mapping(spec.get("jobTemplate")).get("spec"))
        template = mapping(spec.get("template"))
        pod, annotations = mapping(template.get("spec")), _annotations(template)
        if manifest.kind in {"Job", "CronJob"}:
            yield PodOwner(manifest, count(spec.get("parallelism")), pod, annotations)
        elif manifest.kind == "DaemonSet":
            yield PodOwner(manifest, 1, pod, annotations)
        else:
            yield PodOwner(manifest, count(spec.get("replicas")), pod, annotations)


def _annotations(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(body.get("metadata")).get("annotations"))


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the init containers and the containers of a pod spec, in that order."""
    return items(pod.get("initContainers")) + items(pod.get("containers"))


def images_of(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Return the images that the chart's pods name, each once, in order."""
    found: dict[str, None] = {}
    for owner in pod_owners(manifests):
        for container in containers(owner.pod):
            if isinstance(container.get("image"), str) and container["image"]:
                found[container["image"]] = None
    return tuple(found)


def compute_of(manifests: Sequence[Manifest]) -> Compute:
    """Return what the chart asks for in all: requests, else limits, times replicas; claims as storage.

    Init containers run before the others, so a pod needs the larger of the two (Kubernetes counts so too).
    """
    cpu = memory = storage = Decimal(0)
    for owner in pod_owners(manifests):
        rows = [_asked(entry) for entry in items(owner.pod.get("containers"))]
        before = [_asked(entry) for entry in items(owner.pod.get("initContainers"))]
        needs = [max([sum((row[at] for row in rows), Decimal(0)), *(row[at] for row in before)]) for at in range(3)]
        cpu += needs[0] * owner.replicas
        memory += needs[1] * owner.replicas
        storage += needs[2] * owner.replicas
        for claim in items(mapping(owner.manifest.body.get("spec")).get("volumeClaimTemplates")):
            storage += _claimed(claim) * owner.replicas
    for manifest in manifests:
        if manifest.kind == "PersistentVolumeClaim":
            storage += _claimed(manifest.body)
    return Compute(cpu_millis=int(cpu * 1000), memory_bytes=int(memory), storage_bytes=int(storage))


def _asked(container: Mapping[str, Any]) -> tuple[Decimal, Decimal, Decimal]:
    resources = mapping(container.get("resources"))
    requests, limits = mapping(resources.get("requests")), mapping(resources.get("limits"))
    cpu, memory, storage = (
        quantity(requests.get(name, limits.get(name, 0)) or 0) for name in ("cpu", "memory", "ephemeral-storage")
    )
    return cpu, memory, storage


def _claimed(claim: Mapping[str, Any]) -> Decimal:
    wanted = mapping(mapping(mapping(claim.get("spec")).get("resources")).get("requests"))
    return quantity(wanted.get("storage", 0) or 0)


#: What a container may add to the runtime's default capabilities (the "baseline" pod security standard).
_BASELINE = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)


#: Kernel settings that reach no further than the pod itself (the same standard).
_SAFE_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    ]
)
#: The annotation of pods by which AppArmor was turned off before there was a field for it.
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def host_findings(manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Tell what in the chart reaches for the host or the cluster: errors on every node that tenants share."""
    for manifest in manifests:
        if manifest.kind in CLUSTER_SCOPED:
            yield Finding(
                Level.ERROR,
                "kind-belongs-to-the-cluster",
                f"{manifest.kind}/{manifest.name}",
                say("{kind} belongs to the whole cluster, and the node is shared", kind=manifest.kind),
                say("leave it out of the chart, or let the operator of the node install it"),
            )
    for owner in pod_owners(manifests):
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if owner.pod.get(key):
                yield _host(owner.place, key, say("{key} would give the pod a part of its host", key=key))
        for volume in items(owner.pod.get("volumes")):
            if "hostPath" in volume:
                yield _host(
                    owner.place,
                    "hostPath",
                    say("volume {name} would open a folder of the host", name=volume.get("name")),
                )
        if str(owner.pod.get("priorityClassName") or "").startswith("system-"):
            yield _host(
                owner.place, "priority", say("the priority of the system ends other tenants' pods to make room")
            )
        security = mapping(owner.pod.get("securityContext"))
        yield from _confinement(owner.place, security)
        settings = sorted({str(each.get("name")) for each in items(security.get("sysctls"))} - _SAFE_SYSCTLS)
        if settings:
            yield _host(
                owner.place,
                "sysctls",
                say("kernel settings of the host: {settings}", settings=", ".join(settings)[:200]),
            )
        if any(str(key).startswith(_APPARMOR) and value == "unconfined" for key, value in owner.annotations.items()):
            yield _host(owner.place, "appArmor", say("AppArmor must not be turned off"))
        for container in containers(owner.pod):
            yield from _container_findings(owner.place, container)


def _container_findings(place: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    inside = f"{place}/{container.get('name')}"
    security = mapping(container.get("securityContext"))
    if security.get("privileged"):
        yield _host(inside, "privileged", say("a privileged container owns its host"))
    added = mapping(security.get("capabilities")).get("add")
    beyond = sorted({str(name).removeprefix("CAP_") for name in added} - _BASELINE if isinstance(added, list) else ())
    if beyond:
        yield _host(
            inside, "capabilities", say("capabilities beyond the usual ones: {beyond}", beyond=", ".join(beyond)[:200])
        )
    yield from _confinement(inside, security)
    if security.get("procMount") not in (None, "", "Default"):
        yield _host(inside, "procMount", say("an unmasked /proc shows and changes the host"))
    for port in items(container.get("ports")):
        if port.get("hostPort"):
            yield _host(
                inside,
                "hostPort",
                say("hostPort {host_port} would take a port of the host", host_port=port["hostPort"]),
            )


def _confinement(place: str, security: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell what a security context, of a pod or of a container, turns off."""
    if mapping(security.get("seccompProfile")).get("type") == "Unconfined":
        yield _host(place, "seccomp", say("seccomp must not be turned off"))
    if mapping(security.get("appArmorProfile")).get("type") == "Unconfined":
        yield _host(place, "appArmor", say("AppArmor must not be turned off"))
    if mapping(security.get("windowsOptions")).get("hostProcess"):
        yield _host(place, "hostProcess", say("a host process owns its host"))


def _host(place: str, what: str, message: str) -> Finding:
    return Finding(Level.ERROR, f"host-{what.lower()}", place, message, say("remove {what} from the chart", what=what))
