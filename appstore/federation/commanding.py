"""What the commands of this topic share."""

from __future__ import annotations

from django.db.models import Q

from appstore.federation.models import Peer
from core.errors import Conflict, Missing
from core.words import say


def peer_named(words: str) -> Peer:
    """Return the partner of that name or store id; `Missing` without one, `Conflict` when two have the name."""
    found = list(Peer.objects.filter(Q(name__iexact=words) | Q(store_id=words.lower()))[:2])
    if not found:
        names = ", ".join(Peer.objects.values_list("name", flat=True)[:20]) or "none"
        raise Missing(say("There is no partner {words}; there are: {names}", words=repr(words[:60]), names=names))
    if len(found) > 1:
        raise Conflict(say("Two partners are called {words}; say the id of the store.", words=repr(words[:60])))
    return found[0]
