"""The main job on real Kubernetes through the direct applier, with PostgreSQL and Redis under the centre."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from core.errors import BreakwaterError
from engines.contract import EngineSettings
from tests.flows import main_job
from tests.flows.conftest import MM5_TOKEN, ROOT, Mep, Program, WholeStack
from tests.live.kubernetes.api import Api
from tests.live.kubernetes.cluster import Cluster
from tests.live.kubernetes.files import NODE_IP
from tests.waiting import until
from tools import images, servers
from tools.samples import SAMPLES, build_image

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
MP1_PORT = 8443


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The test cluster of this machine; brought up when it is not there, and left as it was found."""
    found = Cluster()
    was_up = found.running()
    if not was_up and (why := found.obstacle()):
        pytest.skip(why)
    found.up()
    try:
        yield found
    finally:
        found.leave() if was_up else found.down()


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStack]:
    """A centre on PostgreSQL and Redis."""
    if servers.find_postgres() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with servers.postgres() as database, servers.redis() as broker:
        stack = WholeStack(tmp_path_factory.mktemp("stack"), engine="memory")
        stack.env |= {"BREAKWATER_DATABASE_URL": database, "BREAKWATER_BROKER_URL": broker}
        stack.up()
        try:
            yield stack
        finally:
            assert stack.down() == 0


@pytest.fixture
def mep(cluster: Cluster, tmp_path: Path, start: Callable[..., Program]) -> Mep:
    """A MEP inside the cluster's network, where pods know it as `mep`; its management is relayed to this machine."""
    folder, process = tmp_path / "mep", cluster._first_process()

    def launch() -> Program:
        return start(
            "mep",
            ["nsenter", "-t", str(process), "-n", "--", sys.executable, str(ROOT / "manage.py"), "mp1"],
            DJANGO_SETTINGS_MODULE="mep.settings",
            MEP_VAR=str(folder),
            MEP_MP1_BIND=NODE_IP,
            MEP_MP1_PORT=str(MP1_PORT),
            MEP_MM5_TOKEN=MM5_TOKEN,
        )

    port = urlsplit(_relay(cluster)).port or 0
    found = Mep(port, folder, launch, launch())
    until(found.answers, 60, what="the MEP to answer")
    return found


def _relay(cluster: Cluster) -> str:
    host, port = cluster.border().inward((NODE_IP, MP1_PORT), ("127.0.0.1", 0))
    return f"https://{host}:{port}"


class ClusterStory(main_job.Story):
    """The same story; only the way to a NodePort of this cluster is particular."""

    cluster: Cluster

    def page_of(self, deployment: str) -> str:
        return self.cluster.forward(urlsplit(super().page_of(deployment)).port or 0)


def register(centre: main_job.Centre, cluster: Cluster, mep: Mep, name: str) -> None:
    """Make the cluster a node of the centre, as an operator does."""
    node = centre.ask("POST", "/nodes", json={"name": name, "engine": "kubernetes", "link": "direct"})
    centre.ask("PUT", f"/nodes/{node['id']}/kubeconfig", json={"kubeconfig": cluster.kubeconfig()})
    info: dict[str, Any] = mep.manage("GET", "/mm5/v1/info").json()
    access = {"url": mep.url, "token": MM5_TOKEN, "ca": info["caCert"]}
    centre.ask("PUT", f"/nodes/{node['id']}/mep", json=access)


def test_the_main_job_works_on_kubernetes(
    centre: WholeStack, cluster: Cluster, mep: Mep, samples: Path, tmp_path: Path
) -> None:
    for sample in SAMPLES:
        image: images.Image = build_image(sample, tmp_path)
        cluster.load_image(image.archive)
    api = centre.centre()
    name = f"cluster-{secrets.token_hex(3)}"
    register(api, cluster, mep, name)
    story = ClusterStory(api, name, within=120)
    story.cluster = cluster

    main_job.run(story, samples, "")

    pods = Api(cluster.state / "pki", cluster.port).get("/api/v1/namespaces/t-demo/pods")
    assert [pod["metadata"]["name"] for pod in (pods or {}).get("items", [])] == []
    assert mep.state()["apps"] == []
    kept = api.ask("GET", f"/nodes/{story.node['id']}")
    assert "kubeconfig" not in kept
    assert kept["has_kubeconfig"]
    api.close()


def test_the_clusters_engine_holds_no_release_afterwards(cluster: Cluster) -> None:
    from engines.kubernetes import KubernetesEngine

    engine = KubernetesEngine(EngineSettings(name="look", kubeconfig=cluster.kubeconfig()))
    try:
        assert [name for namespace, name in engine.releases() if namespace == "t-demo"] == []
    except BreakwaterError as problem:
        pytest.fail(problem.detail)
    finally:
        engine.close()
