"""A deployed application with a traffic rule and a DNS rule, on a node whose user plane said what it can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from tests.mecm.deployments.conftest import deploy, make_node, make_package, node, package

__all__ = ["deploy", "make_node", "make_package", "node", "package"]

TRAFFIC = {
    "trafficRuleId": "video",
    "filterType": "FLOW",
    "priority": 20,
    "trafficFilter": [{"dstAddress": ["203.0.113.0/24"], "protocol": ["UDP"]}],
    "action": "FORWARD_DECAPSULATED",
    "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}],
}
DNS = {
    "dnsRuleId": "name",
    "domainName": "video.example",
    "ipAddressType": "IP_V4",
    "ipAddress": "10.60.0.2",
    "ttl": 30,
}
BODY = {name: value for name, value in TRAFFIC.items() if name != "trafficRuleId"}
PLANE = {
    "adapter": "nftables",
    "simulated": False,
    "capabilities": {
        "actions": ["DROP", "PASSTHROUGH", "FORWARD_DECAPSULATED", "DUPLICATE_DECAPSULATED"],
        "filters": ["srcAddress", "dstAddress", "srcPort", "dstPort", "protocol", "dSCP", "tC"],
        "interfaces": ["IP"],
        "filterTypes": ["FLOW", "PACKET"],
        "families": [4, 6],
        "counters": True,
        "mostRules": None,
        "notes": [],
    },
}


@pytest.fixture
def app(make_package: Any, deploy: Any) -> Any:
    """The deployment."""
    return deploy(package=make_package("3.0.0", appTrafficRule=[TRAFFIC], appDNSRule=[DNS]))


@pytest.fixture
def report() -> Callable[..., None]:
    """Let the node of a deployment report rules: `report(app, traffic=[...], dns=[...])`."""
    from mecm.edge.models import ReportedObject

    def tell(deployment: Any, *, traffic: Any = (), dns: Any = (), counts: Any = (), plane: Any = PLANE) -> None:
        instance = str(deployment.app_instance_id)
        status = {
            "apps": [{"appInstanceId": instance, "appName": "hello"}],
            "traffic_rules": [{"appInstanceId": instance, **each} for each in traffic],
            "dns_rules": [{"appInstanceId": instance, **each} for each in dns],
            "user_plane": plane,
        }
        counted = {"rules": [[instance, *each] for each in counts]}
        for key, told in (("state", status), ("counters", counted)):
            ReportedObject.objects.update_or_create(
                node=deployment.node, kind="mep", key=key, defaults={"status": told, "reported_at": timezone.now()}
            )

    return tell
