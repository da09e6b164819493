"""Where live checks run an application: the rooms above lend nodes through this port.

The store knows no nodes. Whoever has some registers a provider; without one live checks are skipped, and say so.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypedDict
from uuid import UUID

from appstore.certification.contract import Sandbox
from core.errors import Missing
from core.operations.models import Operation
from core.registry import Registry
from core.words import say

logger = logging.getLogger("breakwater.certification")

#: The provider that is used; there is one in an installation.
PROVIDER = "mecm"


class SandboxNode(TypedDict):
    """A node that an organisation lends for trials; `simulated` means that nothing real runs there."""

    id: str
    name: str
    engine: str
    simulated: bool


class SandboxProvider(Protocol):
    """Lends nodes for trials."""

    def nodes(self, organisation_id: UUID) -> list[SandboxNode]:
        """Return the nodes on which that organisation may try applications."""

    def open(
        self, package_id: UUID, *, organisation_id: UUID, actor_id: UUID | None, node_id: str, operation: Operation
    ) -> AbstractContextManager[Sandbox]:
        """Lend a node for the length of a `with` block; leaving it removes whatever the trial left there.

        `Missing` when the node is not lent to that organisation, `Unavailable` when it cannot be reached.
        """


registry: Registry[type[SandboxProvider]] = Registry("sandboxes", {PROVIDER: "mecm.trials.sandbox:Provider"})


def provider() -> SandboxProvider:
    """Return the provider; `Missing` when this installation has none."""
    try:
        return registry.get(PROVIDER)()
    except (ImportError, AttributeError, Missing) as problem:
        logger.info("no sandbox provider: %s", problem)
        raise Missing(say("This installation lends no nodes for live checks")) from problem


def nodes(organisation_id: UUID | Any) -> list[SandboxNode]:
    """Return the nodes on which that organisation may try applications; none without a provider."""
    try:
        return provider().nodes(organisation_id)
    except Missing:
        return []
