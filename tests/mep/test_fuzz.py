"""Whatever an app sends, it gets an answer of the API: never a 500, and always words for a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mep.mp1.http import DEEPEST, deeper_than
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, Mp1, service
from tests.mep.test_service_mgmt import problem

MGMT, SUPPORT = "/mec_service_mgmt/v1/applications/{app}", "/mec_app_support/v1/applications/{app}"
FULL_SERVICE = service(
    serCategory={"href": "x", "id": "c", "name": "n", "version": "1"},
    scopeOfLocality="ZONE",
    consumedLocalOnly=False,
    livenessInterval=5,
)
TARGETS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", f"{MGMT}/services", FULL_SERVICE),
    ("PUT", f"{MGMT}/services/{{id}}", FULL_SERVICE),
    ("PATCH", f"{MGMT}/services/{{id}}/liveness", {"state": "ACTIVE"}),
    (
        "POST",
        f"{MGMT}/subscriptions",
        {
            "subscriptionType": "SerAvailabilityNotificationSubscription",
            "callbackReference": "http://10.1.2.3/x",
            "filteringCriteria": {"serNames": ["a"], "states": ["ACTIVE"], "isLocal": True},
        },
    ),
    ("PUT", f"{SUPPORT}/traffic_rules/t1", {**TRAFFIC_RULE, "state": "ACTIVE"}),
    ("PUT", f"{SUPPORT}/dns_rules/d1", {**DNS_RULE, "state": "ACTIVE"}),
    ("POST", f"{SUPPORT}/confirm_ready", {"indication": "READY"}),
    ("POST", f"{SUPPORT}/confirm_termination", {"operationAction": "TERMINATING"}),
    (
        "POST",
        f"{SUPPORT}/subscriptions",
        {
            "subscriptionType": "AppTerminationNotificationSubscription",
            "callbackReference": "http://10.1.2.3/x",
            "appInstanceId": "app-1",
        },
    ),
    ("POST", "/mec_app_support/v1/registrations", {"appName": "x", "endpoint": {"uris": ["http://10.1.2.3"]}}),
    ("PUT", "/mec_app_support/v1/registrations/{app}", {"appName": "x", "endpoint": {"uris": ["http://10.1.2.3"]}}),
]
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**31, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "\x00", "\u202e", "10.0.0.0/99", "0-0", "::1%eth0", "http://[", "x" * 5000, "ACTIVE", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every member at every depth."""
    found = [path] if path else []
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inner:
        found += places(value, (*path, key))
    return found


def changed(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of the body with another value at one place."""
    copy = json.loads(json.dumps(body))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


@pytest.mark.parametrize(("method", "path", "body"), TARGETS, ids=[f"{each[0]} {each[1]}" for each in TARGETS])
def test_one_odd_value_anywhere_is_answered(app: Mp1, method: str, path: str, body: dict[str, Any]) -> None:
    path = path.replace("{id}", app.register(livenessInterval=5)["serInstanceId"])
    if path.endswith("registrations/{app}"):
        assert app.post("/mec_app_support/v1/registrations", body).status_code == 201

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(odd, st.tuples(st.sampled_from(places(body)), odd).map(lambda pair: changed(body, *pair))))
    def sent(wild: Any) -> None:
        answer = app.send(method, path, wild)
        if answer.status_code >= 400:
            assert answer.status_code in (400, 403, 409), answer.content
            problem(answer, answer.status_code)

    sent()


@pytest.mark.parametrize(
    "body", [b'"\\ud800"', b'{"a": 1e999}', b"[" * 5000, b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"1" * 5000]
)
def test_bytes_that_are_hardly_json_are_400(app: Mp1, body: bytes) -> None:
    assert app.post("/mec_app_support/v1/registrations", TARGETS[-1][2]).status_code == 201
    for method, path, _ in TARGETS:
        problem(app.send(method, path.replace("{id}", "x"), body), 400)


def test_free_members_may_be_nested_but_not_without_end(app: Mp1) -> None:
    def nested(levels: int) -> dict[str, Any]:
        inner: Any = "end"
        for _ in range(levels):
            inner = {"a": inner}
        body = service()
        body["transportInfo"]["implSpecificInfo"] = inner
        return body

    assert app.post(f"{MGMT}/services", nested(20)).status_code == 201
    assert "nested" in problem(app.post(f"{MGMT}/services", nested(60)), 400)["detail"]


@given(st.integers(0, 80))
def test_depth_is_counted_exactly(levels: int) -> None:
    body: Any = 1
    for level in range(levels):
        body = [body] if level % 2 else {"a": body, "b": 1}
    assert deeper_than(DEEPEST, body) == (levels > DEEPEST)


@pytest.mark.parametrize("path", ["%00", "%ff", "%2e%2e", "a%2Fb", "ü", "x" * 300, "%0d%0aX: y"])
def test_odd_paths_are_answered(app: Mp1, path: str) -> None:
    for prefix in (f"{MGMT}/services", "/mec_service_mgmt/v1/services", f"{SUPPORT}/dns_rules"):
        problem(app.get(f"{prefix}/{path}"), 404)
    problem(app.get(f"/mec_service_mgmt/v1/applications/{path}/services"), 404 if path == "a%2Fb" else 403)
