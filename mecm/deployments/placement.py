"""Where an application fits, and why not elsewhere. Decisions only: no database, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from core.words import say
from engines.contract import Compute
from engines.hosts import overlap

#: What people call the architectures that packages and runtimes name differently.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64v8": "arm64", "armv8": "arm64"}

_NOTHING = Compute()
#: What a node may have said nothing of.
_CPU, _MEMORY, _STORAGE = say("CPU"), say("memory"), say("storage")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one release of an application needs.

    `refused` says what in the chart the node's engine cannot run. An empty architecture means "any".
    """

    name: str
    namespace: str
    compute: Compute = _NOTHING
    architectures: frozenset[str] = frozenset()
    app_class: str = "container"
    services: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    uses_mep: bool = False
    #: Hosts that the chart claims in an Ingress.
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allocation:
    """A release that holds a place on the node already."""

    name: str
    namespace: str
    compute: Compute = _NOTHING
    #: Nobody waits for its removal, but its name is not free: see `services.abandon`.
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node. A capacity of 0 is "not known"; `services` is None when the MEP has told nothing."""

    name: str
    engine: str
    capacity: Compute = _NOTHING
    state: str = "online"
    architecture: str = ""
    reachable: bool = True
    services: frozenset[str] | None = None
    has_mep: bool = True
    #: Its identity was taken away, so that it cannot connect until it joins again.
    shut_out: bool = False
    #: Namespace and domain name of each DNS rule of the applications there; read only where a chart claims hosts.
    names: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a release cannot be placed on a node (or, as a remark, what its owner should know)."""

    code: str
    message: str
    #: What the message is about, for those who say it in another language: `node`, `need`, `free` and the like.
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return the reason as JSON values."""
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Placement:
    """The verdict on one node: it fits when there is no reason against it."""

    reasons: tuple[Reason, ...] = ()
    remarks: tuple[Reason, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the release may be placed there."""
        return not self.reasons


def place(requirement: Requirement, node: NodeFacts, present: Iterable[Allocation]) -> Placement:
    """Return whether the release fits on the node beside what is there, with every reason why not at once."""
    present = list(present)
    reasons: list[Reason] = []
    wears = (requirement.namespace, requirement.name)
    if taken := [each for each in present if (each.namespace, each.name) == wears]:
        reasons.append(_name_taken(requirement.name, node.name, taken))
    if requirement.app_class.lower() not in ("", "container"):
        reasons.append(
            Reason(
                "app-class",
                say(
                    "is an application of class {app_class}; {name} runs containers",
                    app_class=requirement.app_class,
                    name=node.name,
                ),
                {"node": node.name, "class": requirement.app_class},
            )
        )
    wanted = {architecture(each) for each in requirement.architectures} - {""}
    if wanted and node.architecture and architecture(node.architecture) not in wanted:
        reasons.append(
            Reason(
                "architecture",
                say(
                    "needs {wanted}, {name} is {architecture}",
                    wanted=" or ".join(sorted(wanted)),
                    name=node.name,
                    architecture=architecture(node.architecture),
                ),
                {"need": " / ".join(sorted(wanted)), "node": node.name, "has": architecture(node.architecture)},
            )
        )
    if not node.reachable:
        reasons.append(
            Reason(
                "unreachable",
                say("{name} has no kubeconfig, so its cluster cannot be reached", name=node.name),
                {"node": node.name},
            )
        )
    if requirement.uses_mep and not node.has_mep:
        reasons.append(
            Reason(
                "no-mep",
                say("names services or rules, and no MEP was set for {name}", name=node.name),
                {"node": node.name, "needs": "mep"},
            )
        )
    reasons += [Reason("cannot-run", message) for message in requirement.refused]
    reasons += _claimed(requirement, node)
    reasons += _short(requirement.compute, node.capacity, present)
    return Placement(tuple(reasons), tuple(_remarks(requirement, node)))


def _claimed(requirement: Requirement, node: NodeFacts) -> Iterable[Reason]:
    """Tell which hosts another tenant's application on the node has; not whose."""
    others = [name for namespace, name in node.names if namespace != requirement.namespace]
    for host in sorted(set(requirement.hosts)):
        if any(overlap(host, each) for each in others):
            yield Reason(
                "host-taken",
                say(
                    "claims the host {host}, which an application of another tenant on {node} has; take another host, "
                    "or ask the node's operator",
                    host=host,
                    node=node.name,
                ),
            )


def _name_taken(name: str, node: str, taken: list[Allocation]) -> Reason:
    facts = {"node": node, "name": name}
    if all(each.given_up for each in taken):
        return Reason(
            "name-given-up",
            say(
                "a release named {name} was given up on {node}, and its late removal would hit this "
                "one; take another name until {node} has confirmed that it is gone",
                name=name,
                node=node,
            ),
            facts,
        )
    return Reason("name-taken", say("there is a release named {name} on {node} already", name=name, node=node), facts)


def free(capacity: Compute, present: Iterable[Allocation]) -> Compute:
    """Return what is left of a capacity; never below zero."""
    taken = total(each.compute for each in present)
    return Compute(
        cpu_millis=max(0, capacity.cpu_millis - taken.cpu_millis),
        memory_bytes=max(0, capacity.memory_bytes - taken.memory_bytes),
        storage_bytes=max(0, capacity.storage_bytes - taken.storage_bytes),
    )


def total(computes: Iterable[Compute]) -> Compute:
    """Return the sum."""
    cpu = memory = storage = 0
    for each in computes:
        cpu, memory, storage = cpu + each.cpu_millis, memory + each.memory_bytes, storage + each.storage_bytes
    return Compute(cpu, memory, storage)


def architecture(name: str) -> str:
    """Return the name of an architecture as Go and OCI images spell it."""
    plain = name.strip().lower()
    return _ARCHITECTURES.get(plain, plain)


def _short(needed: Compute, capacity: Compute, present: list[Allocation]) -> list[Reason]:
    left = free(capacity, present)
    rows = [
        ("cpu", needed.cpu_millis, left.cpu_millis, capacity.cpu_millis, _cores, "CPU"),
        ("memory", needed.memory_bytes, left.memory_bytes, capacity.memory_bytes, _size, "memory"),
        ("storage", needed.storage_bytes, left.storage_bytes, capacity.storage_bytes, _size, "storage"),
    ]
    return [
        Reason(
            code,
            say(
                "does not fit: needs {need} {noun}, {remaining} free",
                need=amount(need),
                noun=noun,
                remaining=amount(remaining),
            ),
            {"need": amount(need), "free": amount(remaining)},
        )
        for code, need, remaining, has, amount, noun in rows
        if has and need > remaining
    ]


def _remarks(requirement: Requirement, node: NodeFacts) -> Iterable[Reason]:
    for remark in requirement.remarks:
        yield Reason("chart", remark)
    if node.shut_out:
        yield Reason(
            "shut-out",
            say("the identity of {name} was revoked; it must join again before it starts anything", name=node.name),
        )
    elif node.state in ("new", "enrolled"):
        yield Reason(
            "not-online",
            say("{name} has never connected; it will start the application when it does", name=node.name),
            {"node": node.name, "state": "new"},
        )
    elif node.state != "online":
        yield Reason(
            "not-online",
            say("{name} is {state}; it will start the application when it is back", name=node.name, state=node.state),
            {"node": node.name, "state": node.state},
        )
    unknown = [
        noun
        for noun, need, has in (
            (_CPU, requirement.compute.cpu_millis, node.capacity.cpu_millis),
            (_MEMORY, requirement.compute.memory_bytes, node.capacity.memory_bytes),
            (_STORAGE, requirement.compute.storage_bytes, node.capacity.storage_bytes),
        )
        if need and not has
    ]
    if unknown:
        yield Reason(
            "capacity-unknown",
            say("{name} has not said how much {unknown} it has", name=node.name, unknown=reduce(_and, unknown)),
        )
    if not node.has_mep:
        yield Reason(
            "no-mep",
            say("no MEP was set for {name}, so the application gets no identity there", name=node.name),
            {"node": node.name},
        )
        return
    if requirement.services and node.services is None:
        yield Reason(
            "services-unknown",
            say("the MEP of {name} has not told which services it has", name=node.name),
            {"node": node.name},
        )
    absent = requirement.services - node.services if node.services is not None else ()
    for service in sorted(absent):
        yield Reason(
            "service-absent",
            say(
                "needs the service {service}, which no application on {name} offers now",
                service=service,
                name=node.name,
            ),
            {"node": node.name, "service": service},
        )


def _and(one: str, another: str) -> str:
    return say("{one} and {another}", one=one, another=another)


def _cores(millis: int) -> str:
    return f"{millis / 1000:g}"


def _size(octets: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= factor:
            return f"{octets / factor:.4g} {unit}"
    return f"{octets} B"


def as_document(placement: Placement) -> dict[str, Any]:
    """Return the verdict as JSON values."""
    return {
        "fits": placement.fits,
        "reasons": [each.as_dict() for each in placement.reasons],
        "remarks": [each.as_dict() for each in placement.remarks],
    }
