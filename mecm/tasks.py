"""What Celery calls; each task only opens the door to a service."""

from __future__ import annotations

from celery import shared_task

from appstore.packages import services as packages
from core.operations import services as operations

#: How much more a worker does for one ring. Brokers hand out messages slower than rows are done.
BATCH = 20


@shared_task(name="operations.run")
def run_operation(operation_id: str) -> None:
    """Do one operation, unless somebody else has it, and then what else is due: a message is only a doorbell."""
    operations.run(operation_id)
    operations.run_due(limit=BATCH)


@shared_task(name="operations.sweep")
def sweep_operations() -> None:
    """Give the work of dead workers to living ones."""
    operations.sweep()


@shared_task(name="packages.collect_garbage")
def collect_package_garbage() -> None:
    """Drop stored files that nothing names any more."""
    packages.collect_garbage()
