"""Which partner stores a release of visibility `partners` is offered to."""

from __future__ import annotations

from django.db import transaction

from appstore.federation import meeting, serials
from appstore.federation.models import Peer, ReleaseGrant
from appstore.packages import states
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.audit import services as audit
from core.errors import Conflict
from core.words import say


@transaction.atomic
def grant(package: Package, peer: Peer, *, actor: Actor) -> ReleaseGrant:
    """Offer the release to the partner, as far as the agreement lets it; the same again changes nothing.

    `Conflict` for a release that is not ours, not in the catalogue, or not meant for named partners.
    """
    meeting.manager(actor)
    if package.origin or package.state not in states.LISTED:
        raise Conflict(say("Only releases of our own that are in the catalogue are offered to partners."))
    if package.visibility != Package.Visibility.PARTNERS:
        raise Conflict(
            say("{package} is not for named partners; change who sees it on its page first.", package=package)
        )
    made, fresh = ReleaseGrant.objects.get_or_create(package=package, peer=peer)
    if fresh:
        audit.record(actor, "release.grant", package, peer=peer.name, store=peer.store_id)
        serials.note_change(package)
    return made


@transaction.atomic
def take_back(package: Package, peer: Peer, *, actor: Actor) -> None:
    """Offer it to the partner no longer; what it has fetched already stays with it. Twice is once."""
    meeting.manager(actor)
    gone, _ = ReleaseGrant.objects.filter(package=package, peer=peer).delete()
    if gone:
        audit.record(actor, "release.ungrant", package, peer=peer.name, store=peer.store_id)
        serials.note_change(package)
