"""Giving up a removal that its node never confirms: it counts as gone, and is never called removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.accounts.access import Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied
from core.operations import services as operations
from core.operations.models import Operation
from mecm.deployments import handlers, plan, services
from mecm.deployments.models import Deployment
from mecm.edge import stream
from mecm.edge.models import DesiredObject
from mecm.fleet import causes, figures, live
from mecm.nodes import geo, reach
from mecm.nodes import services as nodes
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db
URL = "/api/v1/deployments"


def silence(node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(hours=2))
    node.refresh_from_db()


def seen(deployment: Deployment) -> Deployment:
    return Deployment.objects.select_related("node").get(pk=deployment.pk)


def report(deployment: Deployment, generation: int, **status: Any) -> Deployment:
    services.observe(deployment.pk, generation, status, node_id=deployment.node_id)
    return seen(deployment)


@pytest.fixture
def leaving(deploy: Any, actor: Any) -> Deployment:
    """A deployment that shall go, on a node that went silent before it said so."""
    deployment = report(deploy(), 1, state="ready")
    silence(deployment.node)
    return services.remove(deployment, actor=actor)


@pytest.fixture
def given_up(leaving: Deployment, actor: Any) -> Deployment:
    """A deployment that was given up."""
    return services.abandon(leaving, actor=actor)


def test_who_gave_it_up_and_when_is_kept_and_audited(given_up: Deployment, admin: Any) -> None:
    known = seen(given_up)
    assert (known.state, known.wish, known.abandoned_by, known.removed_at) == ("abandoned", "absent", admin, None)
    assert known.abandoned_at is not None
    entry = Entry.objects.get(action="deployment.abandon")
    assert (entry.object_id, entry.facts["node"]) == (str(given_up.pk), str(given_up.node_id))
    assert known.revisions.first().outcome == ""


def test_giving_up_twice_is_giving_up_once(given_up: Deployment, actor: Any, make_user: Any, organisation: Any) -> None:
    second = Actor(make_user("otto", organisation, "admin"))
    again = services.abandon(seen(given_up), actor=second)
    assert (again.abandoned_at, again.abandoned_by) == (given_up.abandoned_at, given_up.abandoned_by)
    assert Entry.objects.filter(action="deployment.abandon").count() == 1


def test_what_nobody_wished_away_is_not_given_up(deploy: Any, actor: Any) -> None:
    deployment = deploy()
    silence(deployment.node)
    with pytest.raises(Conflict, match="remove it first"):
        services.abandon(deployment, actor=actor)


def test_a_node_that_is_there_is_waited_for(deploy: Any, actor: Any) -> None:
    deployment = services.remove(deploy(), actor=actor)
    with pytest.raises(Conflict, match=r"wait for it.*silent for 40 seconds"):
        services.abandon(deployment, actor=actor)
    assert not services.may_be_abandoned(seen(deployment))
    silence(deployment.node)
    assert services.may_be_abandoned(seen(deployment))


def test_what_is_gone_is_not_given_up(leaving: Deployment, actor: Any) -> None:
    report(leaving, 2, state="absent")
    with pytest.raises(Conflict, match="nothing to give up"):
        services.abandon(leaving, actor=actor)


def test_giving_up_needs_what_removing_needs(leaving: Deployment, make_user: Any, organisation: Any) -> None:
    with pytest.raises(Denied):
        services.abandon(leaving, actor=Actor(make_user("vic", organisation, "viewer")))


def test_what_is_given_up_holds_no_place_and_counts_nowhere(given_up: Deployment, actor: Any) -> None:
    node = Node.objects.with_load().get(pk=given_up.node_id)
    assert (node.deployed, node.cpu_taken, node.memory_taken) == (0, 0, 0)
    assert not Deployment.objects.visible_to(actor).present().exists()
    assert plan.allocations([node.pk])[node.pk][0].compute.cpu_millis == 0
    Node.objects.filter(pk=node.pk).update(latitude=60.0, longitude=24.0)
    marker = geo.collection(Node.objects.with_load().filter(pk=node.pk))["features"][0]["properties"]
    assert marker["deployments"] == 0
    marks = live.fleet([given_up.organisation_id])
    Deployment.objects.all().delete()
    assert live.fleet([given_up.organisation_id]) == marks


def test_a_node_sample_does_not_count_it(given_up: Deployment) -> None:
    from mecm.fleet.models import NodeSample, Resolution

    figures._insert_nodes(timezone.now(), Resolution.MINUTE, timezone.now().replace(second=0, microsecond=0))
    sample = NodeSample.objects.get(node=given_up.node_id)
    assert (sample.deployments, sample.not_ready) == (0, 0)


def test_its_node_is_no_critical_alarm_any_more(leaving: Deployment, actor: Any) -> None:
    def severities() -> list[str]:
        return [str(each.severity) for each in causes.everything(timezone.now())]

    assert severities() == ["critical"]
    services.abandon(leaving, actor=actor)
    assert severities() == ["major"]


def test_its_name_stays_taken_and_the_refusal_says_why(given_up: Deployment, deploy: Any) -> None:
    with pytest.raises(Conflict, match=r"given up on berth-7.*take another name") as refused:
        deploy()
    assert [each["code"] for each in refused.value.context["reasons"]] == ["name-given-up"]
    assert deploy(name="hello-2").state == "pending"
    report(given_up, 2, state="absent")
    assert deploy().pk != given_up.pk


def test_it_cannot_be_changed_any_more(given_up: Deployment, actor: Any) -> None:
    for change in (services.upgrade, services.rollback):
        with pytest.raises(Conflict, match="given up"):
            change(given_up, actor=actor)


def test_a_node_that_comes_back_and_is_still_at_it_changes_nothing(given_up: Deployment) -> None:
    known = report(given_up, 2, state="progressing", reason="Removing", message="the app is asked to finish")
    assert (known.state, known.message) == ("abandoned", "the app is asked to finish")


def test_a_node_that_comes_back_and_says_gone_makes_it_removed(given_up: Deployment) -> None:
    known = report(given_up, 2, state="absent")
    assert (known.state, bool(known.removed_at), known.abandoned_at) == ("removed", True, given_up.abandoned_at)
    assert known.revisions.first().outcome == "removed"


def test_a_report_that_is_judged_while_it_is_given_up_does_not_undo_that(leaving: Deployment, actor: Any) -> None:
    class Slow(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            services.abandon(leaving, actor=actor)
            return super().get(name, default)

    assert not services.observe(leaving.pk, 2, Slow(state="progressing"))
    assert seen(leaving).state == "abandoned"


def test_the_node_is_told_again_even_if_it_had_acknowledged_the_end(leaving: Deployment, actor: Any) -> None:
    wanted = DesiredObject.objects.get(node=leaving.node_id, kind="app")
    stream.ack(leaving.node_id, wanted.rev)
    services.abandon(leaving, actor=actor)
    again = DesiredObject.objects.get(node=leaving.node_id, kind="app", key=str(leaving.pk))
    assert (again.deleted, again.generation) == (True, 2)
    assert again.rev > wanted.rev


def test_the_database_knows_no_given_up_deployment_that_somebody_wants(deploy: Any) -> None:
    deployment = deploy()
    with pytest.raises(IntegrityError, match="deployment_given_up_was_to_go"), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(state="abandoned", abandoned_at=timezone.now())


def test_a_node_with_nothing_but_given_up_deployments_can_be_removed(leaving: Deployment, actor: Any) -> None:
    with pytest.raises(Conflict, match="hello"):
        nodes.remove(leaving.node, actor=actor)
    services.abandon(leaving, actor=actor)
    nodes.remove(leaving.node, actor=actor)
    assert not Deployment.objects.exists()
    assert Entry.objects.get(action="node.remove").facts["given_up"] == ["hello"]


def test_a_cluster_that_answers_again_is_cleared_of_it(deploy: Any, make_node: Any, actor: Any) -> None:
    def drain() -> None:
        for _ in range(20):
            Operation.objects.filter(state="pending").update(run_after=timezone.now())
            if not operations.run_due():
                return

    cluster = make_node("cluster", link="direct")
    deployment = deploy(node=cluster)
    drain()
    assert seen(deployment).state == "ready"
    services.remove(deployment, actor=actor)
    silence(cluster)
    services.abandon(deployment, actor=actor)
    Operation.objects.all().delete()  # the tries of hours ago
    handlers.watch_direct_nodes()
    drain()
    assert seen(deployment).state == "removed"
    assert reach.engine_for(cluster).releases() == []


def test_over_http_it_is_given_up_and_shown_as_that(api: Any, leaving: Deployment) -> None:
    answer = api.post(f"{URL}/{leaving.pk}/abandon")
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["state"], told["abandoned_by"], told["removed_at"]) == ("abandoned", "admin", None)
    assert told["abandoned_at"]
    assert api.get(URL).json()["count"] == 0
    assert api.get(f"{URL}?state=removed").json()["count"] == 0
    assert [each["id"] for each in api.get(f"{URL}?state=abandoned").json()["results"]] == [str(leaving.pk)]


def test_who_gave_it_up_costs_no_query_of_its_own(
    api: Any, leaving: Deployment, actor: Any, django_assert_num_queries: Any
) -> None:
    with CaptureQueriesContext(connection) as before:
        assert api.get(f"{URL}/{leaving.pk}").json()["abandoned_by"] is None
    services.abandon(leaving, actor=actor)
    with django_assert_num_queries(len(before)):
        assert api.get(f"{URL}/{leaving.pk}").json()["abandoned_by"] == "admin"


def test_over_http_a_refusal_names_the_way_out(api: Any, deploy: Any) -> None:
    answer = api.post(f"{URL}/{deploy().pk}/abandon")
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    assert "remove it first" in answer.json()["detail"]


def test_over_http_strangers_and_viewers_give_nothing_up(
    leaving: Deployment, stranger_api: Any, client_of: Any, make_user: Any, organisation: Any
) -> None:
    assert stranger_api.post(f"{URL}/{leaving.pk}/abandon").status_code == 404
    viewer = client_of(make_user("vic", organisation, "viewer"))
    assert viewer.post(f"{URL}/{leaving.pk}/abandon").status_code == 403
    assert seen(leaving).state == "removing"
