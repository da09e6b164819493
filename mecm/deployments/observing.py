"""What appliers report becomes what is known of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from mecm.deployments import followers, observation, secret_values
from mecm.deployments.models import Deployment, DeploymentRevision

if TYPE_CHECKING:
    from django.db.models import QuerySet

State = Deployment.State


def observe(
    deployment_id: UUID | str, observed_generation: int, status: Mapping[str, Any], *, node_id: UUID | None = None
) -> bool:
    """Take in what an applier reports; False when it says nothing about the present wish.

    `node_id` is who says so: a node speaks only about what is on it. The write names the generation that was
    judged, so a wish that changes meanwhile wins.
    """
    row = Deployment.objects.filter(pk=deployment_id)
    if node_id is not None:
        row = row.filter(node_id=node_id)
    known = row.values("wish", "generation", "observed_generation", "state").first()
    if known is None:
        return False
    verdict = observation.judge(observation.Known(**known), observed_generation, status)
    if verdict is None:
        return False
    verdict = _quoting_none(row, verdict)
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": verdict.state,
        "observed_generation": verdict.observed_generation,
        "reason": verdict.reason,
        "message": verdict.message,
        "revision": verdict.revision,
        "workloads": verdict.workloads,
        "endpoints": verdict.endpoints,
        "reported_at": now,
        "updated_at": now,
    }
    if verdict.state == State.REMOVED:
        changes |= {"removed_at": now, "cpu_millis": 0, "memory_bytes": 0, "storage_bytes": 0}
    with transaction.atomic():
        judged = row.filter(generation=known["generation"], observed_generation=known["observed_generation"])
        if verdict.state == State.REMOVING:
            judged = judged.exclude(state=State.ABANDONED)  # given up since we looked
        if not judged.exclude(state=State.REMOVED).update(**changes):
            return False
        if verdict.outcome:
            _settle(deployment_id, known["generation"], verdict)
        if verdict.state == State.REMOVED:
            followers.tell_gone(UUID(str(deployment_id)))
    return True


def _quoting_none(row: QuerySet[Deployment], verdict: observation.Verdict) -> observation.Verdict:
    """Return what a node told without secrets: its Helm and its engine quote the values that they refuse."""
    if not (verdict.message or any(each["message"] or each["reason"] for each in verdict.workloads)):
        return verdict
    deployment = row.select_related("package").only("values", "package__name", "package__chart_sha256").first()
    secrets = secret_values.in_deployment(deployment) if deployment is not None else set()
    return replace(
        verdict,
        message=secret_values.scrubbed(verdict.message, secrets),
        workloads=secret_values.scrubbed_all(verdict.workloads, secrets),
    )


def _settle(deployment_id: UUID | str, generation: int, verdict: observation.Verdict) -> None:
    revision = DeploymentRevision.objects.filter(deployment_id=deployment_id, generation=generation)
    # What was ready once has been reached; a later failure is news about the workloads, not about the wish.
    revision.exclude(outcome__in=[DeploymentRevision.Outcome.READY, verdict.outcome]).update(
        outcome=verdict.outcome, message=verdict.message, settled_at=timezone.now()
    )
