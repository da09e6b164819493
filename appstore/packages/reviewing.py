"""Whether somebody must look at a package before it becomes a release: the topic of reviews, above this one, decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.registry import Registry

if TYPE_CHECKING:
    from appstore.packages.models import Package
    from core.accounts.access import Actor


class Reviewing(Protocol):
    """Decides about one package that somebody wants to publish, in the transaction of that deed."""

    def __call__(self, package: Package, actor: Actor) -> bool:
        """Open a review and return True when one is needed; else change nothing."""


registry: Registry[Reviewing] = Registry("package-reviews", {"releases": "appstore.releases.reviewing:ask"})


def asked(package: Package, actor: Actor) -> bool:
    """Return whether a review was opened, so that the package waits for it."""
    return any(ask(package, actor) for _, ask in registry)
