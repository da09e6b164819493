"""Long work of this topic."""

from __future__ import annotations

from appstore.catalog import notices, services, webhooks
from core.operations.models import Operation
from core.operations.services import handles
from core.words import say

REBUILD = "catalog.rebuild"


@handles(notices.TELL)
def tell(operation: Operation) -> None:
    """Tell followers and webhooks what has happened to releases."""
    events = {str(key): str(event) for key, event in operation.payload["events"]}
    notices.tell(events, operation.payload["serial"])
    webhooks.announce(events, operation.payload["serial"])


@handles(webhooks.DELIVER)
def deliver(operation: Operation) -> None:
    """Send one event to one webhook; further attempts are requests of their own."""
    webhooks.deliver(operation.payload["delivery"])


@handles(REBUILD, lease=600)
def rebuild(operation: Operation) -> None:
    """Make the index anew: after an update that brought it, or when somebody asks."""
    services.rebuild(
        lambda done, of: operation.progress(done * 100 // max(1, of), say("{done} of {of} releases", done=done, of=of))
    )
