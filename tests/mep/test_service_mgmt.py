"""`mec_service_mgmt/v1`: every row of its table in MEC 011 V3.1.1, successes and listed errors."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mep.mp1 import catalogue
from mep.mp1.models import Service
from tests.mep.conftest import Mp1, service

API = "/mec_service_mgmt/v1"
OWN = f"{API}/applications/{{app}}"


def problem(answer: Any, status: int) -> dict[str, Any]:
    """Check that the answer is a ProblemDetails of this status (MEC 009 6.15: status and detail are mandatory)."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["detail"]
    return dict(body)


# --- registering -------------------------------------------------------------------------------------------------------


def test_a_registered_service_is_answered_with_its_id_its_location_and_the_defaults_of_the_standard(app: Mp1) -> None:
    answer = app.post(f"{OWN}/services", service())
    assert answer.status_code == 201
    body = answer.json()
    assert body["scopeOfLocality"] == "MEC_HOST"
    assert body["consumedLocalOnly"] is True
    assert body["isLocal"] is True
    assert len(body["serInstanceId"]) <= 32
    assert answer["Location"] == body["_links"]["self"]["href"]
    assert answer["Location"] == f"https://mep:8443{API}/applications/app-1/services/{body['serInstanceId']}"
    assert answer["ETag"].startswith('"')
    assert "livenessInterval" not in body
    assert "liveness" not in body["_links"]


def test_read_only_members_that_a_client_echoes_are_ignored(app: Mp1) -> None:
    body = app.register(serInstanceId="mine", _links={"self": {"href": "x"}}, isLocal=False)
    assert body["serInstanceId"] != "mine"
    assert body["isLocal"] is True


@pytest.mark.parametrize("content_type", ["application/json", "*/*", "text/plain", ""])
def test_any_content_type_will_do_when_the_body_is_json(app: Mp1, content_type: str) -> None:
    assert app.post(f"{OWN}/services", service(), Content_Type=content_type).status_code == 201


@pytest.mark.parametrize("missing", ["serName", "version", "state", "serializer", "transportInfo"])
def test_a_missing_mandatory_attribute_is_400_and_named(app: Mp1, missing: str) -> None:
    body = service()
    del body[missing]
    told = problem(app.post(f"{OWN}/services", body), 400)
    assert missing in told["detail"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("state", "SLEEPING"), ("serializer", "YAML"), ("scopeOfLocality", "MOON"), ("livenessInterval", -1), ("serName", ""),
        ("serName", 7), ("consumedLocalOnly", "yes"), ("serCategory", {"id": "x"}), ("transportInfo", []), ("version", "9" * 65),
    ],
)  # fmt: skip
def test_a_wrong_value_is_400_and_named(app: Mp1, member: str, value: Any) -> None:
    assert member in problem(app.post(f"{OWN}/services", service(**{member: value})), 400)["detail"]


@pytest.mark.parametrize(
    "endpoint",
    [
        {},
        {"uris": ["http://a"], "addresses": [{"host": "a", "port": 1}]},
        {"addresses": [{"host": "a"}]},
        {"uris": None},
    ],
)
def test_an_endpoint_has_exactly_one_form(app: Mp1, endpoint: dict[str, Any]) -> None:
    body = service()
    body["transportInfo"]["endpoint"] = endpoint
    problem(app.post(f"{OWN}/services", body), 400)


@pytest.mark.parametrize(
    "endpoint",
    [{"uris": ["http://a"], "addresses": None, "alternative": {}}, {"fqdn": ["a.example"]}, {"alternative": {"x": 1}}],
)
def test_empty_neighbours_of_the_endpoint_do_not_count(app: Mp1, endpoint: dict[str, Any]) -> None:
    body = service()
    body["transportInfo"]["endpoint"] = endpoint
    answer = app.post(f"{OWN}/services", body)
    assert answer.status_code == 201
    assert len(answer.json()["transportInfo"]["endpoint"]) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"serName": NaN}'])
def test_a_body_that_is_no_json_object_is_400(app: Mp1, body: bytes) -> None:
    problem(app.post(f"{OWN}/services", body), 400)


def test_a_transport_is_given_by_id_or_in_full_but_not_both(app: Mp1, tmp_path: Path, settings: Any) -> None:
    offered = {**service()["transportInfo"], "id": "bus", "name": "message bus", "type": "MB_TOPIC_BASED"}
    file = tmp_path / "transports.json"
    file.write_text(json.dumps([offered]))
    settings.TRANSPORTS = str(file)
    assert [each["id"] for each in app.get(f"{API}/transports").json()] == ["bus"]

    by_id = service(transportId="bus")
    problem(app.post(f"{OWN}/services", by_id), 400)
    del by_id["transportInfo"]
    answer = app.post(f"{OWN}/services", by_id)
    assert answer.json()["transportInfo"]["name"] == "message bus"
    assert "transportId" not in answer.json()
    problem(app.post(f"{OWN}/services", {**by_id, "transportId": "nobody's"}), 400)


def test_without_platform_transports_the_list_is_empty(app: Mp1) -> None:
    answer = app.get(f"{API}/transports")
    assert (answer.status_code, answer.json()) == (200, [])
    problem(app.get(f"{API}/transports?x=1"), 400)


def test_an_app_may_not_register_without_end(app: Mp1, settings: Any) -> None:
    settings.MAX_SERVICES_PER_APP = 2
    app.register()
    app.register()
    problem(app.post(f"{OWN}/services", service()), 403)


# --- reading -----------------------------------------------------------------------------------------------------------


def test_one_service_is_read_by_its_owner_and_by_any_app(app: Mp1, neighbour: Mp1) -> None:
    made = app.register()
    own = app.get(f"{OWN}/services/{made['serInstanceId']}")
    anyone = neighbour.get(f"{API}/services/{made['serInstanceId']}")
    assert own.json() == anyone.json() == made
    assert own["ETag"] == anyone["ETag"]
    assert app.get(f"{OWN}/services/{made['serInstanceId']}", If_None_Match=own["ETag"]).status_code == 304


def test_an_empty_list_is_200(app: Mp1) -> None:
    for path in (f"{API}/services", f"{OWN}/services"):
        answer = app.get(path)
        assert (answer.status_code, answer.json()) == (200, [])


def test_an_app_lists_only_its_own_services_under_its_own_path(app: Mp1, neighbour: Mp1) -> None:
    app.register(serName="a")
    neighbour.register(serName="b")
    assert [each["serName"] for each in app.get(f"{OWN}/services").json()] == ["a"]
    assert [each["serName"] for each in app.get(f"{API}/services").json()] == ["a", "b"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_service_is_404(app: Mp1, method: str) -> None:
    problem(app.send(method, f"{OWN}/services/none", service() if method == "PUT" else None), 404)
    problem(app.get(f"{API}/services/none"), 404)


def test_a_target_that_is_too_long_is_414(app: Mp1) -> None:
    for path in (f"{API}/services", f"{OWN}/services"):
        problem(app.get(f"{path}?ser_name={'x' * 9000}"), 414)


# --- changing ------------------------------------------------------------------------------------------------------------


def test_an_update_replaces_the_attributes_and_keeps_the_id(app: Mp1) -> None:
    made = app.register()
    answer = app.put(f"{OWN}/services/{made['serInstanceId']}", service(version="2.0", state="INACTIVE"))
    assert answer.status_code == 200
    assert answer.json() == {**made, "version": "2.0", "state": "INACTIVE"}


def test_an_update_of_an_older_version_is_412_and_changes_nothing(app: Mp1) -> None:
    made = app.register()
    path = f"{OWN}/services/{made['serInstanceId']}"
    old = app.get(path)["ETag"]
    new = app.put(path, service(version="2.0"), If_Match=old)
    assert new.status_code == 200
    assert new["ETag"] != old
    problem(app.put(path, service(version="3.0"), If_Match=old), 412)
    assert app.get(path).json()["version"] == "2.0"
    assert app.put(path, service(version="3.0"), If_Match="*").status_code == 200
    assert app.put(path, service(version="4.0")).status_code == 200


def test_an_update_with_wrong_values_is_400_and_changes_nothing(app: Mp1) -> None:
    made = app.register()
    problem(app.put(f"{OWN}/services/{made['serInstanceId']}", service(state="x")), 400)
    assert app.get(f"{OWN}/services/{made['serInstanceId']}").json() == made


def test_a_removed_service_is_gone(app: Mp1) -> None:
    made = app.register()
    answer = app.delete(f"{OWN}/services/{made['serInstanceId']}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(app.get(f"{OWN}/services/{made['serInstanceId']}"), 404)


# --- who may ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "services"), ("POST", "services"), ("GET", "services/{id}"), ("PUT", "services/{id}"),
        ("DELETE", "services/{id}"), ("GET", "services/{id}/liveness"), ("PATCH", "services/{id}/liveness"),
        ("GET", "subscriptions"), ("POST", "subscriptions"), ("GET", "subscriptions/{sub}"), ("DELETE", "subscriptions/{sub}"),
    ],
)  # fmt: skip
def test_resources_of_another_app_are_403_and_stay_as_they_are(
    app: Mp1, neighbour: Mp1, method: str, path: str
) -> None:
    made = app.register(livenessInterval=5)
    wish = {"subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": "http://10.1.2.3/x"}
    sub = app.post(f"{OWN}/subscriptions", wish).json()["_links"]["self"]["href"].rpartition("/")[2]
    path = path.format(id=made["serInstanceId"], sub=sub)
    body: Any = service(version="evil") if method == "PUT" or path == "services" else wish
    body = {"PATCH": {"state": "ACTIVE"}, "GET": None, "DELETE": None}.get(method, body)
    problem(neighbour.send(method, f"{API}/applications/app-1/{path}", body), 403)
    if "/" in path:  # under the own path they do not exist
        problem(neighbour.send(method, f"{OWN}/{path}", body), 404)
    assert app.get(f"{OWN}/services/{made['serInstanceId']}").json() == made
    assert len(app.get(f"{OWN}/subscriptions").json()["_links"]["subscriptions"]) == 1


@pytest.mark.parametrize("path", ["services", "transports", "services/x", "applications/app-1/services"])
def test_without_a_token_everything_is_401_with_a_challenge(app: Mp1, path: str) -> None:
    answer = app.get(f"{API}/{path}", Authorization="")
    problem(answer, 401)
    assert answer["WWW-Authenticate"] == 'Bearer realm="mp1"'


def test_methods_that_do_not_exist_are_405_and_unknown_resources_404(app: Mp1) -> None:
    answer = app.delete(f"{API}/services")
    problem(answer, 405)
    assert set(answer["Allow"].split(", ")) == {"GET", "HEAD"}
    problem(app.get(f"{API}/nothing"), 404)
    problem(app.get("/"), 404)


def test_the_api_is_found_under_the_prefix_of_older_platforms_and_links_lead_back_there(app: Mp1) -> None:
    made = app.register()
    found = app.get(f"/mep{API}/services").json()
    assert found[0]["_links"]["self"]["href"].startswith(f"https://mep:8443/mep{API}/applications/app-1/services/")
    assert app.get(f"{API}/services").json() == [made]


def test_links_never_repeat_a_host_that_is_not_ours(app: Mp1) -> None:
    app.register()
    for host, root in (
        ("evil.example", "https://mep:8443"),
        ("10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("[::1]:1", "https://[::1]:1"),
    ):
        found = app.get(f"{API}/services", Host=host).json()
        assert found[0]["_links"]["self"]["href"].startswith(f"{root}{API}/"), host


# --- liveness ------------------------------------------------------------------------------------------------------------


def beat(app: Mp1, made: dict[str, Any], body: Any = None) -> Any:
    return app.patch(made["_links"]["liveness"]["href"].removeprefix("https://mep:8443"), body or {"state": "ACTIVE"})


def test_a_service_with_an_interval_gets_a_liveness_link_and_its_heartbeat_is_answered(app: Mp1) -> None:
    made = app.register(livenessInterval=7)
    assert made["livenessInterval"] == 7
    before = time.time()
    answer = beat(app, made)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["state"], told["interval"]) == ("ACTIVE", 7)
    assert told["timeStamp"]["seconds"] + told["timeStamp"]["nanoSeconds"] / 1e9 == pytest.approx(before, abs=5)
    assert app.get(made["_links"]["liveness"]["href"].removeprefix("https://mep:8443")).json() == told


def test_zero_leaves_the_choice_to_the_platform_and_bounds_hold(app: Mp1, settings: Any) -> None:
    settings.LIVENESS_DEFAULT, settings.LIVENESS_MIN, settings.LIVENESS_MAX = 30, 5, 60
    assert [app.register(livenessInterval=asked)["livenessInterval"] for asked in (0, 1, 40, 9999)] == [30, 5, 40, 60]


def test_a_missed_heartbeat_suspends_and_the_next_one_lifts_it(app: Mp1) -> None:
    made = app.register(livenessInterval=5)
    now = time.time()
    assert catalogue.suspend_silent(now + 5.5) == 0
    assert catalogue.suspend_silent(now + 7) == 1
    assert catalogue.suspend_silent(now + 70) == 0
    assert app.get(f"{API}/services").json()[0]["state"] == "SUSPENDED"
    assert beat(app, made).json()["state"] == "ACTIVE"
    assert app.get(f"{API}/services").json()[0]["state"] == "ACTIVE"


def test_a_heartbeat_of_an_inactive_service_is_409(app: Mp1) -> None:
    made = app.register(livenessInterval=5)
    app.put(f"{OWN}/services/{made['serInstanceId']}", service(livenessInterval=5, state="INACTIVE"))
    problem(beat(app, made), 409)
    assert catalogue.suspend_silent(time.time() + 100) == 0


def test_a_heartbeat_says_active_and_nothing_else(app: Mp1) -> None:
    made = app.register(livenessInterval=5)
    for body in ({"state": "SUSPENDED"}, {"state": "INACTIVE"}, {"beat": 1}, []):
        problem(beat(app, made, body or [1]), 400)


def test_without_an_interval_there_is_no_liveness_resource(app: Mp1) -> None:
    made = app.register()
    path = f"{OWN}/services/{made['serInstanceId']}/liveness"
    problem(app.patch(path, {"state": "ACTIVE"}), 404)
    problem(app.get(path), 404)


def test_a_heartbeat_that_changes_nothing_moves_no_version(app: Mp1) -> None:
    made = app.register(livenessInterval=5)
    tag = app.get(f"{OWN}/services/{made['serInstanceId']}")["ETag"]
    beat(app, made)
    assert app.get(f"{OWN}/services/{made['serInstanceId']}")["ETag"] == tag


def test_time_in_which_the_platform_was_away_does_not_count_as_silence(app: Mp1) -> None:
    app.register(livenessInterval=5)
    much_later = time.time() + 3600
    catalogue.forgive_absence(much_later)
    assert catalogue.suspend_silent(much_later + 5) == 0
    assert catalogue.suspend_silent(much_later + 7) == 1


def test_a_service_that_comes_back_from_inactive_has_a_full_interval(app: Mp1) -> None:
    made = app.register(livenessInterval=5)
    Service.objects.update(state="INACTIVE", due_at=None, beat_at=1.0)
    app.put(f"{OWN}/services/{made['serInstanceId']}", service(livenessInterval=5))
    assert catalogue.suspend_silent(time.time() + 1) == 0
