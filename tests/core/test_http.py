"""What leaves the API is problem+json, and the API describes itself."""

from __future__ import annotations

from typing import Any

import pytest

from mecm.settings import database

pytestmark = pytest.mark.django_db


def test_an_unknown_path_of_the_api_is_a_problem(api: Any) -> None:
    answer = api.get("/api/v1/no/such/thing")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_body_that_is_no_json_is_the_callers_fault(api: Any) -> None:
    answer = api.post("/api/v1/tokens", "{broken", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_json_that_is_nested_too_deeply_is_the_callers_fault(api: Any) -> None:
    answer = api.post("/api/v1/tokens", "[" * 100_000, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_wrong_field_is_named(api: Any) -> None:
    answer = api.post("/api/v1/tokens", {"name": "x" * 200}, format="json")
    assert answer.json()["errors"][0]["field"] == "name"


def test_a_method_that_does_not_exist_is_405(api: Any) -> None:
    assert api.put("/api/v1/tokens", {}, format="json").status_code == 405


def test_an_organisation_one_is_not_in_is_missing(api: Any, stranger_organisation: Any) -> None:
    answer = api.post("/api/v1/tokens", {"name": "x", "organisation": "other"}, format="json")
    assert answer.status_code == 404


def test_the_schema_is_openapi_3_1_and_names_every_topic(client: Any) -> None:
    answer = client.get("/api/v1/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")
    schema = answer.json()
    assert schema["openapi"].startswith("3.1")
    topics = {path.split("/")[3] for path in schema["paths"]}
    assert {"packages", "nodes", "deployments", "operations", "session", "tokens", "audit"} <= topics


def test_pages_beyond_the_last_are_missing_and_sizes_are_bounded(api: Any) -> None:
    assert api.get("/api/v1/operations?page=99").status_code == 404
    assert api.get("/api/v1/operations?page_size=100000").status_code == 200


@pytest.mark.parametrize("url", ["mysql://x/y", "what", "http://x"])
def test_a_database_that_we_do_not_speak_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="postgres://"):
        database(url)


def test_a_postgres_url_is_taken_apart() -> None:
    found = database("postgres://me:p%40ss@127.0.0.1:5433/breakwater?sslmode=disable")
    assert (found["USER"], found["PASSWORD"], found["PORT"], found["NAME"]) == ("me", "p@ss", "5433", "breakwater")
    assert found["OPTIONS"] == {"sslmode": "disable"}


def test_nobody_keeps_what_somebody_was_told(api: Any, client: Any, admin: Any) -> None:
    client.force_login(admin)
    told = [client.get("/nodes"), client.get("/api/v1/audit"), api.get("/api/v1/tokens")]
    token = api.post("/api/v1/tokens", {"name": "ci"}, format="json").json()["token"]
    client.logout()
    told.append(client.get("/api/v1/nodes", HTTP_AUTHORIZATION=f"Bearer {token}"))
    assert [(each.status_code, each["Cache-Control"]) for each in told] == [(200, "no-store")] * 4


@pytest.mark.parametrize("asked", ["operations?kind", "operations?target", "nodes?engine", "nodes?link"])
def test_a_filter_that_no_database_takes_is_the_callers_fault(api: Any, asked: str) -> None:
    answer = api.get(f"/api/v1/{asked}=%00")
    assert (answer.status_code, answer.json()["field"]) == (400, asked.partition("?")[2])
