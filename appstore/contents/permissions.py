"""What a rendered chart asks for beyond what every container may do, in words for people without Kubernetes in mind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from appstore.contents import rbac
from appstore.contents.facts import Permission
from engines.contract import Manifest
from engines.helm.hooks import Hook, kept
from engines.planning import CLUSTER_SCOPED, containers, items, mapping, pod_owners

#: No chart of an application asks for more; what is beyond is counted in a problem by the reader.
MOST = 500
SEVERITIES = ("high", "medium", "low")
#: Capabilities that every container has anyway, or that the "baseline" pod security standard lets it add.
_USUAL = frozenset(
    [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ]
)  # fmt: skip
_CAPABILITIES = {
    "ALL": "everything that root may do",
    "SYS_ADMIN": "mount file systems and do nearly everything that root may do",
    "NET_ADMIN": "change the network of its pod or host: addresses, routes, firewall",
    "NET_RAW": "send and read raw packets, also with a forged sender",
    "SYS_PTRACE": "look into and change other processes",
    "SYS_MODULE": "load code into the kernel of the host",
    "SYS_RAWIO": "reach devices and memory of the host directly",
    "SYS_TIME": "set the clock of the host",
    "SYS_NICE": "take CPU time from others (priority, real time)",
    "SYS_BOOT": "restart the host",
    "IPC_LOCK": "lock memory so that it is never swapped out",
    "BPF": "load programs into the kernel (BPF)",
    "PERFMON": "observe the whole kernel",
    "DAC_READ_SEARCH": "read every file, whatever its rights",
}
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock", "podman.sock")
_HOST = {
    "hostNetwork": ("host-network", "uses the network of the host: it sees the host's traffic and takes its ports"),
    "hostPID": ("host-pid", "sees all processes of the host and may signal them"),
    "hostIPC": ("host-ipc", "shares memory and semaphores with processes of the host"),
}


def permissions_of(manifests: Sequence[Manifest], namespace: str) -> list[Permission]:
    """Return everything that the objects ask for, each once, the gravest first."""
    found = dict.fromkeys(_all(manifests, namespace))
    order = {severity: number for number, severity in enumerate(SEVERITIES)}
    return sorted(found, key=lambda each: (order[each.severity], each.code, each.place, each.value))


def _all(manifests: Sequence[Manifest], namespace: str) -> Iterator[Permission]:
    for manifest in manifests:
        place = f"{manifest.kind}/{manifest.name}"
        if manifest.kind in CLUSTER_SCOPED:
            words = f"brings a {manifest.kind}, which belongs to the whole cluster"
            yield Permission("cluster-scoped", "high", place, words, manifest.kind)
        yield from rbac.permissions(manifest)
        if kept(manifest):
            words = "asks to be left behind when the application is removed (helm.sh/resource-policy: keep)"
            yield Permission("left-behind", "medium", place, words)
        elsewhere = mapping(manifest.body.get("metadata")).get("namespace")
        if isinstance(elsewhere, str) and elsewhere and elsewhere != namespace:
            words = f"puts an object into the namespace {elsewhere[:63]}, which is not its own"
            yield Permission("other-namespace", "medium", place, words, elsewhere[:63])
        if manifest.kind == "Service":
            yield from _service(place, mapping(manifest.body.get("spec")))
        if manifest.kind == "NetworkAttachmentDefinition":
            yield Permission("extra-network", "medium", place, "defines a further network of the node for its pods")
    for owner in pod_owners(manifests):
        yield from _pod(owner.place, owner.pod, _template_metadata(owner.manifest))


def _template_metadata(manifest: Manifest) -> Mapping[str, Any]:
    if manifest.kind == "Pod":
        return mapping(manifest.body.get("metadata"))
    spec = mapping(manifest.body.get("spec"))
    if manifest.kind == "CronJob":
        spec = mapping(mapping(spec.get("jobTemplate")).get("spec"))
    return mapping(mapping(spec.get("template")).get("metadata"))


def _service(place: str, spec: Mapping[str, Any]) -> Iterator[Permission]:
    kind = spec.get("type")
    ports = ", ".join(str(each.get("nodePort") or each.get("port")) for each in items(spec.get("ports")))[:120]
    if kind == "NodePort":
        yield Permission("node-port", "medium", place, f"opens a port on every node of the cluster ({ports})", ports)
    if kind == "LoadBalancer":
        yield Permission("load-balancer", "low", place, f"asks for an address outside of the cluster ({ports})", ports)
    addresses = spec.get("externalIPs")
    if isinstance(addresses, list) and addresses:
        value = ", ".join(str(each) for each in addresses)[:120]
        yield Permission("external-ip", "high", place, f"takes traffic for the addresses {value} from the nodes", value)


def _pod(place: str, pod: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Permission]:
    for key, (code, words) in _HOST.items():
        if pod.get(key) is True:
            yield Permission(code, "high", place, words)
    if pod.get("shareProcessNamespace") is True:
        words = "lets its containers see each other's processes"
        yield Permission("shared-processes", "low", place, words)
    for volume in items(pod.get("volumes")):
        yield from _volume(place, pod, volume)
    yield from _token(place, pod)
    security = mapping(pod.get("securityContext"))
    for sysctl in items(security.get("sysctls")):
        name = str(sysctl.get("name"))[:120]
        yield Permission("sysctl", "medium", place, f"changes the kernel setting {name}", name)
    priority = pod.get("priorityClassName")
    if isinstance(priority, str) and priority.startswith("system-"):
        words = f"claims the priority {priority[:60]}: others are stopped to make room for it"
        yield Permission("priority", "medium", place, words, priority[:60])
    annotations = mapping(metadata.get("annotations"))
    networks = annotations.get("k8s.v1.cni.cncf.io/networks")
    if isinstance(networks, str) and networks.strip():
        value = networks.strip()[:200]
        yield Permission("extra-network", "medium", place, f"joins further networks of the node: {value}", value)
    for key, value in annotations.items():
        if str(key).startswith("container.apparmor.security.beta.kubernetes.io/") and value == "unconfined":
            name = str(key).rpartition("/")[2][:120]
            yield _unconfined("apparmor", f"{place}/{name}")
    for container in containers(pod):
        yield from _container(place, container, security)


def _volume(place: str, pod: Mapping[str, Any], volume: Mapping[str, Any]) -> Iterator[Permission]:
    if "hostPath" not in volume:
        return
    told = mapping(volume.get("hostPath"))
    path, kind = str(told.get("path") or "")[:250] or "?", told.get("type")
    if path.startswith("/dev/") or kind in ("CharDevice", "BlockDevice"):
        yield Permission("device", "high", place, f"uses the device {path} of the host", path)
        return
    if path.endswith(_SOCKETS):
        words = f"talks to the container engine of the host ({path}): whoever does so owns the host"
        yield Permission("host-path", "high", place, words, path)
        return
    name = volume.get("name")
    mounts = [m for c in containers(pod) for m in items(c.get("volumeMounts")) if m.get("name") == name]
    only_read = bool(mounts) and all(mount.get("readOnly") is True for mount in mounts)
    what = "the whole file system of the host" if path == "/" else f"the folder {path} of the host"
    yield Permission("host-path", "high", place, f"{'reads' if only_read else 'reads and writes'} {what}", path)


def _token(place: str, pod: Mapping[str, Any]) -> Iterator[Permission]:
    account = pod.get("serviceAccountName") or pod.get("serviceAccount")
    name = account[:120] if isinstance(account, str) else ""
    automatic = pod.get("automountServiceAccountToken")
    if automatic is not False and (automatic is True or (name and name != "default")):
        words = f"gets a token for the Kubernetes API, as {name or 'default'}"
        yield Permission("service-account-token", "low", place, words, name or "default")
    for volume in items(pod.get("volumes")):
        for source in items(mapping(volume.get("projected")).get("sources")):
            if "serviceAccountToken" in source:
                audience = str(mapping(source.get("serviceAccountToken")).get("audience") or "the Kubernetes API")[:120]
                words = f"gets a token for {audience}"
                yield Permission("service-account-token", "low", place, words, audience)


def _container(place: str, container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> Iterator[Permission]:
    inside = f"{place}/{str(container.get('name') or '?')[:120]}"
    own = mapping(container.get("securityContext"))
    if own.get("privileged") is True:
        yield Permission("privileged", "high", inside, "runs privileged: it may do everything that the host may")
    added = mapping(own.get("capabilities")).get("add")
    for name in sorted(
        {str(each).upper().removeprefix("CAP_")[:40] for each in added} if isinstance(added, list) else ()
    ):
        words = f"may {_CAPABILITIES.get(name, f'use the capability {name}')}"
        severity = "low" if name in _USUAL else ("medium" if name in ("SYS_NICE", "IPC_LOCK") else "high")
        yield Permission("capability", severity, inside, words, name)
    if own.get("allowPrivilegeEscalation") is True:
        words = "lets its processes gain more rights than they started with"
        yield Permission("privilege-escalation", "medium", inside, words)
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    if user == 0 and not isinstance(user, bool):
        yield Permission("run-as-root", "medium", inside, "runs as root (user 0)", "0")
    for key, code in (("seccompProfile", "seccomp"), ("appArmorProfile", "apparmor")):
        profile = mapping(own.get(key)) or mapping(of_pod.get(key))
        if profile.get("type") == "Unconfined":
            yield _unconfined(code, inside)
    if own.get("procMount") == "Unmasked":
        yield Permission("proc-mount", "high", inside, "sees the parts of /proc that containers are kept from")
    selinux = mapping(own.get("seLinuxOptions")) or mapping(of_pod.get("seLinuxOptions"))
    if selinux.get("type") in ("spc_t", "unconfined_t"):
        yield _unconfined("selinux", inside)
    for port in items(container.get("ports")):
        if port.get("hostPort"):
            value = f"{port.get('hostPort')}/{port.get('protocol') or 'TCP'}"[:40]
            yield Permission("host-port", "medium", inside, f"takes the port {value} of the host", value)
    yield from _devices(inside, container)


def _devices(inside: str, container: Mapping[str, Any]) -> Iterator[Permission]:
    asked: dict[str, Any] = {}
    for kind in ("limits", "requests"):
        asked |= mapping(mapping(container.get("resources")).get(kind))
    for name, amount in sorted((str(key), value) for key, value in asked.items()):
        if name.startswith("hugepages-"):
            words = f"takes {str(amount)[:20]} of memory in huge pages, which others then do not have"
            yield Permission("hugepages", "low", inside, words, name[:60])
        elif "/" in name:  # extended resources: vendor.example/device
            yield Permission(
                "device", "medium", inside, f"uses {str(amount)[:20]} of the devices {name[:120]}", name[:120]
            )
    for device in items(container.get("volumeDevices")):
        path = str(device.get("devicePath"))[:120]
        yield Permission("device", "medium", inside, f"uses a block device as {path}", path)


def _unconfined(code: str, place: str) -> Permission:
    names = {"seccomp": "seccomp", "apparmor": "AppArmor", "selinux": "SELinux"}
    words = f"turns off a guard of the kernel around containers ({names[code]})"
    return Permission(f"{code}-unconfined", "high", place, words)


def of_hooks(hooks: Sequence[Hook], namespace: str) -> list[Permission]:
    """Return what hooks ask for, and that they are there: one that was changed is another permission.

    The place is the object's; the words begin with when it runs.
    """
    found: list[Permission] = []
    for hook in hooks:
        if hook.only_test:
            head = "in a test that runs only when somebody asks for it: "
        else:
            head = f"in a hook that runs {hook.moments}: "
            words = f"{head}does work of its own, beside the application"
            found.append(Permission("hook", "medium", hook.place, words, _substance(hook.manifest)))
        found += [replace(each, words=head + each.words) for each in permissions_of([hook.manifest], namespace)]
    return list(dict.fromkeys(found))


def _substance(manifest: Manifest) -> str:
    """Return a digest of what a hook does; names of the release, labels and images, which are told elsewhere, left out."""
    body = {key: value for key, value in manifest.body.items() if key != "metadata"}
    if manifest.kind == "Secret":  # a chart may make a key anew each time that it is rendered
        body = {"names": sorted({str(name) for key in ("data", "stringData") for name in mapping(body.get(key))})}
    return hashlib.sha256(json.dumps(_plain(body), sort_keys=True, default=str).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in ("metadata", "image")}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def of_crds(objects: Sequence[Manifest], namespace: str) -> list[Permission]:
    """Return what the objects of `crds/` ask for, which Helm makes before anything else, whatever their kind."""
    asked = permissions_of(objects, namespace)
    found = [replace(each, words=f"in crds/, made before everything else: {each.words}") for each in asked]
    for each in objects:
        if each.kind != "CustomResourceDefinition":
            words = f"in crds/, made before everything else and never removed: brings a {each.kind[:60]}, which is no definition"
            found.append(Permission("crds-misused", "high", f"{each.kind}/{each.name}", words, each.kind[:60]))
    return found


def of_files(crds: Iterable[str], hooks: Mapping[str, str]) -> list[Permission]:
    """Return what files of a chart ask for that rendering does not show: `crds/`, and templates that are hooks.

    `hooks` is a digest by path: a hook that was changed is another permission, so that somebody looks at it.
    """
    kinds = [Permission("cluster-scoped", "high", name, "brings a new kind of object for the whole cluster", "CRD")
             for name in sorted(crds)]  # fmt: skip
    words = "holds a Helm hook that is not made with the chart's own values; what it would ask for is not listed here"
    return kinds + [Permission("hook", "medium", name, words, digest[:16]) for name, digest in sorted(hooks.items())]


def ports_of(manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Return the ports that containers serve and that Services offer."""
    found: list[dict[str, Any]] = []
    for owner in pod_owners(manifests):
        for container in containers(owner.pod):
            for port in items(container.get("ports")):
                row = _port(port.get("containerPort"), port)
                if row:
                    found.append(
                        {"kind": "container", "place": f"{owner.place}/{str(container.get('name'))[:120]}", **row}
                    )
    for manifest in manifests:
        if manifest.kind == "Service":
            spec = mapping(manifest.body.get("spec"))
            for port in items(spec.get("ports")):
                row = _port(port.get("port"), port)
                if row:
                    row |= {"type": str(spec.get("type") or "ClusterIP")[:40]}
                    found.append({"kind": "service", "place": f"Service/{manifest.name}", **row})
    return found[:MOST]


def _port(number: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 65536:
        return {}
    return {
        "port": number,
        "protocol": str(told.get("protocol") or "TCP")[:10],
        "name": str(told.get("name") or "")[:63],
    }
