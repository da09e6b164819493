"""Long work of rollouts: one step at a time; and the sweep that finds those whose next step was lost."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from core.operations import services as operations
from core.operations.models import Operation
from mecm.rollouts import services, stepping
from mecm.rollouts.models import Rollout

#: A finished step tells nothing that the rollout's own history does not; one that failed is kept for a day.
_KEEP_FAILED = timedelta(days=1)


@operations.handles(services.STEP)
def step(operation: Operation) -> None:
    """Do the next step of a rollout; twice is once."""
    stepping.step(operation.payload["rollout"], operation=operation)
    same = Operation.objects.filter(kind=operation.kind, target=operation.target)
    same.filter(state__in=[Operation.State.SUCCEEDED, Operation.State.CANCELLED]).delete()
    same.filter(state=Operation.State.FAILED, finished_at__lt=timezone.now() - _KEEP_FAILED).delete()


def sweep() -> int:
    """Ask for the next step of every rollout at work that has none; two queries. Safe to run at any time."""
    waiting = Operation.objects.unfinished().filter(kind=services.STEP).values_list("target", flat=True)
    asked = set(waiting)
    found = 0
    for pk, organisation in Rollout.objects.active().values_list("pk", "organisation_id"):
        if f"rollout:{pk}" not in asked:
            services.ask_for_step(pk, organisation=organisation)
            found += 1
    return found


@shared_task(name="rollouts.sweep")
def sweep_rollouts() -> None:
    """Find rollouts whose next step was lost, by a worker that died or by a step that failed for good."""
    sweep()
