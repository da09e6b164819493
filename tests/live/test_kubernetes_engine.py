"""The kubernetes engine keeps the contract of engines, on a real cluster."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator

import pytest

from engines.contract import EngineSettings
from engines.kubernetes import KubernetesEngine
from engines.kubernetes.api import Api
from engines.kubernetes.kubeconfig import Access
from tests.contracts.carried import CarriedImages
from tests.contracts.engine import EngineContract, Harness
from tests.live.conftest import TestCluster
from tests.live.kubernetes.files import PODS
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

_WORDS = re.compile(r"pod=(.*?) namespace=(.*?) message=(.*?) password=(.*?) file=(.*)", re.DOTALL)
_KINDS = (
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
)


class KubernetesHarness(Harness):
    """One tenant of the cluster, and the cluster asked directly."""

    engine: KubernetesEngine
    patience = 60.0
    carries_images = False

    def __init__(self, cluster: TestCluster) -> None:
        self.cluster = cluster
        self.namespace = f"t-{secrets.token_hex(4)}"
        helm = os.environ.get("TEST_HELM", "sdk")  # or the path of a helm binary
        self.settings = EngineSettings(
            name=f"test-{secrets.token_hex(3)}",
            kubeconfig=cluster.kubeconfig,
            helm=helm,
            pod_networks=(PODS,) if cluster.own else (),  # our own cluster's nodes do not tell it
        )
        self.engine = KubernetesEngine(self.settings)
        self.api = Api(Access.read(cluster.kubeconfig))

    def get(self, name: str, path: str) -> str:
        for endpoint in self.engine.status(name, self.namespace).endpoints:
            if endpoint.port:
                return self.cluster.http_get(endpoint.address, endpoint.port, path)
        return ""

    def about(self, name: str) -> dict[str, str]:
        words = _WORDS.fullmatch(self.get(name, "/cgi-bin/about").strip())
        return (
            dict(zip(("pod", "namespace", "message", "password", "file"), words.groups(), strict=True)) if words else {}
        )

    def break_liveness(self, name: str) -> None:
        # The packet filter's rule for a new Service may come a moment after its pods are ready.
        until(lambda: "broken" in self.get(name, "/cgi-bin/break"), self.patience, every=0.2)

    def pods(self, name: str) -> list[str]:
        return self.named("Pod", name)

    def named(self, kind: str, name: str) -> list[str]:
        found = self.api.all(kind, self.namespace)
        return sorted(each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith(f"{name}-"))

    def left(self, name: str) -> list[str]:
        found = []
        for version, kind in _KINDS:
            path = self.api._path(version, kind, self.namespace, "x").removesuffix("/x")
            for each in self.api._read(path)["items"]:
                own = each["metadata"]["name"]
                if own.startswith((f"{name}-", f"sh.helm.release.v1.{name}.")):
                    found.append(f"{kind}/{own}")
        return found

    def close(self) -> None:
        """Leave nothing in the cluster, whatever the test did."""
        self.api.delete_namespace(self.namespace)
        self.engine.close()
        self.api.close()


@pytest.fixture
def harness(kubernetes_cluster: TestCluster) -> Iterator[KubernetesHarness]:
    made = KubernetesHarness(kubernetes_cluster)
    yield made
    made.close()


class TestKubernetesEngine(EngineContract, CarriedImages):
    """Runs the suite."""
