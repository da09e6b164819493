"""Topics above this one that act when a recall is issued or lifted: known by name, told inside its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.registry import Registry

if TYPE_CHECKING:
    from appstore.releases.models import Recall


class Follower(Protocol):
    """Hears of a recall that was issued or lifted, and of a list that was signed anew (None)."""

    def __call__(self, recall: Recall | None) -> None:
        """Write rows or ask for an operation; no long work."""


registry: Registry[Follower] = Registry("recall-followers", {"nodes": "mecm.recalls.following:follow"})


def tell(recall: Recall | None) -> None:
    """Tell every follower, in the order of their names."""
    for _, follow in registry:
        follow(recall)
