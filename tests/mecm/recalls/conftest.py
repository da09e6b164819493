"""A tenant with a release that runs on three nodes, beside another tenant."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mecm.deployments.conftest import deploy, make_node, make_package, node, package  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def run_by_acme(settings: Any) -> None:
    """Say who runs the store, whichever tenant a test makes first."""
    settings.OPERATOR = "acme"


@pytest.fixture
def link() -> Any:
    """Say that a node is linked, or was cut off."""
    from django.utils import timezone

    from mecm.edge.models import NodeSync

    def set_link(where: Any, linked: bool = True) -> None:
        NodeSync.objects.update_or_create(
            node=where,
            defaults={"hub": "hub-1" if linked else "", "disconnected_at": None if linked else timezone.now()},
        )

    return set_link


@pytest.fixture
def fleet(make_node: Any, deploy: Any, link: Any) -> list[Any]:  # noqa: F811
    """Three linked nodes, each with a deployment that is ready."""
    from mecm.deployments import services

    made = []
    for name in ("east", "north", "west"):
        where = make_node(name)
        deployment = deploy(node=where)
        link(where)
        services.observe(deployment.pk, 1, {"state": "ready"})
        made.append(deployment)
    return made
