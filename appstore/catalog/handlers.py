"""Long work of this topic."""

from __future__ import annotations

from appstore.catalog import notices, services
from core.operations.models import Operation
from core.operations.services import handles

REBUILD = "catalog.rebuild"


@handles(notices.TELL)
def tell(operation: Operation) -> None:
    """Tell followers what has happened to releases."""
    events = [(key, event) for key, event in operation.payload["events"]]
    notices.tell(events, operation.payload["serial"])


@handles(REBUILD, lease=600)
def rebuild(operation: Operation) -> None:
    """Make the index anew: after an update that brought it, or when somebody asks."""
    services.rebuild(lambda done, of: operation.progress(done * 100 // max(1, of), f"{done} of {of} releases"))
