"""Who has deployed what: asked by the catalogue, which takes reviews only from those who know the application."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from mecm.deployments.models import DeploymentRevision


def deployed(organisation_id: UUID, package_ids: Collection[Any]) -> set[Any]:
    """Return those of the packages of which some deployment of the organisation once became ready; one query."""
    rows = DeploymentRevision.objects.filter(
        deployment__organisation=organisation_id,
        package__in=package_ids,
        outcome=DeploymentRevision.Outcome.READY,
    )
    return set(rows.order_by().values_list("package_id", flat=True).distinct())
