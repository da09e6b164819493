"""The Kubernetes cluster that live tests share: the one of KUBECONFIG, else one of our own, brought up here."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.image import write_archive
from tests.live.kubernetes.cluster import Cluster


class TestCluster:
    """A cluster, whoever runs it: `kubeconfig` is its text, `node_port` reaches what a Service offers."""

    __test__ = False

    def __init__(self, kubeconfig: str, own: Cluster | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.own = own

    def load_image(self, archive: Path) -> None:
        """Put a docker-archive on the node; skips where nodes take images from a registry only."""
        if self.own is None:
            pytest.skip(
                "the cluster of KUBECONFIG takes images from a registry; set TEST_CLUSTER_HAS_IMAGES=1 if it has ours"
            )
        self.own.load_image(archive)

    def http_get(self, address: str, port: int, path: str = "/") -> str:
        """Return what answers at a NodePort; empty when nothing does."""
        try:
            if self.own is not None:
                status, body = self.own.http_get(port, path)
                return body.decode() if status == 200 else ""
            with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException, urllib.error.URLError):
            return ""


@pytest.fixture(scope="session")
def kubernetes_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """A running cluster that has the image of the contract charts."""
    given = os.environ.get("KUBECONFIG", "")
    cluster = Cluster()
    if given and Path(given).resolve() != (cluster.state / "kubeconfig").resolve():
        shared = TestCluster(Path(given).read_text())
        if os.environ.get("TEST_CLUSTER_HAS_IMAGES") != "1":
            shared.load_image(Path())
        yield shared
        return
    was_up = cluster.running()
    if not was_up and (why := cluster.obstacle()):
        pytest.skip(f"KUBECONFIG is not set, and {why}")
    cluster.up(print)
    own = TestCluster(cluster.kubeconfig(), cluster)
    own.load_image(write_archive(tmp_path_factory.mktemp("image") / "contract.tar"))
    yield own
    cluster.leave()
    if not was_up and os.environ.get("TEST_CLUSTER_KEEP") != "1":
        cluster.down()


@pytest.fixture(autouse=True)
def _cluster_lives(request: pytest.FixtureRequest) -> None:
    """Say what has become of a cluster that was lost, instead of letting every test after that fail in words of its own."""
    if "kubernetes_cluster" in request.fixturenames:
        own = request.getfixturevalue("kubernetes_cluster").own
        if own is not None and (lost := own.lost()):
            pytest.fail(lost, pytrace=False)
