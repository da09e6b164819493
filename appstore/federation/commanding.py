"""What the commands of this topic share."""

from __future__ import annotations

from django.db.models import Q

from appstore.federation.models import Peer
from core.errors import Conflict, Missing


def peer_named(words: str) -> Peer:
    """Return the partner of that name or store id; `Missing` without one, `Conflict` when two have the name."""
    found = list(Peer.objects.filter(Q(name__iexact=words) | Q(store_id=words.lower()))[:2])
    if not found:
        names = ", ".join(Peer.objects.values_list("name", flat=True)[:20]) or "none"
        raise Missing(f"There is no partner {words[:60]!r}; there are: {names}")
    if len(found) > 1:
        raise Conflict(f"Two partners are called {words[:60]!r}; say the id of the store.")
    return found[0]
