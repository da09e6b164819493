"""Topics above this one that want to hear when the certificates of packages changed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import util
from typing import Any, Final, Protocol

from core.registry import Registry


class Follower(Protocol):
    """Hears of packages; runs inside the transaction of the deed, and does no long work."""

    def __call__(self, package_ids: Iterable[Any], /) -> Any:
        """Note what follows."""


_BUILT_IN: Final = {
    "catalog": "appstore.catalog.services:refresh",
    "federation": "appstore.federation.following:certified",
}
#: A topic that is not installed hears nothing.
registry: Registry[Follower] = Registry(
    "certification-followers",
    {name: target for name, target in _BUILT_IN.items() if util.find_spec(target.partition(":")[0]) is not None},
)


def tell(package_ids: Iterable[Any]) -> None:
    """Tell every follower, in the order of their names."""
    ids = [each for each in package_ids if each is not None]
    for _, follow in registry:
        if ids:
            follow(ids)
