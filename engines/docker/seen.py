"""What is there, as plain data: containers by pod, and what we know of their health."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engines.contract import Reason

PREFIX = "io.breakwater."
#: The name of the container that holds a pod's network; no chart can use it, being upper case.
HOLDER = "POD"

PodKey = tuple[str, str, str]  # namespace, release, pod
ContainerKey = tuple[str, str, str, str]


@dataclass(slots=True)
class Seen:
    """One container; `state` is the runtime's word: created, running, exited, dead, removing."""

    id: str
    name: str
    state: str
    image: str = ""


@dataclass(slots=True)
class Pod:
    """One pod as found by the labels of its containers."""

    namespace: str
    release: str
    name: str
    workload: str
    digest: str
    holder: Seen | None = None
    members: dict[str, Seen] = field(default_factory=dict)
    address: str = ""

    @property
    def key(self) -> PodKey:
        return self.namespace, self.release, self.name

    def all(self) -> list[Seen]:
        """Return every container, the holder last."""
        return [*self.members.values(), *([self.holder] if self.holder else [])]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    oom: bool
    ran: float


@dataclass(slots=True)
class Fate:
    """What a container went through: how often it was started again, why, and not before when once more."""

    restarts: int = 0
    level: int = 0
    due: float = 0.0
    reason: Reason = Reason.NONE
    message: str = ""
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """What probes say: `known` is False until they had time to say anything."""

    ready: bool
    known: bool = True
    must_die: bool = False
    message: str = ""


def pods(listed: Iterable[Mapping[str, Any]]) -> dict[PodKey, Pod]:
    """Return the pods that a list of containers (as the Docker API gives it) makes up."""
    found: dict[PodKey, Pod] = {}
    for entry in listed:
        labels = entry.get("Labels") or {}
        namespace, release, name = (str(labels.get(PREFIX + part, "")) for part in ("namespace", "release", "pod"))
        if not (namespace and release and name):
            continue
        key = (namespace, release, name)
        if key not in found:
            found[key] = Pod(*key, labels.get(PREFIX + "workload", ""), labels.get(PREFIX + "digest", ""))
        pod = found[key]
        seen = Seen(
            id=str(entry.get("Id")),
            name=labels.get(PREFIX + "container", ""),
            state=str(entry.get("State")),
            image=str(entry.get("Image")),
        )
        if seen.name == HOLDER:
            pod.holder = seen
            networks = ((entry.get("NetworkSettings") or {}).get("Networks") or {}).values()
            pod.address = next((str(each["IPAddress"]) for each in networks if each.get("IPAddress")), "")
        else:
            pod.members[seen.name] = seen
    return found
