"""What limits mean for a chart: told in its plan, and refused where it asks for more than the node gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.findings import Finding, Level
from core.words import say
from engines.limits import Limits
from engines.pods.wanted import Wanted, Workload


def limit_findings(wanted: Wanted, limits: Limits, taken: int = 0) -> Iterator[Finding]:
    """Tell which containers get limits that their chart does not declare, and what goes beyond what may be had.

    `taken` is what the tenant's other releases may use already.
    """
    for workload in wanted.workloads:
        for container in (*workload.template.init, *workload.template.containers):
            place = f"{workload.key}/{container.name}"
            if not container.memory and (given := limits.memory_for(0)):
                yield Finding(
                    Level.WARNING,
                    "memory-by-default",
                    place,
                    say(
                        "declares no memory limit, so the node gives its own: {memory}, unless its operator set another",
                        memory=_size(given),
                    ),
                    say("set resources.limits.memory"),
                )
            if limits.container_memory and container.memory > limits.container_memory:
                yield Finding(
                    Level.ERROR,
                    "memory-above-cap",
                    place,
                    say(
                        "wants {memory} of memory; a container gets up to {most} on this node",
                        memory=_size(container.memory),
                        most=_size(limits.container_memory),
                    ),
                    say("set a lower resources.limits.memory, or ask the node's operator"),
                )
    needed = memory_of(wanted.workloads, limits)
    if limits.tenant_memory and needed + taken > limits.tenant_memory:
        yield Finding(
            Level.ERROR,
            "tenant-memory",
            "resources.limits.memory",
            say(
                "its containers may take {needed} and the tenant's others {taken}; a tenant gets {most} on this node",
                needed=_size(needed),
                taken=_size(taken),
                most=_size(limits.tenant_memory),
            ),
            say("set lower limits or fewer replicas, remove another application, or ask the node's operator"),
        )


def memory_of(workloads: Iterable[Workload], limits: Limits) -> int:
    """Return how much memory the containers of these may take in all; those of one pod that only prepare it aside."""
    return sum(
        workload.replicas * sum(limits.memory_for(each.memory) for each in workload.template.containers)
        for workload in workloads
    )


def _size(octets: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= factor:
            return f"{octets / factor:.4g} {unit}"
    return f"{octets} B"
