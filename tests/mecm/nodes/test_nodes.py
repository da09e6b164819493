"""Nodes: what an operator says of them, what they say of themselves, and what never leaves the server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.accounts.access import Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing
from core.operations import services as operations
from core.operations.models import Operation
from mecm.edge import reports
from mecm.edge.models import NodeSync, ReportedObject
from mecm.nodes import sealed, services
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db

SECRET = "s3cr3t-t0ken-of-the-cluster"
KUBECONFIG = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
    }
)


@pytest.fixture
def register(actor: Any, organisation: Any) -> Any:
    """Register a node: `register(name="berth-7", link="direct")`."""

    def make(**facts: Any) -> Node:
        return services.register(
            **{"actor": actor, "organisation": organisation, "name": "berth-7", "engine": "memory", **facts}
        )

    return make


def test_a_node_is_registered(register: Any) -> None:
    node = register(latitude=60.17, longitude=24.94, labels={"site": "harbour"}, cpu_millis=4000)
    assert (node.state, node.link, node.cpu_millis, node.capacity_fixed) == ("new", "agent", 4000, True)
    assert Entry.objects.get(object_id=str(node.pk)).action == "node.register"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Berth 7"},
        {"name": ""},
        {"name": "x" * 64},
        {"engine": "abacus"},
        {"link": "pigeon"},
        {"latitude": 91.0, "longitude": 0.0},
        {"latitude": 0.0, "longitude": -181.0},
        {"latitude": 1.0},
        {"labels": {"a": 1}},
        {"labels": {str(n): "x" for n in range(60)}},
        {"engine": "docker", "link": "direct"},
    ],
    ids=str,
)
def test_what_makes_no_node_is_refused(register: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        register(**wrong)


def test_a_name_is_given_once_in_an_organisation(register: Any, stranger: Any, stranger_organisation: Any) -> None:
    register()
    with pytest.raises(Conflict):
        register()
    assert register(actor=Actor(stranger), organisation=stranger_organisation)


@pytest.mark.parametrize(
    "wrong", [{"latitude": 95.0, "longitude": 0.0}, {"longitude": 7.0, "latitude": None}, {"link": "?"}]
)
def test_the_database_keeps_the_promises_itself(register: Any, wrong: dict[str, Any]) -> None:
    node = register()
    with pytest.raises(IntegrityError), transaction.atomic():
        Node.objects.filter(pk=node.pk).update(**wrong)


def test_a_developer_registers_nothing(register: Any, make_user: Any, organisation: Any) -> None:
    with pytest.raises(Denied):
        register(actor=Actor(make_user("dev", organisation, "developer")))


def test_a_node_is_online_as_long_as_it_speaks(register: Any, settings: Any) -> None:
    node = register()
    assert (node.state, list(Node.objects.in_state("new"))) == ("new", [node])
    node.enrolled_at = timezone.now()
    node.save()
    assert (node.state, list(Node.objects.in_state("enrolled"))) == ("enrolled", [node])
    services.seen(node.pk)
    node.refresh_from_db()
    assert (node.state, list(Node.objects.online())) == ("online", [node])
    Node.objects.update(last_seen_at=timezone.now() - timedelta(seconds=settings.HEARTBEAT_LIMIT + 1))
    node.refresh_from_db()
    assert (node.state, list(Node.objects.stale()), list(Node.objects.in_state("offline"))) == (
        "offline",
        [node],
        [node],
    )


def test_a_node_reports_its_own_capacity(register: Any) -> None:
    node = register()
    NodeSync.objects.create(node=node)
    told = {
        "capacity": {"cpu_millis": 2000, "memory_bytes": 1 << 33},
        "engine_version": "Docker 28",
        "agent_version": "0.1",
    }
    reports.take(node, "outbox", 1, [{"seq": 1, "kind": "node", "key": "self", "status": told}])
    node.refresh_from_db()
    assert (node.cpu_millis, node.memory_bytes, node.engine_version, node.agent_version) == (
        2000,
        1 << 33,
        "Docker 28",
        "0.1",
    )
    assert node.state == "online"


def test_an_operators_figures_win_over_reported_ones(register: Any, actor: Any) -> None:
    node = register(cpu_millis=1000)
    services.learn(node.pk, {"capacity": {"cpu_millis": 9000, "memory_bytes": 5}})
    node.refresh_from_db()
    assert (node.cpu_millis, node.memory_bytes, node.facts["capacity"]["cpu_millis"]) == (1000, 0, 9000)
    freed = services.change(node, actor=actor, cpu_millis=None)
    assert (freed.cpu_millis, freed.memory_bytes, freed.capacity_fixed) == (9000, 5, False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "capacity": anything | st.dictionaries(st.sampled_from(["cpu_millis", "memory_bytes"]), anything),
            **dict.fromkeys(
                ("engine_version", "agent_version", "simulated", "architecture", "isolation", "limits", "extra"),
                anything,
            ),
        },
    )
)
def test_whatever_a_node_says_of_itself_can_be_stored(register: Any, facts: dict[str, Any]) -> None:
    node = Node.objects.first() or register()
    services.learn(node.pk, facts)
    node.refresh_from_db()
    assert node.cpu_millis >= 0
    assert "extra" not in node.facts


def test_a_kubeconfig_is_sealed_and_tested(register: Any, actor: Any) -> None:
    node = register(link="direct")
    operation = services.import_kubeconfig(node, KUBECONFIG, actor=actor)
    node.refresh_from_db()
    assert SECRET.encode() not in bytes(node.kubeconfig)
    assert SECRET in sealed.reveal(node, "kubeconfig")
    assert (operation.kind, operation.target, operation.payload) == (
        "node.probe", f"node:{node.pk}", {"node": str(node.pk)},
    )  # fmt: skip


def test_a_sealed_kubeconfig_opens_only_in_its_own_row(register: Any, actor: Any) -> None:
    node, other = register(link="direct"), register(name="berth-8", link="direct")
    services.import_kubeconfig(node, KUBECONFIG, actor=actor)
    node.refresh_from_db()
    other.kubeconfig = node.kubeconfig
    with pytest.raises(Invalid):
        sealed.reveal(other, "kubeconfig")
    with pytest.raises(Missing):
        sealed.reveal(other, "mep_token")


def test_a_kubeconfig_never_leaves_again(register: Any, actor: Any, api: Any, caplog: Any) -> None:
    node = register(link="direct")
    put = api.put(f"/api/v1/nodes/{node.pk}/kubeconfig", {"kubeconfig": KUBECONFIG}, format="json")
    assert put.status_code == 202
    broken = api.put(f"/api/v1/nodes/{node.pk}/kubeconfig", {"kubeconfig": KUBECONFIG + "\n- ["}, format="json")
    assert broken.status_code == 400
    told = [
        put.content,
        broken.content,
        *(api.get(f"/api/v1/{path}").content for path in ("nodes", f"nodes/{node.pk}", "geo/nodes")),
    ]
    assert not any(SECRET.encode() in answer for answer in told)
    assert api.get(f"/api/v1/nodes/{node.pk}").json()["has_kubeconfig"] is True
    assert api.get(f"/api/v1/nodes/{node.pk}/kubeconfig").status_code == 405
    assert SECRET not in caplog.text
    assert SECRET not in str(list(Entry.objects.values())) + str(list(Operation.objects.values()))


def test_a_node_with_an_agent_takes_no_kubeconfig(register: Any, actor: Any) -> None:
    with pytest.raises(Conflict):
        services.import_kubeconfig(register(), KUBECONFIG, actor=actor)
    with pytest.raises(Conflict):
        services.set_mep(Node.objects.get(), url="https://10.0.0.1", token="x", actor=actor)


def test_a_probe_brings_version_and_capacity(register: Any, actor: Any) -> None:
    node = register(link="direct")
    services.probe(node, actor=actor)
    assert operations.run_due() == 1
    node.refresh_from_db()
    assert Operation.objects.get().state == "succeeded"
    assert node.engine_version
    assert node.cpu_millis > 0
    assert (node.state, node.simulated) == ("online", True)


def test_a_probe_of_a_cluster_without_kubeconfig_says_what_to_do(register: Any, actor: Any) -> None:
    services.probe(register(engine="kubernetes", link="direct"), actor=actor)
    operations.run_due()
    problem = Operation.objects.get().problem
    assert problem is not None
    assert "import one first" in problem["detail"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://10.0.0.1:8443"},
        {"url": "ftp://x"},
        {"url": "https://user:pw@10.0.0.1"},
        {"url": "https://[bad"},
        {"url": "https://10.0.0.1/?q=1"},
        {"token": ""},
        {"token": "a b"},
        {"token": "x" * 5000},
        {"token": "ä"},
        {"ca": "no certificate"},
    ],
    ids=str,
)
def test_a_mep_is_reached_safely_or_not_at_all(register: Any, actor: Any, wrong: dict[str, str]) -> None:
    node = register(link="direct")
    with pytest.raises(Invalid):
        services.set_mep(node, **{"url": "https://10.0.0.1:8443", "token": "t", **wrong}, actor=actor)


def test_the_token_of_a_mep_is_sealed(register: Any, actor: Any) -> None:
    node = services.set_mep(register(link="direct"), url="https://10.0.0.1:8443/", token=SECRET, actor=actor)
    node.refresh_from_db()
    assert node.mep_url == "https://10.0.0.1:8443"
    assert SECRET.encode() not in bytes(node.mep_token)
    assert sealed.reveal(node, "mep_token") == SECRET


def test_a_node_that_holds_applications_stays(register: Any, actor: Any, organisation: Any) -> None:
    from appstore.packages.models import Package
    from mecm.deployments.models import Deployment

    node = register()
    package = Package.objects.create(organisation=organisation, sha256="0" * 64, size=1)
    held = Deployment.objects.create(
        organisation=organisation, node=node, package=package, name="hello", namespace="t-acme"
    )
    with pytest.raises(Conflict, match="hello"):
        services.remove(node, actor=actor)
    Deployment.objects.filter(pk=held.pk).update(wish="absent", state="removed")
    ReportedObject.objects.create(node=node, kind="mep", key="state")
    services.remove(node, actor=actor)
    assert not Node.objects.exists()
    assert Entry.objects.filter(action="node.remove", object_id=str(node.pk)).exists()


def test_what_a_node_says_of_its_walls_is_kept_in_bounds(register: Any) -> None:
    node = register()
    told = {"isolation": {"state": "enforced", "by": "Calico" * 99, "more": 1}, "limits": {"memory": 512, "evil": "x"}}
    services.learn(node.pk, told)
    node.refresh_from_db()
    assert node.facts["isolation"] == {"state": "enforced", "by": ("Calico" * 99)[:60]}
    assert (node.facts["limits"]["memory"], node.facts["limits"]["disk"]) == (512, 0)
    assert "evil" not in node.facts["limits"]
    services.learn(node.pk, {"isolation": {"state": "perfect"}})
    node.refresh_from_db()
    assert node.facts["isolation"] == {"state": "unknown", "by": ""}
    assert "limits" not in node.facts
