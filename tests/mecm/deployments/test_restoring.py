"""A directly reached MEC platform that lost its store is told again what it should hold, by the node's watch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.operations.models import Operation
from mecm.deployments import handlers, logs, restoring, services
from mecm.deployments.models import Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes import reach
from mecm.nodes import services as nodes
from mecm.nodes.models import Node
from mecm.steering import services as steering
from mecm.steering.models import RuleSet
from tests.mecm.deployments import fake_mep
from tests.mecm.deployments.test_direct import drain

pytestmark = pytest.mark.django_db
RULE = {"domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.9"}


@pytest.fixture
def mep() -> Iterator[Any]:
    """A MEP on loopback."""
    with fake_mep.running() as mep:
        yield mep


@pytest.fixture
def node(make_node: Any, mep: Any, actor: Any) -> Node:
    """A direct node with the memory engine and a MEP."""
    return nodes.set_mep(make_node("cluster", link="direct"), url=mep.url, token=fake_mep.TOKEN, actor=actor)


@pytest.fixture
def app(deploy: Any, actor: Any) -> Deployment:
    """A ready deployment with an added DNS rule, both told to the MEP."""
    deployment: Deployment = deploy()
    drain()
    steering.add_rule(deployment, "dns", "extra", actor=actor, rule=RULE)
    drain()
    return deployment


def watch(times: int = 1) -> None:
    for _ in range(times):
        handlers.watch_direct_nodes()
        drain()


def later(**ago: int) -> None:
    """Let what was told again be so old."""
    for row in ReportedObject.objects.filter(kind=restoring.KIND):
        memory = restoring.Memory.read(row.status)
        memory.tries = {what: (number, at - timedelta(**ago)) for what, (number, at) in memory.tries.items()}
        row.status = memory.status
        row.save()


def secret_of(deployment: Deployment) -> str:
    """Return the secret that the running release has."""
    current = reach.engine_for(deployment.node).store.current(deployment.namespace, deployment.name)
    return str(current.values["global"]["mep"]["clientSecret"])


def reasons(deployment: Deployment) -> list[str]:
    fresh = Deployment.objects.select_related("node", "package").get(pk=deployment.pk)
    return [each["reason"] for each in logs.events(fresh)["events"] if each["object"].startswith("app_instances/")]


def test_an_app_that_the_platform_lost_is_provisioned_anew_and_runs_with_its_new_secret(
    app: Deployment, mep: Any
) -> None:
    assert secret_of(app) == "secret-0"
    mep.lose()
    watch()
    assert mep.apps[str(app.app_instance_id)]["appName"] == "hello"
    assert secret_of(app) == "secret-1"
    app.refresh_from_db()
    assert (app.state, app.generation) == ("ready", 1)
    assert "ProvisionedAgain" in reasons(app)


def test_a_wish_for_rules_that_the_platform_lost_is_told_again(app: Deployment, mep: Any) -> None:
    mep.lose()
    watch(2)
    assert mep.wishes == {str(app.app_instance_id): 1}
    assert RuleSet.objects.get().state == "applied"
    assert sorted(reasons(app))[:2] == ["ProvisionedAgain", "RulesToldAgain"]


def test_a_wish_that_waited_for_its_app_is_known_to_be_heeded_once_the_app_is_there(app: Deployment, mep: Any) -> None:
    RuleSet.objects.update(state="waiting")
    watch()
    assert RuleSet.objects.get().state == "applied"


def test_an_older_wish_is_told_anew_and_a_present_one_is_left_alone(app: Deployment, mep: Any) -> None:
    asked = len([each for each in mep.asked if each.startswith("PUT")])
    watch(2)
    assert len([each for each in mep.asked if each.startswith("PUT")]) == asked
    assert reasons(app) == []
    RuleSet.objects.update(generation=4)
    watch()
    assert mep.wishes == {str(app.app_instance_id): 4}


def test_an_older_platform_is_not_asked_about_wishes_that_it_does_not_tell(app: Deployment, mep: Any) -> None:
    mep.older, mep.wishes = True, {}
    watch()
    assert mep.wishes == {}


@pytest.mark.parametrize("told", [{}, {"apps": 7, "rule_wishes": "x"}, {"apps": None, "rule_wishes": {"a": 1}}])
def test_a_platform_that_says_nothing_of_use_is_left_alone(app: Deployment, node: Node, told: Any) -> None:
    assert restoring.tell_again(node, restoring.wishes([app]), told) == 0


def test_hostile_members_are_as_if_they_were_not_there(app: Deployment, node: Node) -> None:
    app.refresh_from_db()
    known = {"apps": [7, {"appInstanceId": str(app.app_instance_id)}]}
    told = {**known, "rule_wishes": [None, {"appInstanceId": str(app.app_instance_id), "generation": True}, {}]}
    assert restoring.tell_again(node, restoring.wishes([app]), told) == 1


def test_what_does_not_help_is_tried_less_and_less_often(app: Deployment, mep: Any, node: Node) -> None:
    app.refresh_from_db()
    lost: dict[str, Any] = {"apps": [], "rule_wishes": []}

    def tries() -> int:
        drain()
        return restoring.tell_again(node, restoring.wishes([app]), lost)

    assert tries() == 2
    assert tries() == 0, "at once again"
    later(seconds=31)
    assert tries() == 2
    later(seconds=31)
    assert tries() == 0, "the second pause is longer"
    later(seconds=61)
    assert tries() == 2
    watch()
    assert tries() == 2, "it was in order between"


def test_the_pause_has_an_end_however_long_the_trouble_lasts() -> None:
    now = timezone.now()
    memory = restoring.Memory({"app": (100_000, now - timedelta(hours=1))})
    assert memory.due("app", now)
    assert not memory.due("app", now - timedelta(minutes=1))


def test_what_is_under_way_is_not_asked_for_twice(app: Deployment, node: Node) -> None:
    app.refresh_from_db()
    services.ask_applier(app)
    steering.ask_applier(app)
    assert restoring.tell_again(node, restoring.wishes([app]), {"apps": [], "rule_wishes": []}) == 0
    assert reasons(app) == []


def test_an_app_that_cannot_sign_in_any_more_gets_its_identity_and_one_that_is_to_go_does_not(
    app: Deployment, node: Node
) -> None:
    lost: dict[str, Any] = {"apps": []}
    app.refresh_from_db()
    app.state = "failed"
    assert restoring.tell_again(node, restoring.wishes([app]), lost) == 1
    Operation.objects.all().delete()
    ReportedObject.objects.filter(kind=restoring.KIND).delete()
    for change in ({"wish": "absent"}, {"revision": 0}, {"generation": 2}, {"reason": "recalled"}):
        app.refresh_from_db()
        for name, value in change.items():
            setattr(app, name, value)
        assert restoring.tell_again(node, restoring.wishes([app]), lost) == 0, change


def test_comparing_costs_the_same_however_many_deployments_there_are(
    deploy: Any, node: Node, mep: Any, django_assert_num_queries: Any
) -> None:
    made = [deploy(name=f"hello-{number}", values={"cpu": "1m", "memory": "1Mi"}) for number in range(6)]
    drain(60)
    for each in made:
        each.refresh_from_db()
    _, state = mep.answer("GET", "/mm5/v1/state", {})
    for some in (made[:1], made):
        with django_assert_num_queries(2):
            assert restoring.tell_again(node, restoring.wishes(some), state) == 0
