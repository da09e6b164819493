"""What should run, as plain data: the nouns between Kubernetes' objects and the container runtime's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Probe:
    """A startup, liveness or readiness probe; `port` may be a port's name until the container is known."""

    kind: str  # http | tcp | exec
    port: int = 0
    path: str = "/"
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: a text, or a field of the pod that is known only when it runs."""

    name: str
    value: str = field(default="", repr=False)
    pod_field: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a volume appears in a container."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod."""

    name: str
    image: str
    #: The image that the package carries under this name; empty when the node must have it.
    image_id: str = ""
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    workdir: str = ""
    mounts: tuple[Mount, ...] = ()
    nano_cpus: int = 0
    memory: int = 0
    disk: int = 0
    user: str = ""
    groups: tuple[str, ...] = ()
    must_not_be_root: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    tty: bool = False
    stdin: bool = False
    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a ConfigMap or Secret volume."""

    path: str
    body: bytes = field(repr=False)
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a pod. `kind`: files (ConfigMap, Secret, ...), empty (emptyDir) or claim (a named volume)."""

    name: str
    kind: str
    files: tuple[File, ...] = ()
    claim: str = ""
    in_memory: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What each pod of a workload is; `digest` changes exactly when running pods must be replaced."""

    digest: str
    labels: Mapping[str, str]
    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    grace: int = 30
    restart: str = "Always"
    aliases: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    group: int | None = None

    def container(self, name: str) -> Container | None:
        """Return the container or init container called `name`."""
        return next((each for each in (*self.containers, *self.init) if each.name == name), None)

    def port(self, wanted: int | str) -> int:
        """Return the number of a port that a Service or probe names; 0 when no container has it."""
        if isinstance(wanted, int):
            return wanted
        return next((each.ports[wanted] for each in self.containers if wanted in each.ports), 0)


@dataclass(frozen=True, slots=True)
class Workload:
    """One Deployment, StatefulSet, DaemonSet, Job or Pod.

    `surge` and `unavailable` bound a rolling update: how many pods more, and how many fewer ready ones, than wanted.
    """

    kind: str
    name: str
    replicas: int
    template: PodTemplate
    surge: int = 1
    unavailable: int = 0
    recreate: bool = False
    ordered: bool = False
    parallel: bool = False
    service: str = ""
    claims: tuple[str, ...] = ()
    retries: int = 6
    deadline: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"


#: What a Service may ask for by number, as in Kubernetes (`--service-node-port-range`). Any other belongs to the node
#: itself: a tenant must not answer in the place of a service of the host that restarts.
NODE_PORTS = range(30000, 32768)


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service; `target` is the number or name of a container's port."""

    name: str
    port: int
    target: int | str
    protocol: str = "TCP"
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A name under which pods are found; `exposed` ones also get a loopback port on the node."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    exposed: bool = False
    aliases: tuple[str, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Return whether pods with these labels are behind this Service; no selector selects nothing."""
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector.items())


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a release wants to run."""

    workloads: tuple[Workload, ...] = ()
    services: tuple[Service, ...] = ()
    claims: tuple[str, ...] = ()

    def workload(self, key: str) -> Workload | None:
        """Return the workload with this `Kind/name`."""
        return next((each for each in self.workloads if each.key == key), None)
