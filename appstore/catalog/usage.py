"""Who has deployed an application: asked of the topics that know. The console above this topic is one of them."""

from __future__ import annotations

from collections.abc import Collection
from importlib import util
from typing import Any, Protocol
from uuid import UUID

from core.registry import Registry


class Usage(Protocol):
    """Tells which of some packages an organisation has deployed, now or before."""

    def __call__(self, organisation_id: UUID, package_ids: Collection[Any]) -> Collection[Any]:
        """Return the ids of those packages that the organisation has deployed successfully at least once; one query."""


_CONSOLE = "mecm.deployments.usage:deployed"
registry: Registry[Usage] = Registry(
    "package-usage", {"deployments": _CONSOLE} if util.find_spec("mecm") is not None else {}
)


def deployed(organisation_id: UUID, package_ids: Collection[Any]) -> set[Any]:
    """Return those of the packages that the organisation has deployed, by whichever topic knows of it."""
    found: set[Any] = set()
    for _, ask in registry:
        found |= set(ask(organisation_id, package_ids))
    return found
