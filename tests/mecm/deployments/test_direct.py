"""The direct applier: a worker makes a node as it is wished, however often and wherever it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.operations import services as operations
from core.operations.models import LostLease, Operation
from mecm.deployments import direct, handlers, logs, services, specs
from mecm.deployments.models import Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes import reach
from mecm.nodes import services as nodes
from mecm.nodes.models import Node
from tests.mecm.deployments import fake_mep
from tests.mecm.deployments.conftest import chart

pytestmark = pytest.mark.django_db


@pytest.fixture
def mep() -> Iterator[Any]:
    """A MEP on loopback."""
    with fake_mep.running() as mep:
        yield mep


@pytest.fixture
def node(make_node: Any, mep: Any, actor: Any) -> Node:
    """A direct node with the memory engine and a MEP."""
    return nodes.set_mep(make_node("cluster", link="direct"), url=mep.url, token=fake_mep.TOKEN, actor=actor)


def drain(rounds: int = 20) -> None:
    """Do all work that is asked for, without waiting for its time."""
    for _ in range(rounds):
        Operation.objects.filter(state="pending").update(run_after=timezone.now())
        if not operations.run_due():
            return


def seen(deployment: Deployment) -> Deployment:
    deployment.refresh_from_db()
    return deployment


def history(deployment: Deployment) -> list[int]:
    engine = reach.engine_for(deployment.node)
    return [revision.generation for revision in engine.history(deployment.name, deployment.namespace)]


def states(kind: str) -> list[str]:
    return list(Operation.objects.filter(kind=kind).order_by("created_at").values_list("state", flat=True))


def test_a_deployment_becomes_ready(deploy: Any, mep: Any) -> None:
    deployment = deploy(values={"message": "ahoy"})
    drain()
    assert (seen(deployment).state, deployment.observed_generation) == ("ready", 1)
    assert [workload["name"] for workload in deployment.workloads] == ["hello"]
    assert mep.apps[str(deployment.app_instance_id)]["appName"] == "hello"
    assert states("deployment.apply") == ["succeeded"]
    assert not Operation.objects.unfinished().exists()


def test_upgrade_rollback_and_removal_follow_the_wish(deploy: Any, actor: Any, mep: Any) -> None:
    deployment = deploy(values={"message": "one"})
    drain()
    services.upgrade(deployment, actor=actor, values={"message": "two"})
    assert seen(deployment).state == "pending"
    drain()
    assert (seen(deployment).state, deployment.observed_generation) == ("ready", 2)
    services.rollback(deployment, actor=actor)
    drain()
    assert (seen(deployment).state, deployment.values, history(deployment)) == ("ready", {"message": "one"}, [1, 2, 3])
    services.remove(deployment, actor=actor)
    drain()
    assert seen(deployment).state == "removed"
    assert reach.engine_for(deployment.node).releases() == []
    assert mep.apps == {}


def test_the_last_of_several_wishes_is_applied_once(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    for message in ("two", "three"):
        services.upgrade(deployment, actor=actor, values={"message": message})
    assert states("deployment.apply") == ["pending"]
    drain()
    assert (seen(deployment).state, history(deployment)) == ("ready", [3])


def test_an_applier_that_runs_twice_has_one_effect(deploy: Any) -> None:
    deployment = deploy()
    drain()
    services.ask_applier(deployment)
    drain()
    assert (seen(deployment).state, history(deployment)) == ("ready", [1])


def test_a_worker_that_dies_in_the_middle_is_followed_by_another(deploy: Any) -> None:
    deployment = deploy()
    operation = Operation.objects.get(kind="deployment.apply")
    assert operation.claim(lease=0.001)
    with direct.applier_for(deployment.node) as applier:
        applier.apply(specs.of(deployment), deployment.generation)  # and here the worker is killed
    Operation.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    operations.sweep()
    drain()
    operation.refresh_from_db()
    assert (operation.state, operation.attempts) == ("succeeded", 2)
    assert (seen(deployment).state, history(deployment)) == ("ready", [1])


def test_a_worker_that_was_given_up_writes_nothing_more(deploy: Any) -> None:
    deployment = deploy()
    late = Operation.objects.get(kind="deployment.apply")
    assert late.claim(lease=0.001)
    Operation.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    operations.sweep()
    with pytest.raises(LostLease):
        handlers.apply(late)
    assert seen(deployment).state == "pending"
    assert reach.engine_for(deployment.node).releases() == []


def test_a_mep_that_is_away_is_waited_for_and_told(deploy: Any, mep: Any) -> None:
    deployment = deploy()
    mep.status = 503
    operations.run_due()
    assert (seen(deployment).state, deployment.reason) == ("progressing", "unavailable")
    assert "the MEP of cluster" in deployment.message
    assert states("deployment.apply") == ["pending"]
    mep.status = 0
    drain()
    assert (seen(deployment).state, deployment.message) == ("ready", "")


def test_a_mep_that_refuses_is_a_failure_with_its_reason(deploy: Any, mep: Any) -> None:
    deployment = deploy()
    mep.status = 400
    drain()
    assert (seen(deployment).state, deployment.reason) == ("failed", "invalid")
    assert "not today" in deployment.message
    assert states("deployment.apply") == ["failed"]
    assert deployment.revisions.get().outcome == "failed"
    assert reach.engine_for(deployment.node).releases() == []


def test_an_application_may_take_its_time_to_say_goodbye(deploy: Any, mep: Any, actor: Any) -> None:
    deployment = deploy()
    drain()
    mep.slow_goodbye = True
    services.remove(deployment, actor=actor)
    operations.run_due()
    assert (seen(deployment).state, states("deployment.apply")) == ("removing", ["succeeded", "succeeded", "pending"])
    mep.apps[str(deployment.app_instance_id)]["over"] = True
    drain()
    assert seen(deployment).state == "removed"
    assert sum("terminate" in each for each in mep.asked) >= 1


def test_a_node_without_mep_runs_what_needs_none(deploy: Any, make_node: Any) -> None:
    deployment = deploy(node=make_node("plain", link="direct"))
    drain()
    assert seen(deployment).state == "ready"


def test_the_chart_must_still_be_in_the_store(deploy: Any, package: Any) -> None:
    from appstore.packages import blobs

    deployment = deploy()
    blobs.path_of(package.chart_sha256).unlink()
    drain()
    assert (seen(deployment).state, deployment.reason) == ("failed", "missing")


def test_drift_is_mended_by_the_watch(deploy: Any, mep: Any) -> None:
    deployment = deploy()
    drain()
    reach.engine_for(deployment.node).remove(deployment.name, deployment.namespace)
    handlers.watch_direct_nodes()
    assert states("node.watch") == ["pending"]
    drain()
    assert (seen(deployment).state, history(deployment)) == ("ready", [1])


def test_the_watch_keeps_what_node_and_mep_say(deploy: Any, node: Node, api: Any) -> None:
    handlers.watch_direct_nodes()
    handlers.watch_direct_nodes()
    drain()
    node.refresh_from_db()
    assert (node.state, node.cpu_millis > 0, bool(node.engine_version)) == ("online", True, True)
    assert ReportedObject.objects.get(node=node, kind="mep").status["services"][0]["serName"] == "greeting"
    assert api.get(f"/api/v1/nodes/{node.pk}/mep").json()["services"][0]["serName"] == "greeting"


def test_looks_do_not_pile_up(deploy: Any) -> None:
    deploy()
    drain()
    for _ in range(5):
        handlers.watch_direct_nodes()
        drain()
    assert Operation.objects.filter(kind="node.watch").count() == 1


def test_what_was_refused_for_good_is_not_asked_for_again(deploy: Any, mep: Any) -> None:
    deploy()
    mep.status = 400
    drain()
    mep.status = 0
    handlers.watch_direct_nodes()
    drain()
    assert states("deployment.apply") == ["failed"]


def test_logs_and_events_of_a_direct_node_are_read_there(deploy: Any, node: Node) -> None:
    deployment = deploy()
    drain()
    deployment = Deployment.objects.select_related("node").get(pk=deployment.pk)
    assert set(logs.lines(deployment)) == {"lines", "reported_at", "watching_until"}
    assert logs.events(deployment)["reported_at"] is not None


def test_an_agents_node_is_not_touched_by_a_worker(deploy: Any, make_node: Any) -> None:
    deployment = deploy(node=make_node("agent"))
    services.ask_applier(deployment)
    drain()
    assert seen(deployment).state == "pending"


def test_a_chart_that_changes_under_its_name_is_another_chart(deploy: Any, make_package: Any, actor: Any) -> None:
    deployment = deploy()
    drain()
    second = make_package("2.0.0", packed=chart(Chart_yaml="apiVersion: v2\nname: hello\nversion: 2.0.0\n"))
    services.upgrade(deployment, actor=actor, package=second)
    drain()
    engine = reach.engine_for(deployment.node)
    assert (seen(deployment).state, len(engine.history("hello", "t-acme"))) == ("ready", 2)
