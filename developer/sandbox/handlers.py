"""Long work of test deployments: one look at the node, and then the next one, until it is over."""

from __future__ import annotations

from core.operations import services as operations
from core.operations.models import Operation
from developer.sandbox import services
from developer.sandbox.models import TestDeployment


@operations.handles(services.LOOK, lease=120, max_attempts=20, stoppable=False)
def look(operation: Operation) -> None:
    """Look once. A worker that dies in the middle is followed by another one; the trial's lease is the last guard."""
    services.forget_looks(operation)
    rows = TestDeployment.objects.select_related("trial__node", "trial__package", "organisation")
    test = rows.filter(pk=operation.payload["test"]).first()
    if test is not None and test.ended_at is None:
        services.look(test)
