"""What every engine does: a Helm chart becomes running workloads.

Plain dataclasses in, plain dataclasses out; no Django, no models. One contract suite
(`tests/contracts/engine.py`) runs for each engine.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from core.errors import Invalid
from core.findings import Finding
from core.words import say
from engines.limits import Isolation, Limits


class State(enum.StrEnum):
    """The observed state of a release or of one workload.

    `ready` is only said when every wanted replica is ready at the wanted revision: an image that
    is missing or a probe that fails is never `ready`.
    """

    ABSENT = "absent"
    PROGRESSING = "progressing"
    READY = "ready"
    FAILED = "failed"


class Reason(enum.StrEnum):
    """Why something is not ready, in Kubernetes' own terms where it has them."""

    NONE = ""
    STARTING = "Starting"
    IMAGE_MISSING = "ImagePullBackOff"
    CRASH_LOOP = "CrashLoopBackOff"
    OOM_KILLED = "OOMKilled"
    PROBE_FAILING = "ProbeFailing"
    UNSCHEDULABLE = "Unschedulable"
    CONFIG_ERROR = "CreateContainerConfigError"
    DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Compute:
    """What a chart asks for in all: the sum over containers times replicas (requests, else limits)."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """One rendered object of a chart, in install order."""

    kind: str
    name: str
    api_version: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HostClaim:
    """A host whose requests an object asks the node's proxy for; an empty host is every host."""

    place: str
    host: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a chart would become; made without touching anything.

    `findings` holds every reason why this engine could not run it, all at once. `hosts` are those that its objects
    claim where something serves them.
    """

    manifests: tuple[Manifest, ...]
    findings: tuple[Finding, ...]
    compute: Compute
    images: tuple[str, ...] = ()
    hosts: tuple[HostClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """A wish: this chart, with these values, under this name in this namespace (one per tenant).

    `chart` is a `.tgz` or a chart folder on local disk. `generation` is the caller's number of the
    wish; it is kept with the revision so that applying the same wish twice makes one revision.
    `values` may hold secrets: an engine never logs them. `images` are those that came with the package: what a chart
    may call them, and the IDs that `load_image` gave. A name means the release's own image before any that the node has.
    `hosts` are the names that the release may claim in an Ingress.
    """

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a release's history; `number` counts up from 1, a rollback adds a new one.

    `status` is Helm's word: deployed, superseded, failed, uninstalling, pending-install,
    pending-upgrade, pending-rollback.
    """

    number: int
    generation: int
    chart: str
    chart_version: str
    status: str
    created_at: datetime
    description: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """One Deployment, StatefulSet, DaemonSet, Job or Pod of a release."""

    kind: str
    name: str
    state: State
    wanted: int
    ready: int
    reason: Reason = Reason.NONE
    message: str = ""
    restarts: int = 0
    pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Service of the release is reached.

    `address:port` is reachable from the node itself (loopback for the docker engine);
    `cluster_host:cluster_port` from other apps on the node.
    """

    service: str
    port_name: str
    protocol: str
    cluster_host: str
    cluster_port: int
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseStatus:
    """The honest state of a release; `reason` and `message` are the worst workload's."""

    name: str
    namespace: str
    state: State
    revision: int = 0
    generation: int = 0
    reason: Reason = Reason.NONE
    message: str = ""
    workloads: tuple[WorkloadStatus, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an object of a release; `type` is Normal or Warning, as in Kubernetes."""

    at: datetime
    type: str
    reason: str
    object: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a container wrote."""

    at: datetime | None
    pod: str
    container: str
    text: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a node can hold, in all; what is free is the caller's sum over what it placed there."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0


@dataclass(frozen=True)
class EngineSettings:
    """How to reach one runtime. An engine reads only what concerns it.

    `state_dir` is a folder of the engine's own (release history, files of ConfigMaps).
    `kubeconfig` is the text of a kubeconfig, kept in memory and never logged. `internal_networks` gives
    containers of the docker engine no route out of the node. `restart_backoff` is the pause before the second restart
    of a container in seconds, doubled each time (where the engine itself restarts). `limits` are for runtimes without
    limits of their own. `pod_networks` are those of a cluster's pods where its nodes do not tell them, `ue_networks`
    those of UEs and of N6, from which its pods may be asked whatever else is known.
    """

    name: str = "local"
    state_dir: Path | None = None
    socket: str = ""
    kubeconfig: str = field(default="", repr=False)
    context: str = ""
    helm: str = "sdk"
    progress_deadline: float = 300.0
    internal_networks: bool = True
    restart_backoff: float = 10.0
    limits: Limits = field(default_factory=Limits)
    pod_networks: tuple[str, ...] = ()
    ue_networks: tuple[str, ...] = ()


class Engine(ABC):
    """The contract. Methods raise only errors of `core.errors`; each may be called from any thread.

    A process may die at any moment: calling `apply` or `remove` again converges, and nothing is doubled.
    """

    name: ClassVar[str]

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings

    @abstractmethod
    def ping(self) -> str:
        """Return the runtime's version in words; `Unavailable` when it does not answer."""

    @abstractmethod
    def capacity(self) -> Capacity:
        """Return what the runtime has in all."""

    @abstractmethod
    def plan(self, chart: Path, values: Mapping[str, Any], *, name: str = "plan", namespace: str = "default") -> Plan:
        """Render and check the chart; touch nothing. `Invalid` when Helm cannot render it or values break its schema."""

    @abstractmethod
    def apply(self, release: Release) -> Revision:
        """Install or upgrade so that the release is as wished, and return at once, before it is ready.

        The same release twice is one revision. Kinds that cannot run are refused with `Invalid`
        (`findings` in its context) before anything starts.
        """

    @abstractmethod
    def rollback(self, name: str, namespace: str, revision: int | None = None, *, generation: int = 0) -> Revision:
        """Go back to `revision` (default: the last one before the present that was deployed) as a new revision."""

    @abstractmethod
    def remove(self, name: str, namespace: str) -> None:
        """Let the release go with everything it owned; gone already is fine.

        May return while containers still say goodbye: `status` is `State.ABSENT` only when nothing is left.
        """

    @abstractmethod
    def status(self, name: str, namespace: str) -> ReleaseStatus:
        """Return the observed state; `State.ABSENT` for a release that is not there."""

    @abstractmethod
    def releases(self) -> list[tuple[str, str]]:
        """Return `(namespace, name)` of every release this engine manages, sorted."""

    @abstractmethod
    def history(self, name: str, namespace: str) -> list[Revision]:
        """Return the revisions, oldest first; `Missing` for a release that is not there."""

    @abstractmethod
    def logs(self, name: str, namespace: str, *, workload: str = "", tail: int = 200) -> list[LogLine]:
        """Return the last lines of the release's containers, oldest first."""

    @abstractmethod
    def events(self, name: str, namespace: str, *, limit: int = 100) -> list[Event]:
        """Return what happened to the release, newest first."""

    def load_image(self, archive: Path) -> dict[str, str]:
        """Load a docker-archive and return the IDs of its images by their full names, for `Release.images`.

        No name in the runtime is given or moved: only releases that get these IDs run the images. `Invalid` when the
        archive is not what it says, and where images come from a registry only. What no release claims goes again.
        """
        raise Invalid(say("The {name} engine takes images from a registry, not from a package", name=self.name))

    def isolation(self) -> Isolation:
        """Return whether something keeps the networks of tenants apart here, as far as the runtime tells."""
        return Isolation()

    def limits(self) -> Limits | None:
        """Return the limits that containers get here; None where the runtime has limits of its own."""
        return None

    def halt(self) -> None:  # noqa: B027 - many runtimes need nothing here
        """Stop and remove what runs but keep the release history; the next `supervise` brings it back."""

    def supervise(self) -> None:  # noqa: B027 - many runtimes need nothing here
        """Do one round of what the runtime does not do by itself (probes, restarts, loopback ports).

        The process that owns the node calls this about twice a second. Runtimes that look after themselves do nothing.
        """

    def close(self) -> None:  # noqa: B027 - many runtimes need nothing here
        """Let go of connections and threads; running workloads stay."""
