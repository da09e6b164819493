"""Topics above this one that want to know when a deployment is gone from its node."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

Follower = Callable[[UUID], None]

_followers: list[Follower] = []


def when_gone(follower: Follower) -> Follower:
    """Decorate a function that is told the id of each removed deployment, in the transaction that says so."""
    if follower not in _followers:
        _followers.append(follower)
    return follower


def tell_gone(deployment_id: UUID) -> None:
    """Tell everybody who wants to know."""
    for follower in _followers:
        follower(deployment_id)
