"""One object of each kind that people, nodes and the work of the centre have, for pages and forms about them."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tests.frontend.hello import DESCRIPTOR


@pytest.fixture
def operation(organisation: Any, package: Any) -> Any:
    """Work that failed."""
    from core.operations.models import Operation

    return Operation.objects.create(
        kind="package.check",
        target=f"package:{package.pk}",
        organisation_id=organisation.pk,
        state="failed",
        problem={"title": "Not available", "detail": "The store has no room"},
    )


@pytest.fixture
def token(admin: Any, actor: Any) -> Any:
    """An API token of the administrator."""
    from core.accounts import services

    made, _ = services.issue_token(admin, name="ci", actor=actor)
    return made


@pytest.fixture
def alarm(organisation: Any, node: Any) -> Any:
    """An alarm that stands."""
    from mecm.fleet.models import Alarm

    now = timezone.now()
    return Alarm.objects.create(
        organisation=organisation, source_kind="node", source_id=str(node.pk), cause="node-offline", node=node,
        severity="major", worst="major", text="It is silent", advice="Look", raised_at=now, changed_at=now,
    )  # fmt: skip


@pytest.fixture
def ways_in(organisation: Any, admin: Any, actor: Any, make_user: Any) -> dict[str, Any]:
    """A session, a passkey, an identity with its provider, a member and an invitation."""
    from types import SimpleNamespace

    from core.sign_in import invitations
    from core.sign_in.models import Identity, Passkey, Provider
    from core.sign_in.sessions import FACTS, SessionStore

    session = SessionStore()
    session["_auth_user_id"] = str(admin.pk)
    session[FACTS] = {
        "how": "password",
        "device": "Firefox on Linux",
        "address": "192.0.2.7",
        "at": "2026-01-01T00:00:00+00:00",
    }
    session.create()
    session.save()
    provider = Provider.objects.create(
        slug="staff", name="Staff", issuer="https://id.example.net", client_id="b", sealed_secret=b""
    )
    made = invitations.invite(organisation, role="viewer", email="new@example.net", actor=actor)
    return {
        "sessions": SimpleNamespace(pk=session.create_model_instance(dict(session.items())).ref),
        "passkeys": Passkey.objects.create(user=admin, name="Phone", credential_id="AA", public_key=b""),
        "identities": Identity.objects.create(provider=provider, subject="1", user=admin, label="admin@example.net"),
        "members": make_user("mate", organisation, "developer"),
        "invitations": made.invitation,
        "invitation-links": made,
        "identity-providers": provider,
    }


@pytest.fixture
def place(organisation: Any, actor: Any, node: Any) -> Any:
    """A site at which the node stands, with a link to another one."""
    from mecm.sites import services

    where = {"actor": actor, "organisation": organisation, "longitude": 9.9}
    made = services.add_site(name="Quay 7", latitude=53.5, radius_m=900, **where)
    services.place_node(node, made, actor=actor)
    mast = services.add_site(name="Mast North", kind="radio", latitude=53.6, **where)
    services.connect(mast, made, actor=actor, state="degraded")
    return made


@pytest.fixture
def sandbox_test(organisation: Any, admin: Any, package: Any, make_node: Any) -> Any:
    """A test deployment that runs, with everything that a node may tell of it."""
    from datetime import timedelta

    from developer.sandbox.models import TestDeployment
    from mecm.trials.models import Sandbox, Trial

    node, now = make_node("lab-1"), timezone.now()
    Sandbox.objects.create(node=node, marked_by=admin)
    trial = Trial.objects.create(
        organisation=organisation, node=node, package=package, namespace="trial-1", lease_until=now, requested_by=admin
    )
    instance = {"appInstanceId": "i", "state": "ACTIVE"}
    workload = {"kind": "Deployment", "name": "web", "state": "ready", "wanted": 1, "ready": 1, "restarts": 0}
    seen = {
        "state": {"state": "ready", "workloads": [{**workload, "pods": ["web-5d8"]}], "endpoints": []},
        "logs": ["web: the tide is high"],
        "mep": {
            "app": {"state": "READY"},
            "services": [{**instance, "serName": "greeting", "version": "1.0"}],
            "dns_rules": [{**DESCRIPTOR["appDNSRule"][0], **instance}],
            "traffic_rules": [{**DESCRIPTOR["appTrafficRule"][0], **instance}],
            "subscriptions": [],
            "user_plane": {"simulated": True},
        },
    }
    return TestDeployment.objects.create(
        organisation=organisation, trial=trial, ends_at=now + timedelta(minutes=9), seen=seen, seen_at=now
    )
