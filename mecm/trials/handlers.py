"""Long work of trials: what nobody uses any more is cleared away, whoever made it and died."""

from __future__ import annotations

from core.operations import services as operations
from core.operations.models import Operation
from mecm.trials import services
from mecm.trials.models import Trial


@operations.handles("trial.close", max_attempts=20, stoppable=False)
def close(operation: Operation) -> None:
    """Look whether a trial is abandoned and do a step of clearing away; comes back until nothing is left."""
    trial = Trial.objects.filter(pk=operation.payload["trial"]).first()
    # A look each half a minute at a node that is away for weeks would be a heap.
    finished = [Operation.State.SUCCEEDED, Operation.State.FAILED, Operation.State.CANCELLED]
    Operation.objects.filter(kind=operation.kind, target=operation.target, state__in=finished).delete()
    if trial is not None:
        services.close_if_abandoned(trial)
