"""From a chart's objects to what should run; a pure function that tells every problem it meets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from core.errors import Invalid
from core.findings import Finding, Level
from core.words import say
from engines.contract import Manifest
from engines.images.names import carried
from engines.planning import count, items, mapping, quantity
from engines.pods.sources import Sources
from engines.pods.wanted import (
    NODE_PORTS,
    Container,
    Mount,
    PodTemplate,
    Probe,
    Service,
    ServicePort,
    Volume,
    Wanted,
    Workload,
)

RUNS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
LARGEST_COUNT = 200
#: Names as Kubernetes takes them (RFC 1123): of objects, and of what is inside of a pod. They become names of files,
#: volumes and containers on the node, and Helm passes on whatever a chart writes.
_OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_INSIDE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAMES = "use a-z, 0-9 and -"


def translate(
    manifests: Sequence[Manifest], namespace: str, images: Mapping[str, str] | None = None
) -> tuple[Wanted, list[Finding]]:
    """Return what the objects ask for in `namespace`, and the findings that stand against running it.

    `images` are those that the package carries: IDs by full names.
    """
    return _Translation(manifests, namespace, images or {}).done()


class _Translation:
    def __init__(self, manifests: Sequence[Manifest], namespace: str, images: Mapping[str, str]) -> None:
        self.manifests, self.namespace, self.images = manifests, namespace, images
        self.findings: list[Finding] = []
        self.sources = Sources(manifests, self.findings)
        self.place = ""

    def done(self) -> tuple[Wanted, list[Finding]]:
        self._check_names()
        services = tuple(self._service(each) for each in self.manifests if each.kind == "Service")
        workloads = []
        for manifest in self.manifests:
            if manifest.kind in RUNS:
                self.place = f"{manifest.kind}/{manifest.name}"
                try:
                    workloads.append(self._workload(manifest, services))
                except Invalid as problem:
                    self._error("object-not-understood", problem.detail, say("correct the object"))
        claims = tuple(each.name for each in self.manifests if each.kind == "PersistentVolumeClaim")
        return Wanted(tuple(workloads), services, claims), self.findings

    def _error(self, code: str, message: str, remedy: str = "", place: str = "") -> None:
        self.findings.append(Finding(Level.ERROR, code, place or self.place, message, remedy))

    def _check_names(self) -> None:
        for each in self.manifests:
            if each.kind in {*RUNS, "Service", "PersistentVolumeClaim"} and not _OBJECT.fullmatch(each.name):
                self._error(
                    "name",
                    say("{name} is no name", name=repr(each.name[:80])),
                    _NAMES,
                    place=f"{each.kind}/{each.name[:80]}",
                )

    def _check_inside(self, what: str, name: str) -> None:
        if not _INSIDE.fullmatch(name):
            self._error("name", say("{name} is no name of a {what}", name=repr(name[:80]), what=what), _NAMES)

    # Services

    def _service(self, manifest: Manifest) -> Service:
        spec = mapping(manifest.body.get("spec"))
        self.place = f"Service/{manifest.name}"
        kind = str(spec.get("type") or "ClusterIP")
        if kind == "ExternalName":
            self._error(
                "service-external-name", say("leads out of the node by name"), say("use the address in the app itself")
            )
        ports = []
        for entry in items(spec.get("ports")):
            port = _port(entry.get("port"))
            target = entry.get("targetPort", port)
            if not 0 < port < 65536 or not isinstance(target, int | str):
                self._error(
                    "service-port",
                    say("port {port} cannot be used", port=repr(entry.get("port"))),
                    say("use 1 to 65535"),
                )
                continue
            node_port = _port(entry.get("nodePort"))
            if node_port and node_port not in NODE_PORTS:
                self._error(
                    "node-port",
                    say("nodePort {node_port} belongs to the node", node_port=repr(entry["nodePort"])),
                    say("use 30000 to 32767"),
                )
            if isinstance(target, str) and target.isascii() and target.isdecimal():
                target = int(target)
            ports.append(
                ServicePort(
                    name=str(entry.get("name") or ""),
                    port=port,
                    target=target,
                    protocol=str(entry.get("protocol") or "TCP"),
                    node_port=node_port,
                )
            )
        name = manifest.name
        spaces = {self.namespace, str(mapping(manifest.body.get("metadata")).get("namespace") or self.namespace)}
        aliases = [name]
        for space in sorted(spaces):
            aliases += [f"{name}.{space}", f"{name}.{space}.svc", f"{name}.{space}.svc.cluster.local"]
        return Service(
            name=name,
            selector={str(key): str(value) for key, value in mapping(spec.get("selector")).items()},
            ports=tuple(ports),
            exposed=kind in {"NodePort", "LoadBalancer"},
            aliases=tuple(aliases),
        )

    # Workloads

    def _workload(self, manifest: Manifest, services: Sequence[Service]) -> Workload:
        spec = mapping(manifest.body.get("spec"))
        if manifest.kind == "Pod":
            body: Mapping[str, Any] = {"metadata": manifest.body.get("metadata"), "spec": spec}
        else:
            body = mapping(spec.get("template"))
        replicas = 1
        if manifest.kind in {"Deployment", "StatefulSet"}:
            replicas = count(spec.get("replicas"))
        elif manifest.kind == "Job":
            replicas = count(spec.get("completions"))
        if replicas > LARGEST_COUNT:
            self._error(
                "too-many-replicas",
                say("{replicas} pods are too many for one node", replicas=replicas),
                say("use up to {largest_count}", largest_count=LARGEST_COUNT),
            )
        claims = tuple(
            str(mapping(claim.get("metadata")).get("name")) for claim in items(spec.get("volumeClaimTemplates"))
        )
        for claim in claims:
            self._check_inside("claim", claim)
        template = self._template(manifest.kind, body, services, claims)
        rolling = mapping(mapping(spec.get("strategy")).get("rollingUpdate"))
        surge = _share(rolling.get("maxSurge", "25%"), replicas, up=True)
        unavailable = _share(rolling.get("maxUnavailable", "25%"), replicas, up=False)
        if manifest.kind == "DaemonSet":
            surge, unavailable = 0, 1
        return Workload(
            kind=manifest.kind,
            name=manifest.name,
            replicas=replicas,
            template=template,
            surge=surge if surge or unavailable else 1,
            unavailable=unavailable,
            recreate=mapping(spec.get("strategy")).get("type") == "Recreate" or manifest.kind in {"Pod", "Job"},
            ordered=manifest.kind == "StatefulSet",
            parallel=spec.get("podManagementPolicy") == "Parallel",
            service=str(spec.get("serviceName") or "") if manifest.kind == "StatefulSet" else "",
            claims=claims,
            retries=count(spec.get("backoffLimit"), 6),
            deadline=float(count(spec.get("progressDeadlineSeconds"), 0)),
        )

    def _template(
        self, kind: str, body: Mapping[str, Any], services: Sequence[Service], claims: Sequence[str]
    ) -> PodTemplate:
        spec = mapping(body.get("spec"))
        labels = {str(key): str(value) for key, value in mapping(mapping(body.get("metadata")).get("labels")).items()}
        behind = [service for service in services if service.selects(labels)]
        aliases = tuple(sorted({alias for service in behind for alias in service.aliases}))
        if not items(spec.get("containers")):
            self._error("no-containers", say("has a pod without containers"), say("name at least one container"))
        security = mapping(spec.get("securityContext"))
        containers = tuple(self._container(each, spec, security) for each in items(spec.get("containers")))
        init = tuple(self._container(each, spec, security) for each in items(spec.get("initContainers")))
        # The same name may mean another image in the next package. Without images of the package's own the digest is what
        # it was before those had IDs, so that pods from then are not replaced.
        own = [each.image_id for each in (*containers, *init)]
        told = [body.get("metadata"), spec, aliases, *([own] if any(own) else [])]
        seen = json.dumps(told, sort_keys=True, default=str)
        template = PodTemplate(
            digest=hashlib.sha256(seen.encode()).hexdigest()[:10],
            labels=labels,
            containers=containers,
            init=init,
            volumes=self._volumes(spec, claims),
            grace=count(spec.get("terminationGracePeriodSeconds"), 30),
            # A Job's pod that may never restart is replaced by the next try in Kubernetes; here it is started again.
            restart="OnFailure" if kind == "Job" else str(spec.get("restartPolicy") or "Always"),
            aliases=aliases,
            hosts=tuple(
                (str(name), str(entry.get("ip")))
                for entry in items(spec.get("hostAliases"))
                for name in _listed(entry.get("hostnames"))
            ),
            group=security["fsGroup"] if isinstance(security.get("fsGroup"), int) else None,
        )
        self._check_ports(template, behind)
        return template

    def _check_ports(self, template: PodTemplate, behind: Sequence[Service]) -> None:
        leads: dict[int, int] = {}
        for service in behind:
            for port in service.ports:
                target = template.port(port.target)
                if not target:
                    self._error(
                        "service-target-port",
                        say(
                            "Service/{name} leads to port {target}, which no container names",
                            name=service.name,
                            target=repr(port.target),
                        ),
                        say("name the port in the container or use its number"),
                    )
                elif leads.setdefault(port.port, target) != target:
                    self._error(
                        "service-port-clash",
                        say("two Services lead from port {port} to different ports of the same pods", port=port.port),
                        say("give the Services different ports: here a Service is a name for its pods' addresses"),
                        place=f"Service/{service.name}",
                    )
                elif port.protocol != "TCP" and target != port.port:
                    self._error(
                        "service-port-mapping",
                        say(
                            "port {port}/{protocol} leads to {target}; only TCP ports are mapped here",
                            port=port.port,
                            protocol=port.protocol,
                            target=target,
                        ),
                        say("make port and targetPort the same"),
                        place=f"Service/{service.name}",
                    )

    # Containers

    def _container(self, body: Mapping[str, Any], pod: Mapping[str, Any], shared: Mapping[str, Any]) -> Container:
        name = str(body.get("name") or "")
        inside = f"{self.place}/{name}"
        self._check_inside("container", name)
        image = body.get("image")
        if not isinstance(image, str) or not image:
            self._error("no-image", say("names no image"), say("name one"), place=inside)
        security = {**shared, **mapping(body.get("securityContext"))}
        capabilities = mapping(security.get("capabilities"))
        user, group = security.get("runAsUser"), security.get("runAsGroup")
        limits = mapping(mapping(body.get("resources")).get("limits"))
        ports = {
            str(port["name"]): _port(port.get("containerPort")) for port in items(body.get("ports")) if port.get("name")
        }
        if mapping(body.get("lifecycle")).get("preStop") or mapping(body.get("lifecycle")).get("postStart"):
            self.findings.append(
                Finding(
                    Level.WARNING,
                    "lifecycle-hooks",
                    inside,
                    say("lifecycle hooks are not run here"),
                    say("handle SIGTERM"),
                )
            )
        groups = [security.get("fsGroup"), *_listed(shared.get("supplementalGroups"))]
        return Container(
            name=name,
            image=str(image or ""),
            image_id=self._carried(inside, str(image or "")),
            entrypoint=_texts(body.get("command")),
            arguments=_texts(body.get("args")),
            variables=self.sources.variables(inside, body),
            workdir=str(body.get("workingDir") or ""),
            mounts=tuple(
                Mount(
                    volume=str(mount.get("name")),
                    path=str(mount.get("mountPath")),
                    sub_path=str(mount.get("subPath") or ""),
                    read_only=bool(mount.get("readOnly")),
                )
                for mount in items(body.get("volumeMounts"))
            ),
            nano_cpus=int(quantity(limits.get("cpu") or 0) * 10**9),
            memory=int(quantity(limits.get("memory") or 0)),
            disk=int(quantity(limits.get("ephemeral-storage") or 0)),
            user=("" if user is None else str(user)) + ("" if group is None else f":{group}"),
            groups=tuple(str(each) for each in groups if isinstance(each, int)),
            must_not_be_root=bool(security.get("runAsNonRoot")),
            read_only_root=bool(security.get("readOnlyRootFilesystem")),
            no_new_privileges=security.get("allowPrivilegeEscalation") is False,
            added=_texts(capabilities.get("add")),
            dropped=_texts(capabilities.get("drop")),
            ports=ports,
            tty=bool(body.get("tty")),
            stdin=bool(body.get("stdin")),
            startup=self._probe(inside, body, "startupProbe", ports),
            liveness=self._probe(inside, body, "livenessProbe", ports),
            readiness=self._probe(inside, body, "readinessProbe", ports),
        )

    def _carried(self, inside: str, image: str) -> str:
        try:
            return carried(self.images, image)
        except Invalid as problem:
            self._error(
                "image-digest", problem.detail, say("name the digest of the image in the package"), place=inside
            )
            return ""

    def _probe(self, inside: str, body: Mapping[str, Any], key: str, ports: Mapping[str, int]) -> Probe | None:
        probe = mapping(body.get(key))
        if not probe:
            return None
        http, tcp, run = (mapping(probe.get(kind)) for kind in ("httpGet", "tcpSocket", "exec"))
        if not (http or tcp or run):
            self._error(
                "probe-kind",
                say("{key} is neither httpGet, tcpSocket nor exec", key=key),
                say("use one of these"),
                place=inside,
            )
            return None
        wanted = (http or tcp).get("port", 0)
        port = ports[wanted] if isinstance(wanted, str) and wanted in ports else _port(wanted)
        if not run and not 0 < port < 65536:
            self._error(
                "probe-port",
                say("{key} asks port {wanted}, which there is not", key=key, wanted=repr(wanted)),
                say("use a number"),
                place=inside,
            )
        if (http or tcp).get("host"):
            self._error(
                "probe-host", say("{key} asks another host than its pod", key=key), say("remove host"), place=inside
            )
        return Probe(
            kind="http" if http else "tcp" if tcp else "exec",
            port=port,
            path=str(http.get("path") or "/"),
            scheme=str(http.get("scheme") or "HTTP").lower(),
            headers=tuple((str(h.get("name")), str(h.get("value"))) for h in items(http.get("httpHeaders"))),
            command=_texts(run.get("command")),
            delay=float(count(probe.get("initialDelaySeconds"), 0)),
            period=float(max(1, count(probe.get("periodSeconds"), 10))),
            timeout=float(max(1, count(probe.get("timeoutSeconds"), 1))),
            successes=max(1, count(probe.get("successThreshold"), 1)),
            failures=max(1, count(probe.get("failureThreshold"), 3)),
        )

    # Volumes

    def _volumes(self, spec: Mapping[str, Any], claims: Sequence[str]) -> tuple[Volume, ...]:
        volumes: dict[str, Volume] = {name: Volume(name, "claim", claim=name) for name in claims}
        for body in items(spec.get("volumes")):
            volume = self._volume(body)
            if volume is not None:
                volumes[volume.name] = volume
        for container in items(spec.get("initContainers")) + items(spec.get("containers")):
            for mount in items(container.get("volumeMounts")):
                inside = f"{self.place}/{container.get('name')}"
                known = volumes.get(str(mount.get("name")))
                if known is None:
                    if not any(mount.get("name") == body.get("name") for body in items(spec.get("volumes"))):
                        self._error(
                            "volume-missing",
                            say("mounts {name}, which the pod has not", name=repr(mount.get("name"))),
                            "",
                            inside,
                        )
                elif mount.get("subPath") and known.kind != "files":
                    self._error(
                        "sub-path", say("subPath works for ConfigMaps and Secrets only"), say("mount it whole"), inside
                    )
                elif not _below(str(mount.get("subPath") or "")):
                    self._error(
                        "sub-path",
                        say("{sub_path} lies outside of its volume", sub_path=repr(mount.get("subPath"))),
                        "",
                        inside,
                    )
                elif not str(mount.get("mountPath") or "").startswith("/") or ":" in str(mount.get("mountPath")):
                    self._error(
                        "mount-path",
                        say("{mount_path} is no absolute path", mount_path=repr(mount.get("mountPath"))),
                        "",
                        inside,
                    )
        return tuple(volumes.values())

    def _volume(self, body: Mapping[str, Any]) -> Volume | None:
        name = str(body.get("name") or "")
        self._check_inside("volume", name)
        if "emptyDir" in body:
            empty = mapping(body.get("emptyDir"))
            size = int(quantity(empty.get("sizeLimit") or 0))
            return Volume(name, "empty", in_memory=empty.get("medium") == "Memory", size=size)
        if "persistentVolumeClaim" in body:
            claim = str(mapping(body.get("persistentVolumeClaim")).get("claimName") or "")
            if not any(each.kind == "PersistentVolumeClaim" and each.name == claim for each in self.manifests):
                self._error(
                    "claim-missing",
                    say("wants the claim {claim}, which the chart does not bring", claim=repr(claim)),
                    say("add it"),
                )
            return Volume(name, "claim", claim=claim)
        if "hostPath" in body:
            return None  # told by host_findings
        files = self.sources.files(self.place, body)
        if files is None:
            kinds = ", ".join(sorted(set(body) - {"name"}))
            self._error(
                "volume-kind",
                say("volume {name} is of a kind that cannot be used here: {kinds}", name=repr(name), kinds=kinds),
                say("use emptyDir"),
            )
            return None
        return Volume(name, "files", files=files)


def _port(value: Any) -> int:
    """Return the number of a port, also one that is written as text; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 6:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536 else 0


def _below(path: str) -> bool:
    """Return whether a relative path stays below where it begins, and is one path for the runtime, too."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and ":" not in path and "\0" not in path


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in _listed(value))


def _share(value: Any, replicas: int, *, up: bool) -> int:
    """Return an absolute number for `2` or `25%` of `replicas`, as Kubernetes rounds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(0, min(value, LARGEST_COUNT))
    digits = str(value).removesuffix("%")
    if not digits.isdigit():
        return 1 if up else 0
    percent = min(int(digits), 100)
    return -(-replicas * percent // 100) if up else replicas * percent // 100
