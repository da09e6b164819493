"""What the tests of the edge platform share: an own folder, app instances, clients that speak for them.

Run with `DJANGO_SETTINGS_MODULE=tests.edge_settings pytest tests/mep`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, settings: Any) -> Path:
    """Give each test its own keys and certificates, and let notifications reach this machine."""
    settings.VAR = tmp_path / "mep"
    settings.VAR.mkdir()
    settings.CALLBACK_NETWORKS = tuple(ipaddress.ip_network(net) for net in ("127.0.0.0/8", "10.0.0.0/8"))
    return settings.VAR


@pytest.fixture(autouse=True)
def fresh_verifier() -> None:
    """Forget the keys of the test before, whose database is gone, and how much was asked in it."""
    from mep.mp1 import throttle
    from mep.mp1.tokens import verifier

    verifier.forget()
    throttle.forget()


class Mp1:
    """A client that speaks Mp1 for one app instance."""

    def __init__(self, app_id: str, token: str) -> None:
        self.id, self.token = app_id, token
        self._client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request; `{app}` in the path is our own id. Other headers as keywords: `If_Match='"3"'`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Authorization", f"Bearer {self.token}")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named.setdefault("Content-Type", "application/json")
        return self._client.generic(
            method,
            path.replace("{app}", self.id),
            content,
            content_type=named.pop("Content-Type"),
            headers={"Host": "mep:8443", **named},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.send("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.send("DELETE", path, **headers)

    def register(self, **members: Any) -> dict[str, Any]:
        """Register a service and return its ServiceInfo."""
        answer = self.post("/mec_service_mgmt/v1/applications/{app}/services", service(**members))
        assert answer.status_code == 201, answer.content
        return dict(answer.json())


def service(**members: Any) -> dict[str, Any]:
    """Return a ServiceInfo to POST."""
    return {
        "serName": "hello",
        "version": "1.0",
        "state": "ACTIVE",
        "serializer": "JSON",
        "transportInfo": {
            "id": "t1",
            "name": "rest",
            "type": "REST_HTTP",
            "protocol": "HTTP",
            "version": "1.1",
            "endpoint": {"uris": ["http://10.1.2.3/hello"]},
            "security": {},
        },
        **members,
    }


TRAFFIC_RULE = {
    "trafficRuleId": "t1",
    "filterType": "FLOW",
    "priority": 5,
    "trafficFilter": [{"dstAddress": ["203.0.113.0/28"], "dstPort": ["80-90"], "protocol": ["TCP"]}],
    "action": "FORWARD_DECAPSULATED",
    "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.1.2.3"}],
}
DNS_RULE = {
    "dnsRuleId": "d1",
    "domainName": "hello.example",
    "ipAddressType": "IP_V4",
    "ipAddress": "10.1.2.3",
    "ttl": 60,
}


@pytest.fixture
def provision(db: None) -> Callable[..., Any]:
    """Make an app instance known and return its credentials."""
    from mep.mp1 import services

    def make(app_id: str = "app-1", **facts: Any) -> services.Credentials:
        return services.provision(app_id, **{"app_name": app_id, "app_provider": "acme", **facts})

    return make


@pytest.fixture
def speak(provision: Callable[..., Any]) -> Callable[..., Mp1]:
    """Make an app instance that is ready (unless told otherwise) and return its client."""
    from mep.mp1 import services, tokens
    from mep.mp1.models import App

    def make(app_id: str = "app-1", *, ready: bool = True, **facts: Any) -> Mp1:
        provision(app_id, **facts)
        if ready:
            services.confirm_ready(app_id)
        return Mp1(app_id, tokens.issue(App.objects.get(pk=app_id)))

    return make


@pytest.fixture
def app(speak: Callable[..., Mp1]) -> Mp1:
    """A ready app instance with a traffic rule and a DNS rule."""
    return speak("app-1", traffic_rules=[TRAFFIC_RULE], dns_rules=[DNS_RULE])


@pytest.fixture
def neighbour(speak: Callable[..., Mp1]) -> Mp1:
    """Another ready app instance."""
    return speak("app-2")


@pytest.fixture
def full(speak: Callable[..., Mp1]) -> Mp1:
    """A MEP with something of everything; the client is that of its first app instance."""
    from tests.mep.filled import fill

    return fill(speak)
