"""What a trial asks of a real cluster: ports through the API server, killed pods that come back, a search for remains."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

import engines.trials as trials
from core.errors import Invalid
from engines.contract import EngineSettings, Release, State
from engines.kubernetes import KubernetesEngine
from engines.kubernetes.trials import KubernetesTrials
from engines.trials import Request
from tests.live.conftest import TestCluster
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
CHART = Path(__file__).parents[1] / "contracts" / "charts" / "web"


def test_an_application_on_a_cluster_is_asked_killed_and_searched_for(kubernetes_cluster: TestCluster) -> None:
    engine = KubernetesEngine(EngineSettings(name=secrets.token_hex(4), kubeconfig=kubernetes_cluster.kubeconfig))
    tried = trials.of(engine)
    assert isinstance(tried, KubernetesTrials)
    namespace = f"trial-{secrets.token_hex(4)}"
    try:
        engine.apply(Release("web", namespace, CHART))
        until(lambda: engine.status("web", namespace).state is State.READY, 90, 0.5, what="the app to be ready")
        port = engine.status("web", namespace).endpoints[0].cluster_port

        told = until(lambda: _good(tried.ask("web", namespace, Request(port))), 20, 0.5, what="the port to answer")
        assert told["bytes"] > 0
        with pytest.raises(Invalid, match="No Service"):
            tried.ask("web", namespace, Request(1))

        before = set(engine.status("web", namespace).workloads[0].pods)
        killed = tried.kill("web", namespace)
        assert {each.partition("/")[0] for each in killed} == before
        until(
            lambda: (
                engine.status("web", namespace).state is State.READY
                and not before & set(engine.status("web", namespace).workloads[0].pods)
            ),
            90,
            0.5,
            what="new pods to be ready",
        )
        try:
            assert {each.container for each in tried.usage("web", namespace)}
        except Invalid as problem:
            assert "metrics-server" in problem.detail  # noqa: PT017 - both are right, depending on the cluster

        assert any(each.startswith("Pod ") for each in tried.leftovers("web", namespace))
        engine.remove("web", namespace)
        until(lambda: tried.leftovers("web", namespace) == [], 60, 0.5, what="nothing to be left")
    finally:
        engine.remove("web", namespace)
        engine.close()


def _good(told: dict[str, object]) -> dict[str, object] | None:
    return told if told.get("status") == 200 else None
