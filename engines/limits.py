"""How much of a shared machine a container, a tenant and its network may have, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a runtime that has none of its own; 0 means none.

    `memory` and `disk` are what a container gets that declares none, `pids` and `log` what each gets. What a chart
    declares wins, but no container gets more than `container_memory`, and no tenant's containers more than
    `tenant_memory` together.
    """

    memory: int = 512 << 20
    pids: int = 4096
    disk: int = 10 << 30
    log: int = 10 << 20
    container_memory: int = 0
    tenant_memory: int = 0

    def memory_for(self, declared: int) -> int:
        """Return the limit of a container that declares this much; 0 declares nothing."""
        # The cap holds for what ran before it was set, too, and for a revision that comes back. What a tenant has in all is
        # judged by what is declared.
        own = (
            (declared, self.container_memory) if declared else (self.memory, self.container_memory, self.tenant_memory)
        )
        return min((each for each in own if each), default=0)

    def disk_for(self, declared: int) -> int:
        """Return how large the layer may grow into which a container writes that declares this much."""
        return declared or self.disk


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whether the networks of tenants are really kept apart: `enforced`, `not-enforced` or `unknown`, and by what."""

    state: str = "unknown"
    by: str = ""
