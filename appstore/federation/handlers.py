"""Long work between stores that a worker does."""

from __future__ import annotations

from appstore.federation import agreements, edgegallery, meeting, recommendations, services  # noqa: F401  (they know kinds of work)
from appstore.federation.models import Peer
from core.errors import Missing
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say


# Full jitter up to a minute between the attempts: about half an hour, then a person or the peer itself asks again.
@operations.handles(services.DELIVER, max_attempts=60)
def deliver(operation: Operation) -> None:
    """Deliver what waits for a peer."""
    peer = Peer.objects.filter(pk=operation.payload["peer"]).first()
    if peer is None:
        raise Missing(say("The partner is gone."))
    sent = services.deliver(peer)
    operation.progress(100, say("1 message delivered") if sent == 1 else say("{sent} messages delivered", sent=sent))
