"""A real MEC platform, reached directly, whose database is taken away: the node's watch makes it whole again."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mecm.deployments import handlers, logs
from mecm.deployments.models import Deployment
from mecm.nodes import reach
from mecm.nodes import services as nodes
from mecm.steering import services as steering
from mecm.steering.models import RuleSet
from tests.mecm.deployments.test_direct import drain
from tests.mecm.deployments.test_worker_live import TOKEN, kill, start, wait
from tests.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.django_db]
DNS = {"dnsRuleId": "name", "domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.9"}


class Platform:
    """A MEP as a process of its own, whose store a test can take away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.port = folder, folder.with_name("mep.log"), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = start(
            [sys.executable, "manage.py", "mp1", "--settings", "mep.settings"],
            self.log,
            DJANGO_SETTINGS_MODULE="mep.settings",
            MEP_VAR=str(self.folder),
            MEP_MP1_BIND="127.0.0.1",
            MEP_MP1_PORT=str(self.port),
            MEP_MM5_TOKEN=TOKEN,
        )
        self.ca = wait(lambda: self.answers().get("caCert"), self.log)

    def answers(self, path: str = "info") -> dict[str, Any]:
        """Ask its management; empty while it does not answer."""
        try:
            # Trust on first use is right here only: the process is our own child on loopback.
            told = httpx.get(
                f"{self.url}/mm5/v1/{path}", headers={"Authorization": f"Bearer {TOKEN}"}, verify=False, trust_env=False,
                timeout=60,
            )  # fmt: skip
        except httpx.TransportError:
            return {}
        return dict(told.raise_for_status().json())

    def lose_store(self) -> None:
        """Take its database away, as a node does that was set up anew; its keys and certificates stay."""
        kill(self.process)
        gone = list(self.folder.glob("*.sqlite3*"))
        assert gone
        for path in gone:
            path.unlink()
        self.start()

    def signs_in(self, deployment: Deployment) -> bool:
        """Return whether an app gets a token with the credentials that its release has."""
        current = reach.engine_for(deployment.node).store.current(deployment.namespace, deployment.name)
        known = current.values["global"]["mep"]
        told = httpx.post(
            f"{self.url}/mep/token",
            data={"grant_type": "client_credentials"},
            auth=(known["clientId"], known["clientSecret"]),
            verify=False,
            trust_env=False,
            timeout=60,
        )
        assert told.status_code in (200, 400, 401), told.text
        return told.status_code == 200


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A running MEP."""
    made = Platform(tmp_path / "mep")
    yield made
    kill(made.process, signal.SIGTERM)


def test_apps_sign_in_again_and_changed_rules_hold_again_after_the_platform_lost_its_store(
    deploy: Any, make_node: Any, make_package: Any, actor: Any, platform: Platform
) -> None:
    node = nodes.set_mep(
        make_node("cluster", link="direct"), url=platform.url, token=TOKEN, ca=platform.ca, actor=actor
    )
    app = deploy(node=node, package=make_package("3.0.0", appDNSRule=[DNS]))
    drain()
    steering.set_rule(app, "dns", "name", actor=actor, rule={**DNS, "ipAddress": "192.0.2.77"})
    drain()
    assert platform.signs_in(app)
    assert platform.answers("state")["dns_rules"][0]["ipAddress"] == "192.0.2.77"
    platform.lose_store()
    assert not platform.signs_in(app)
    assert platform.answers("state")["apps"] == []
    handlers.watch_direct_nodes()
    drain()
    assert platform.signs_in(app)
    state = platform.answers("state")
    assert [each["appInstanceId"] for each in state["apps"]] == [str(app.app_instance_id)]
    assert state["dns_rules"][0]["ipAddress"] == "192.0.2.77"
    assert state["rule_wishes"] == [{"appInstanceId": str(app.app_instance_id), "generation": 1, "state": "applied"}]
    for _ in range(2):
        handlers.watch_direct_nodes()
        drain()
    app = Deployment.objects.select_related("node", "package").get(pk=app.pk)
    assert (app.state, app.generation, RuleSet.objects.get().state) == ("ready", 1, "applied")
    told = [each["reason"] for each in logs.events(app)["events"]]
    assert sorted(each for each in told if each.endswith("Again")) == ["ProvisionedAgain", "RulesToldAgain"]
