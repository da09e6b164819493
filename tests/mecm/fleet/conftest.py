"""A fleet in which much is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone


@pytest.fixture
def world(organisation: Any, admin: Any) -> dict[str, Any]:
    """A silent node, one whose certificate ends, a failed and a slow deployment, failed work, two bad partners."""
    from appstore.federation.models import Peer, PeerSync
    from appstore.packages.models import Package
    from core.operations.models import Operation
    from mecm.deployments.models import Deployment, DeploymentRevision
    from mecm.edge.models import NodeCert
    from mecm.nodes.models import Node

    now = timezone.now()
    old = now - timedelta(hours=2)

    def node(name: str, seen: Any) -> Node:
        return Node.objects.create(
            organisation=organisation, name=name, engine="memory", last_seen_at=seen, cpu_millis=4000
        )

    silent, here = node("silent", old), node("here", now)
    NodeCert.objects.create(serial="1", node=here, certificate="", not_after=now + timedelta(days=2))
    NodeCert.objects.create(serial="2", node=silent, certificate="", not_after=now + timedelta(days=80))
    NodeCert.objects.create(serial="3", node=silent, certificate="", not_after=now - timedelta(days=1))
    package = Package.objects.create(
        organisation=organisation, uploaded_by=admin, filename="a.csar", sha256="0" * 64, size=1, state="draft"
    )
    made = {}
    for name, where, state in (("bad", here, "failed"), ("slow", here, "progressing"), ("lost", silent, "pending")):
        one = Deployment.objects.create(
            organisation=organisation, node=where, package=package, name=name, namespace="t-acme", state=state,
            message="ImagePullBackOff" if name == "bad" else "", cpu_millis=500,
        )  # fmt: skip
        revision = DeploymentRevision.objects.create(deployment=one, generation=1, action="install", package=package)
        DeploymentRevision.objects.filter(pk=revision.pk).update(created_at=old)
        made[name] = one
    problem = {"detail": "no room", "code": "unavailable", "retryable": True}
    operation = Operation.objects.create(
        kind="package.check", target="package:1", organisation_id=organisation.pk, state="failed", problem=problem,
        finished_at=now - timedelta(seconds=70),
    )  # fmt: skip
    for number, trouble in enumerate((problem, {"detail": "signed by a stranger", "code": "invalid"})):
        peer = Peer.objects.create(
            organisation=organisation, store_id=str(number) * 64, name=f"Store {number}", state="active",
            confirmed_at=now, they_confirmed_at=now,
        )  # fmt: skip
        PeerSync.objects.create(peer=peer, problem=trouble, failures=3)
    return {"silent": silent, "here": here, "operation": operation, **made}
