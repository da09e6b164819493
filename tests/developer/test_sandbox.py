"""Test deployments: who may start them, what is seen of them, and that they end by themselves and leave nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from core.accounts.access import SYSTEM, Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Unavailable
from core.operations import services as operations
from core.operations.models import Operation
from developer.sandbox import services
from developer.sandbox.models import TestDeployment
from mecm.deployments.models import Deployment
from mecm.trials import services as trials
from mecm.trials.models import Trial
from mecm.trials.nodes import Agent
from tests.mecm.trials.conftest import Played

pytestmark = pytest.mark.django_db

WORKLOAD = {
    "kind": "Deployment", "name": "video", "state": "ready", "wanted": 1, "ready": 1, "restarts": 0, "pods": ["video-1"],
}  # fmt: skip
MEP = {
    "app": {"state": "READY"},
    "services": [{"serName": "greeting", "state": "ACTIVE", "version": "1.0"}],
    "subscriptions": [],
    "dns_rules": [{"dnsRuleId": "d1", "domainName": "hello.example", "state": "ACTIVE"}],
    "traffic_rules": [],
    "user_plane": {"simulated": True},
}


@pytest.fixture
def start(developer: Any, organisation: Any, node: Any, package: Any) -> Any:
    def begin(**changes: Any) -> TestDeployment:
        wanted = {"actor": developer, "organisation": organisation, "node": node, "package": package, "minutes": 15}
        return services.start(**(wanted | changes))

    return begin


@pytest.fixture
def look(agent: Played) -> Any:
    """Let the agent take its wishes in, and look once."""
    agent.answers = {
        "state": lambda spec: {"state": "ready", "restarts": 0, "workloads": [WORKLOAD], "endpoints": []},
        "logs": lambda spec: {"lines": ["web: hello"]},
        "mep": lambda spec: MEP,
    }

    def once(test: TestDeployment) -> TestDeployment:
        agent.look()
        row = TestDeployment.objects.select_related("trial__node", "trial__package").get(pk=test.pk)
        services.look(row, Agent(row.trial, sleep=agent.look))
        return TestDeployment.objects.select_related("trial__node").get(pk=test.pk)

    return once


def test_a_developer_sees_pods_log_and_what_is_on_mp1(start: Any, look: Any) -> None:
    test = start()
    assert test.state == "waiting"
    test = look(test)
    assert test.state == "ready"
    assert test.seen["state"]["workloads"] == [WORKLOAD]
    assert test.seen["logs"] == ["web: hello"]
    assert test.seen["mep"]["services"][0]["serName"] == "greeting"
    assert Entry.objects.filter(action="sandbox.start").count() == 1


def test_it_ends_by_itself_and_leaves_nothing_but_what_was_seen(start: Any, look: Any, agent: Played) -> None:
    test = look(start())
    TestDeployment.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    test = look(test)
    assert test.state == "removing"
    assert Trial.objects.get().closing
    for _ in range(4):
        trials.close(test.trial)
        agent.look()
    test = look(test)
    assert test.state == "ended"
    assert test.seen["logs"] == ["web: hello"]
    assert not Deployment.objects.exists()
    assert not Trial.objects.under_way().exists()


def test_a_worker_does_all_of_it(start: Any, agent: Played, node: Any) -> None:
    from mecm.nodes.models import Node

    now = timezone.now()
    Node.objects.update(last_seen_at=now - timedelta(days=1))
    with pytest.raises(Unavailable):
        start(node=Node.objects.get())
    Node.objects.update(last_seen_at=now)
    test = start(node=Node.objects.get())
    Node.objects.update(last_seen_at=now - timedelta(days=1))  # so that nobody waits for an answer
    operations.run_due()
    test.refresh_from_db()
    assert (test.looks, test.problem) == (1, "lab-1 is offline.")
    # One look follows the other, and those that are over are no heap.
    assert Operation.objects.filter(kind="sandbox.look", state="pending").count() == 1
    services.end(test, actor=SYSTEM)
    for _ in range(6):
        agent.look()
        Operation.objects.filter(state="pending").update(run_after=timezone.now())
        operations.run_due()
    test.refresh_from_db()
    assert test.state == "ended"
    assert Operation.objects.filter(kind="sandbox.look").count() <= 2


def test_nobody_cancels_its_end(start: Any, dora: Any) -> None:
    start()
    client = APIClient()
    client.force_authenticate(dora)
    kinds = set()
    for each in Operation.objects.unfinished():
        kinds.add(each.kind)
        assert client.post(f"/api/v1/operations/{each.pk}/cancel").status_code == 409
    assert kinds == {"trial.close", services.LOOK}


def test_limits_of_count_and_time(start: Any, settings: Any, make_node: Any, node: Any) -> None:
    settings.SANDBOX_TESTS, settings.SANDBOX_MINUTES = 1, 20
    for minutes in (0, 21):
        with pytest.raises(Invalid, match="1 to 20"):
            start(minutes=minutes)
    test = start()
    with pytest.raises(Conflict, match="end one first"):
        start()
    with pytest.raises(Invalid):
        services.prolong(test, minutes=21, actor=SYSTEM)
    settings.SANDBOX_TESTS = 5
    with pytest.raises(Unavailable, match="under way"):
        start()


def test_who_may_not_certify_may_not_try(start: Any, make_user: Any, organisation: Any, make_package: Any) -> None:

    with pytest.raises(Denied):
        start(actor=Actor(make_user("viewer", organisation, "viewer")))
    with pytest.raises(Conflict, match="only a checked package"):
        start(package=make_package(version="2.0.0", state="rejected"))
    # What failed to start holds no sandbox.
    assert not Trial.objects.exists()


def test_another_tenant_finds_neither_node_nor_package(
    start: Any, stranger: Any, stranger_organisation: Any, settings: Any
) -> None:

    with pytest.raises(Missing):
        start(actor=Actor(stranger), organisation=stranger_organisation)


def test_the_life_of_one_over_http(client_of: Any, dora: Any, stranger_api: Any, package: Any, node: Any) -> None:
    api = client_of(dora)
    assert [row["name"] for row in api.get("/api/v1/sandbox/nodes").json()] == ["lab-1"]
    wanted = {"package": str(package.pk), "node": str(node.pk), "minutes": 5}
    made = api.post("/api/v1/sandbox/tests", wanted, format="json")
    assert (made.status_code, made.json()["state"]) == (201, "waiting")
    url = f"/api/v1/sandbox/tests/{made.json()['id']}"
    assert stranger_api.get(url).status_code == 404
    before = made.json()["ends_at"]
    assert api.post(f"{url}/prolong", {"minutes": 30}, format="json").json()["ends_at"] > before
    assert api.post(f"{url}/prolong", {"minutes": 3000}, format="json").status_code == 400
    assert api.delete(url).json()["state"] == "removing"
    assert api.delete(url).status_code == 202
    assert api.post(f"{url}/prolong", {}, format="json").status_code == 409
    assert len(api.get("/api/v1/sandbox/tests").json()["results"]) == 1
