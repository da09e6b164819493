"""Topics that keep something about packages and so want to hear when one was checked or changed.

They stand above this topic, which therefore knows them by name only. A follower runs inside the transaction of the deed:
it writes rows or asks for an operation, and does no long work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from core.registry import Registry

if TYPE_CHECKING:
    from appstore.packages.models import Package

#: `checked`: a check was written down. `changed`: state or visibility of a release changed. `gone`: about to be deleted.
Event = Literal["checked", "changed", "gone"]


class Follower(Protocol):
    """Hears of one event about one package."""

    def __call__(self, event: Event, package: Package) -> None:
        """Note what follows from the event."""


registry: Registry[Follower] = Registry("package-followers", {"contents": "appstore.contents.following:follow"})


def tell(event: Event, package: Package) -> None:
    """Tell every follower, in the order of their names."""
    for _, follow in registry:
        follow(event, package)
