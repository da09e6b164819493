"""Topics above this one that want to hear when the inside of a package is known or known anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.registry import Registry

if TYPE_CHECKING:
    from appstore.contents.models import Contents


class Follower(Protocol):
    """Hears of one package; runs inside the transaction, in a worker, and does no long work."""

    def __call__(self, contents: Contents) -> None:
        """Note what follows."""


registry: Registry[Follower] = Registry("contents-followers", {"oci": "appstore.oci.following:follow"})


def tell(contents: Contents) -> None:
    """Tell every follower, in the order of their names."""
    for _, follow in registry:
        follow(contents)
