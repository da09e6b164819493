"""The handler that the workers of `operations_drain.py` load: it does nothing."""

from core.operations import services as operations
from core.operations.models import Operation


@operations.handles("benchmark.nothing")
def do_nothing(operation: Operation) -> None:
    """Succeed."""
