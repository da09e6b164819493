"""Rules of a node that the centre reaches directly go to its MEC platform over the management interface."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core.errors import Missing
from core.operations.models import Operation
from mecm.deployments import direct
from mecm.deployments.mm5 import Mm5
from mecm.steering import handlers, services
from mecm.steering.models import RuleSet
from tests.mecm.steering.conftest import DNS, TRAFFIC


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Answer for the platform and keep what it was asked."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) > 1:
            return httpx.Response(404)
        return httpx.Response(
            200, json={"state": "refused", "rules": [{"kind": "dns", "id": "name", "outcome": "lost"}]}
        )

    dial = lambda node: Mm5("https://mep:8443", "t", transport=httpx.MockTransport(answer))  # noqa: E731
    monkeypatch.setattr(direct, "mep_of", dial)
    return seen


def test_the_platform_is_told_and_its_answer_is_kept(
    make_node: Any, make_package: Any, deploy: Any, actor: Any, asked: list[httpx.Request]
) -> None:
    node = make_node("cluster", link="direct", mep_url="https://mep:8443")
    app = deploy(node=node, package=make_package("3.0.0", appTrafficRule=[TRAFFIC], appDNSRule=[DNS]))
    services.set_rule(app, "dns", "name", actor=actor, state="INACTIVE")
    operation = Operation.objects.get(kind="rules.apply")
    handlers.apply(operation)
    assert asked[0].url.path == f"/mm5/v1/app_instances/{app.app_instance_id}/rules"
    held = RuleSet.objects.get()
    assert (held.state, held.observed_generation, held.outcomes[0]["outcome"]) == ("refused", 1, "lost")
    with pytest.raises(Missing):
        handlers.apply(operation)
    assert "does not know what we asked for" in RuleSet.objects.get().message
