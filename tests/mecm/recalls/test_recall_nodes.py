"""Recalls on the centre's side: whom they concern, that the nodes are told, how it is counted, who sees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from appstore.releases import services as releases
from appstore.releases.models import SignedList
from core import recalls
from core.accounts.access import SYSTEM, Actor
from core.errors import Missing
from core.operations import services as operations
from core.operations.models import Operation
from mecm.deployments import services as deployments
from mecm.edge import reports
from mecm.edge.models import DesiredObject
from mecm.nodes.models import Node
from mecm.recalls import services
from mecm.recalls.models import Target

pytestmark = pytest.mark.django_db

RECALLED = {"state": "failed", "reason": "recalled", "message": "Stopped"}


def words(recall: Any, actor: Any = SYSTEM) -> str:
    (report,) = services.reports([recall], actor)
    return str(report.counts)


def drain() -> None:
    for _ in range(20):
        Operation.objects.filter(state="pending").update(run_after=timezone.now())
        if not operations.run_due():
            return


def test_every_node_gets_the_signed_list_once_and_a_new_one_when_it_joins(
    fleet: Any, package: Any, actor: Any, make_node: Any
) -> None:
    releases.recall([package], actor=actor, reason="It leaks")
    drain()
    wishes = DesiredObject.objects.filter(kind="recalls", key="list")
    assert set(wishes.values_list("node__name", flat=True)) == {"berth-7", "east", "north", "west"}
    envelope = recalls.unpack(wishes[0].spec["list"])
    assert recalls.open_list(envelope, releases.list_keys()).entries[0].package == ""
    revisions = list(wishes.values_list("rev", flat=True))
    operations.request(services.SPREAD, "recalls:nodes")
    drain()
    assert list(wishes.values_list("rev", flat=True)) == revisions
    late = make_node("late")
    DesiredObject.objects.filter(node=late).delete()
    reports.take(late_sync(late), "outbox", 1, [{"seq": 1, "kind": "node", "key": "self", "status": {}}])
    assert wishes.filter(node=late).exists()


def late_sync(node: Node) -> Node:
    from mecm.edge.models import NodeSync

    NodeSync.objects.get_or_create(node=node)
    return node


def test_two_are_done_and_the_dark_one_is_said_to_be_dark(fleet: Any, package: Any, actor: Any, link: Any) -> None:
    east, north, west = fleet
    link(west.node, linked=False)
    recall = releases.recall([package], actor=actor, reason="It leaks")
    assert words(recall) == "0 of 3 done, 2 under way, 1 dark"
    for deployment in (east, north):
        deployments.observe(deployment.pk, 1, RECALLED)
    assert words(recall) == "2 of 3 done, 1 dark"
    (report,) = services.reports([recall], SYSTEM)
    assert report.nodes()[0][0].name == "west"
    link(west.node)
    assert words(recall) == "2 of 3 done, 1 under way"
    deployments.observe(west.pk, 1, RECALLED)
    assert words(recall) == "3 of 3 done"


def test_a_node_that_has_long_been_silent_is_dark_whatever_its_last_hub_said(
    fleet: Any, package: Any, actor: Any
) -> None:
    Node.objects.filter(name="west").update(last_seen_at=timezone.now() - timedelta(hours=1))
    assert words(releases.recall([package], actor=actor, reason="x")) == "0 of 3 done, 2 under way, 1 dark"


def test_what_was_given_up_is_dark_because_it_may_still_run(fleet: Any, package: Any, actor: Any) -> None:
    *_, west = fleet
    deployments.remove(west, actor=actor)
    Node.objects.filter(name="west").update(last_seen_at=timezone.now() - timedelta(days=30))
    deployments.abandon(west, actor=actor)
    recall = releases.recall([package], actor=actor, reason="It leaks")
    assert words(recall) == "0 of 3 done, 2 under way, 1 dark"
    deployments.observe(west.pk, 2, {"state": "absent"})
    assert words(recall) == "1 of 3 done, 2 under way"


def test_who_removes_it_or_changes_to_another_release_is_done_with_it(
    fleet: Any, package: Any, actor: Any, make_package: Any
) -> None:
    east, north, west = fleet
    recall = releases.recall([package], actor=actor, reason="It leaks")
    deployments.upgrade(east, actor=actor, package=make_package("2.0.0"))
    assert words(recall) == "0 of 3 done, 3 under way"
    deployments.observe(east.pk, 2, {"state": "ready"})
    deployments.remove(north, actor=actor)
    deployments.observe(north.pk, 2, {"state": "absent"})
    assert words(recall) == "2 of 3 done, 1 under way"
    assert west.pk is not None


def test_a_warning_is_done_when_the_node_holds_the_list(fleet: Any, package: Any, actor: Any) -> None:
    recall = releases.recall([package], actor=actor, reason="It leaks", action="warn")
    assert words(recall) == "0 of 3 done, 3 under way"
    for deployment in fleet:
        status = {"state": "held", "serial": recall.serial}
        item = {"seq": 1, "kind": "recalls", "key": "list", "status": status}
        reports.take(deployment.node, "outbox", 1, [item])
    assert words(recall) == "3 of 3 done"


def test_a_list_that_nodes_find_too_old_is_signed_over_theirs(fleet: Any, package: Any, actor: Any) -> None:
    releases.recall([package], actor=actor, reason="It leaks")
    for held, known in ((41, True), (10**12, False)):
        status = {"state": "refused", "reason": "older", "serial": held, "message": "older"}
        reports.take(fleet[0].node, f"box-{held}", 1, [{"seq": 1, "kind": "recalls", "key": "list", "status": status}])
        drain()
        serial = SignedList.objects.get(store="").serial
        assert (serial > held) == known
        assert serial < 100


def test_tenants_see_their_own_nodes_publishers_the_numbers_and_strangers_nothing(
    fleet: Any, package: Any, actor: Any, make_user: Any, stranger: Any, stranger_organisation: Any, make_node: Any,
    deploy: Any, make_package: Any, client_of: Any,
) -> None:  # fmt: skip
    theirs = make_node("theirs", organisation=stranger_organisation)
    deploy(actor=SYSTEM, organisation=stranger_organisation, node=theirs)
    recall = releases.recall([package], actor=actor, reason="It leaks")
    assert Target.objects.count() == 4
    path = f"/api/v1/recalls/{recall.pk}/progress"
    seen = client_of(stranger).get(path).json()
    assert [place["node_name"] for place in seen["places"]] == ["theirs"]
    assert seen["counts"]["total"] == 1
    everything = client_of(actor.user).get(path).json()
    assert len(everything["places"]) == everything["counts"]["total"] == 4
    assert client_of(make_user("lonely")).get(path).status_code == 404
    assert client_of(make_user("lonely-2")).get("/api/v1/recalls/known").json()["count"] == 0
    assert client_of(stranger).get("/api/v1/recalls/known").json()["results"][0]["words"].startswith("0 of 1 done")
    own = make_package("9.0.0", name="own", owner=stranger_organisation)
    deployments.request(actor=actor, organisation=actor_home(actor), node=fleet[0].node, package=own, name="own")
    made = releases.recall([own], actor=Actor(stranger), reason="Ours leaks")
    (report,) = services.reports([made], Actor(stranger))
    assert (report.places, report.counts.total) == ([], 1)
    with pytest.raises(Missing):
        services.get(made.pk, Actor(make_user("nobody")))


def actor_home(actor: Any) -> Any:
    from core.accounts.models import Organisation

    return Organisation.objects.get(pk=next(iter(actor.roles)))


@pytest.mark.parametrize("number", [1, 12])
def test_the_numbers_cost_a_fixed_count_of_queries(
    number: int, make_node: Any, deploy: Any, package: Any, actor: Any, link: Any, django_assert_num_queries: Any
) -> None:
    for at in range(number):
        where = make_node(f"n{at}")
        deploy(node=where)
        link(where)
    recall = releases.recall([package], actor=actor, reason="x")
    with django_assert_num_queries(3):
        assert words(recall).startswith(f"0 of {number}")


def test_a_direct_cluster_is_stopped_by_the_worker_and_started_again_by_a_lift(
    make_node: Any, deploy: Any, package: Any, actor: Any
) -> None:
    deployment = deploy(node=make_node("cluster", link="direct"))
    drain()
    deployment.refresh_from_db()
    assert deployment.state == "ready"
    recall = releases.recall([package], actor=actor, reason="It leaks", advice="Update")
    drain()
    deployment.refresh_from_db()
    assert (deployment.state, deployment.reason) == ("failed", "recalled")
    assert "It leaks Update" in deployment.message
    assert words(recall) == "1 of 1 done"
    operations.request("node.watch", "node:x", node=str(deployment.node_id))
    drain()
    deployment.refresh_from_db()
    assert (deployment.state, deployment.reason) == ("failed", "recalled")
    releases.lift(recall, actor=actor, reason="It was another one")
    drain()
    deployment.refresh_from_db()
    assert deployment.state == "ready"
