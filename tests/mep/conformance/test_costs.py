"""What the main paths cost in queries, so that nobody makes them dearer unnoticed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mep.conformance.world import INFO, MGMT, SUPPORT, World
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, service

OWN, OURS = f"{MGMT}/applications/{{app}}", f"{SUPPORT}/applications/{{app}}"
READS = {
    f"{MGMT}/services": 2, f"{MGMT}/services?ser_name=hello": 2, f"{MGMT}/services/{{service}}": 2, f"{MGMT}/transports": 1,
    f"{OWN}/services": 2, f"{OWN}/services/{{service}}": 2, f"{OWN}/services/{{service}}/liveness": 2,
    f"{OWN}/subscriptions": 2, f"{OWN}/subscriptions/{{availability}}": 2, f"{OURS}/traffic_rules": 2,
    f"{OURS}/traffic_rules/t1": 2, f"{OURS}/dns_rules": 2, f"{SUPPORT}/registrations/{{app}}": 1,
    f"{SUPPORT}/timing/current_time": 1, f"{SUPPORT}/timing/timing_caps": 1,
}  # fmt: skip


@pytest.mark.parametrize(("path", "queries"), READS.items(), ids=list(READS))
def test_a_read_asks_who_it_is_and_what_is_wanted(
    world: World, path: str, queries: int, django_assert_num_queries: Any
) -> None:
    world.app.get(f"{MGMT}/services")  # the keys are known from now on
    for at in range(5):
        world.app.register(serName=f"n{at}")
    with django_assert_num_queries(queries):
        assert world.app.get(world.path(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "queries"),
    [
        ("POST", f"{OWN}/services", service(), 15),
        ("PUT", f"{OWN}/services/{{service}}", service(version="2", livenessInterval=60), 15),
        ("DELETE", f"{OWN}/services/{{service}}", None, 16),
        ("PATCH", f"{OWN}/services/{{service}}/liveness", {"state": "ACTIVE"}, 7),
        ("PUT", f"{OURS}/traffic_rules/t1", {**TRAFFIC_RULE, "state": "INACTIVE"}, 8),
        ("PUT", f"{OURS}/dns_rules/d1", {**DNS_RULE, "state": "INACTIVE"}, 8),
        ("PUT", f"{SUPPORT}/registrations/{{app}}", INFO, 7),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_costs_no_more_than_it_did(
    world: World, method: str, path: str, body: Any, queries: int, django_assert_max_num_queries: Any
) -> None:
    world.app.get(f"{MGMT}/services")
    with django_assert_max_num_queries(queries):
        assert world.app.send(method, world.path(path), body).status_code in (200, 201, 204)
