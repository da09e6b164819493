"""A copy of a partner's release goes no further than the partner lets the original go."""

from __future__ import annotations

from uuid import UUID

from appstore.federation import feed
from appstore.federation.models import RemoteRelease
from appstore.packages.gates import Deed
from appstore.packages.models import Package
from core.errors import Conflict
from core.words import say


def gate(deed: Deed, package: Package, organisation_id: UUID) -> None:
    """`Conflict` for a copy whose original was withdrawn, yanked, quarantined or recalled."""
    if not package.origin:
        return
    offer = RemoteRelease.objects.select_related("peer").filter(package=package, peer__store_id=package.origin).first()
    if offer is not None and offer.state in feed.STATES and offer.state not in feed.OFFERED:
        reason = str(offer.metadata.get("reason", ""))
        raise Conflict(
            say(
                "{peer} has {state} this release{reason}. Take another version.",
                peer=offer.peer,
                state=offer.state,
                reason=": " + reason if reason else "",
            ),
            state=offer.state,
            peer=str(offer.peer_id),
        )
