"""Releases that nobody wishes for go when an operator says so, and count as gone when the node has said it."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit.models import Entry
from core.errors import Conflict, Missing
from core.operations import services as operations
from engines.contract import Release
from mecm.deployments import handlers
from mecm.edge import reports
from mecm.edge.models import DesiredObject, NodeSync, ReportedObject
from mecm.nodes import orphans, reach
from mecm.nodes.models import Node
from tests.mecm.deployments.conftest import chart
from tests.mecm.deployments.test_direct import drain

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(organisation: Any) -> Node:
    """A node with an agent that has told of two releases without a wish, and of nonsense."""
    made = Node.objects.create(organisation=organisation, name="edge-1", engine="memory", link="agent")
    NodeSync.objects.create(node=made)
    tell(made, 1, "node", "self", 0, {"unwished": ["t-acme/old", "t-acme/older", "../etc", 7, "x" * 300]})
    return made


def tell(node: Node, seq: int, kind: str, key: str, generation: int, status: dict[str, Any]) -> None:
    item = {"seq": seq, "kind": kind, "key": key, "observed_generation": generation, "status": status}
    reports.take(node, "box", seq, [item])


def shown(node: Node) -> dict[str, str]:
    return {each.name: each.state for each in orphans.of(node)}


def test_an_orphan_is_removed_when_the_node_has_said_so_and_not_before(node: Node, api: Any) -> None:
    assert shown(node) == {"old": "", "older": ""}
    path = f"/api/v1/nodes/{node.pk}/orphans"
    assert [api.delete(f"{path}/t-acme/old").status_code for _ in range(2)] == [202, 202]
    wish = DesiredObject.objects.get(kind="orphan")
    assert (wish.key, wish.spec, wish.deleted) == ("t-acme/old", {"namespace": "t-acme", "name": "old"}, False)
    assert shown(node) == {"old": "pending", "older": ""}
    tell(node, 2, "orphan", "t-acme/old", 1, {"state": "progressing", "message": "it is asked to finish"})
    assert shown(node)["old"] == "progressing"
    tell(node, 3, "orphan", "t-acme/old", 1, {"state": "absent"})
    assert [each["state"] for each in api.get(path).json()] == ["removed", ""]
    assert DesiredObject.objects.get(kind="orphan").deleted
    actions = Entry.objects.filter(object_id=str(node.pk)).order_by("at").values_list("action", flat=True)
    assert list(actions) == ["node.orphan_remove", "node.orphan_removed"]
    tell(node, 4, "node", "self", 0, {"unwished": ["t-acme/older"]})
    assert shown(node) == {"older": ""}
    # Somebody put it there again: it can be asked for again, and an echo of the first removal ends nothing.
    tell(node, 5, "node", "self", 0, {"unwished": ["t-acme/old"]})
    assert api.delete(f"{path}/t-acme/old").status_code == 202
    tell(node, 6, "orphan", "t-acme/old", 1, {"state": "absent"})
    assert not DesiredObject.objects.get(kind="orphan").deleted


def test_only_what_the_node_told_of_and_nobody_holds_is_removed_by_whom_may_write(
    node: Node, actor: Any, organisation: Any, make_user: Any, client_of: Any, stranger_api: Any
) -> None:
    with pytest.raises(Missing, match="told of no release"):
        orphans.remove(node, "kube-system", "coredns", actor=actor)
    assert stranger_api.delete(f"/api/v1/nodes/{node.pk}/orphans/t-acme/old").status_code == 404
    reader = client_of(make_user("reader", organisation, "viewer"))
    assert reader.delete(f"/api/v1/nodes/{node.pk}/orphans/t-acme/old").status_code == 403
    assert not DesiredObject.objects.exists()


def test_a_worker_removes_the_orphan_of_a_direct_node(make_node: Any, actor: Any, deploy: Any, tmp_path: Any) -> None:
    node = make_node("cluster", link="direct")
    deploy(node=node)
    drain()
    engine = reach.engine_for(node)
    packed = tmp_path / "hello.tgz"
    packed.write_bytes(chart())
    engine.apply(Release("left", "t-acme", packed, {}))
    handlers.watch_direct_nodes()
    drain()
    assert shown(node) == {"left": ""}, "what a deployment is about is no orphan"
    orphans.remove(node, "t-acme", "left", actor=actor)
    assert (shown(node)["left"], ("t-acme", "left") in engine.releases()) == ("pending", True)
    drain()
    assert shown(node) == {"left": "removed"}
    assert len(engine.releases()) == 1
    orphans.keep_unwished(node, engine)
    assert shown(node) == {}


def test_a_name_that_was_deployed_meanwhile_is_left_to_its_deployment(make_node: Any, actor: Any, deploy: Any) -> None:
    node = make_node("cluster", link="direct")
    deployment = deploy(node=node)
    drain()
    engine, key = reach.engine_for(node), f"{deployment.namespace}/{deployment.name}"
    ReportedObject.objects.create(node=node, kind="node", key="self", status={"unwished": [key]})
    with pytest.raises(Conflict, match="remove that instead"):
        orphans.remove(node, deployment.namespace, deployment.name, actor=actor)
    ReportedObject.objects.create(node=node, kind="orphan", key=key, status={"state": "pending"})
    operations.request("node.remove_orphan", f"node:{node.pk}", node=str(node.pk))
    drain()
    assert shown(node) == {deployment.name: "kept"}
    assert len(engine.releases()) == 1


def test_what_runs_on_another_node_of_perhaps_the_same_cluster_is_left_alone(
    make_node: Any, actor: Any, deploy: Any
) -> None:
    held = deploy(node=make_node("one"))
    other = make_node("other")
    key = f"{held.namespace}/{held.name}"
    ReportedObject.objects.create(
        node=other, kind="node", key="self", status={"unwished": [key]}, observed_generation=0
    )
    Node.objects.update(engine="kubernetes")
    with pytest.raises(Conflict, match="A deployment of this centre holds"):
        orphans.remove(other, held.namespace, held.name, actor=actor)
    Node.objects.update(engine="docker")  # each has a runtime of its own
    assert orphans.remove(other, held.namespace, held.name, actor=actor).state == orphans.ASKED
