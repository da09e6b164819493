"""The direct applier on a real cluster: a kubeconfig is imported over HTTP, and the centre is honest about what runs."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.accounts.models import Organisation
from core.operations import services as operations
from core.operations.models import Operation
from engines.contract import EngineSettings
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from tests.live import conftest as live
from tests.live.conftest import TestCluster
from tests.mecm.deployments import fake_mep
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900), pytest.mark.usefixtures("threads_db")]

#: The cluster of the live tests.
kubernetes_cluster = live.kubernetes_cluster

CHARTS = Path(__file__).resolve().parents[2] / "contracts" / "charts"
MISSING = "localhost/breakwater/there-is-no-such-image:1"


@pytest.fixture
def organisation(db: None) -> Organisation:
    """A tenant of its own: the cluster may be shared with other tests."""
    return Organisation.objects.create(slug=f"live-{secrets.token_hex(4)}", name="Live")


@pytest.fixture
def package(make_package: Any) -> Any:
    """The chart of the engines' contract suite, published."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(CHARTS / "web", arcname="web")
    return make_package("1.0.0", packed=packed.getvalue())


@pytest.fixture
def node(api: Any, kubernetes_cluster: TestCluster) -> Iterator[Node]:
    """A direct node, made as an operator makes it: by HTTP alone."""
    made = api.post("/api/v1/nodes", {"name": "quay-1", "engine": "kubernetes", "link": "direct"}, format="json").json()
    url = f"/api/v1/nodes/{made['id']}"
    with fake_mep.running() as mep:
        answer = api.put(f"{url}/kubeconfig", {"kubeconfig": kubernetes_cluster.kubeconfig}, format="json")
        assert answer.status_code == 202, answer.content
        put = api.put(f"{url}/mep", {"url": mep.url, "token": fake_mep.TOKEN}, format="json")
        assert put.status_code == 204, put.content
        operations.run_due()
        yield Node.objects.get(pk=made["id"])
        _leave(kubernetes_cluster)


def _leave(cluster: TestCluster) -> None:
    """Take away what a failed test left in the shared cluster."""
    from engines.kubernetes import KubernetesEngine

    namespaces = {f"t-{row.slug}" for row in Organisation.objects.all()}
    engine = KubernetesEngine(EngineSettings(name="cleaner", kubeconfig=cluster.kubeconfig))
    for namespace, name in engine.releases():
        if namespace in namespaces:
            engine.remove(name, namespace)
    engine.close()


@pytest.fixture
def work(api: Any) -> Callable[..., dict[str, Any]]:
    """Do what is due until the deployment is as wanted, as HTTP shows it; every state on the way is kept."""

    def drive(deployment: str, **wanted: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        seen: set[str] = set()

        def look() -> bool:
            operations.run_due()
            shown.update(api.get(f"/api/v1/deployments/{deployment}").json())
            seen.add(shown["state"])
            return all(shown[name] == value for name, value in wanted.items())

        try:
            until(look, 90, every=0.2)
        except AssertionError as failure:
            raise AssertionError(
                f"{failure}\n{shown}\n{list(Operation.objects.values('kind', 'state', 'problem'))}"
            ) from None
        return {**shown, "seen": seen}

    return drive


def test_a_cluster_is_probed_by_the_kubeconfig_it_was_given(node: Node, api: Any) -> None:
    shown = api.get(f"/api/v1/nodes/{node.pk}").json()
    assert shown["state"] == "online"
    assert shown["engine_version"].startswith("Kubernetes v1.")
    assert shown["cpu_millis"] > 0
    assert shown["memory_bytes"] > 0


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [({"image": MISSING}, "ImagePullBackOff"), ({"ready": False}, "ProbeFailing")],
    ids=["image", "probe"],
)
def test_a_cluster_that_says_image_missing_or_probe_failing_is_never_shown_as_deployed(
    node: Node, package: Any, api: Any, work: Any, trouble: dict[str, Any], reason: str
) -> None:
    asked = {"package": str(package.pk), "node": str(node.pk), "name": "web", "values": trouble}
    made = api.post("/api/v1/deployments", asked, format="json").json()
    told = work(made["id"], reason=reason)
    assert "ready" not in told["seen"]
    assert told["state"] in ("progressing", "failed")
    assert told["workloads"][0]["ready"] == 0
    url = f"/api/v1/deployments/{made['id']}"
    assert api.patch(url, {"values": {}}, format="json").status_code == 202
    healed = work(made["id"], state="ready", observed_generation=2)
    assert healed["workloads"][0]["ready"] == 1
    assert api.delete(url).status_code == 202
    work(made["id"], state="removed")


def test_the_whole_life_on_a_cluster(
    node: Node, package: Any, api: Any, work: Any, kubernetes_cluster: TestCluster
) -> None:
    asked = {"package": str(package.pk), "node": str(node.pk), "name": "web", "values": {"message": "one"}}
    made = api.post("/api/v1/deployments", asked, format="json").json()
    url = f"/api/v1/deployments/{made['id']}"
    first = work(made["id"], state="ready")
    (door,) = first["endpoints"]
    assert "message=one" in until(
        lambda: kubernetes_cluster.http_get(door["address"], door["port"], "/cgi-bin/about"), 20
    )
    assert any("serving one" in line["text"] for line in api.get(f"{url}/logs").json()["lines"])
    assert api.get(f"{url}/events").json()["events"]

    api.patch(url, {"values": {"message": "two", "replicas": 2}}, format="json")
    second = work(made["id"], state="ready", observed_generation=2)
    assert second["workloads"][0]["ready"] == 2
    until(lambda: "message=two" in kubernetes_cluster.http_get(door["address"], door["port"], "/cgi-bin/about"), 20)

    api.post(f"{url}/rollback", {}, format="json")
    third = work(made["id"], state="ready", observed_generation=3)
    assert (third["values"], third["workloads"][0]["wanted"]) == ({"message": "one"}, 1)
    until(lambda: "message=one" in kubernetes_cluster.http_get(door["address"], door["port"], "/cgi-bin/about"), 20)

    api.delete(url)
    work(made["id"], state="removed")
    from mecm.nodes import reach

    assert [each for each in reach.engine_for(node).releases() if each[0] == first["namespace"]] == []
    assert Deployment.objects.get().state == "removed"
