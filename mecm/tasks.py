"""What Celery calls; each task only opens the door to a service."""

from __future__ import annotations

from celery import shared_task

from core.operations import services as operations


@shared_task(name="operations.run")
def run_operation(operation_id: str) -> None:
    """Do one operation, unless somebody else has it."""
    operations.run(operation_id)


@shared_task(name="operations.sweep")
def sweep_operations() -> None:
    """Give the work of dead workers to living ones."""
    operations.sweep()
