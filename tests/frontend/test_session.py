"""Signing in and out, and choosing the organisation that the lists are about."""

from __future__ import annotations

from typing import Any

import pytest

PASSWORD = "correct horse battery"


def test_the_right_password_opens_the_door(client: Any, admin: Any) -> None:
    response = client.post("/sign-in", {"username": "admin", "password": PASSWORD, "next": "/nodes"})
    assert (response.status_code, response.headers["Location"]) == (302, "/nodes")
    assert client.get("/nodes").status_code == 200


def test_a_wrong_password_is_told_beside_the_form_and_what_was_typed_stays(client: Any, admin: Any) -> None:
    response = client.post("/sign-in", {"username": "admin", "password": "wrong"})
    text = response.content.decode()
    assert response.status_code == 401
    assert "do not fit together" in text
    assert 'value="admin"' in text
    assert "wrong" not in text.replace("wrong-", "")


def test_after_too_many_tries_there_is_a_pause(client: Any, admin: Any, settings: Any) -> None:
    for _ in range(settings.LOGIN_LIMIT):
        client.post("/sign-in", {"username": "admin", "password": "wrong"})
    response = client.post("/sign-in", {"username": "admin", "password": PASSWORD})
    assert response.status_code == 429
    assert "Too many failed sign-ins" in response.content.decode()


@pytest.mark.parametrize("field", ["username", "password"])
def test_an_empty_field_is_told_beside_it(client: Any, admin: Any, field: str) -> None:
    response = client.post("/sign-in", {"username": "admin", "password": PASSWORD, field: ""})
    assert response.status_code == 400
    assert f'id="id_{field}_error"' in response.content.decode()


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "nodes", ""]
)
def test_after_signing_in_nobody_is_led_away(client: Any, admin: Any, target: str) -> None:
    response = client.post("/sign-in", {"username": "admin", "password": PASSWORD, "next": target})
    assert response.headers["Location"] == "/"


def test_signing_out_closes_the_session(pages: Any) -> None:
    assert pages.post("/sign-out").status_code == 302
    assert pages.get("/nodes").status_code == 302


def test_signing_out_needs_more_than_a_link(pages: Any) -> None:
    assert pages.get("/sign-out").status_code == 405


@pytest.fixture
def second(admin: Any) -> Any:
    """A second organisation in which the administrator is a viewer."""
    from core.accounts.models import Membership, Organisation

    made = Organisation.objects.create(slug="second", name="Second Operator")
    Membership.objects.create(user=admin, organisation=made, role="viewer")
    return made


def test_who_belongs_to_several_organisations_chooses_one(pages: Any, second: Any) -> None:
    assert "Upload a package" in pages.get("/").content.decode()
    response = pages.post("/organisation", {"organisation": "second", "next": "/nodes"})
    assert response.headers["Location"] == "/nodes"
    # What may be done follows the choice: there they are a viewer.
    assert "Upload a package" not in pages.get("/").content.decode()


def test_an_organisation_of_others_cannot_be_chosen(pages: Any, second: Any, stranger_organisation: Any) -> None:
    assert pages.post("/organisation", {"organisation": "other"}).status_code == 404


def test_a_new_package_belongs_to_the_chosen_organisation(pages: Any, second: Any, organisation: Any) -> None:
    assert f'name="organisation" value="{organisation.slug}"' in pages.get("/packages/upload").content.decode()
    pages.post("/organisation", {"organisation": "second"})
    assert pages.get("/packages/upload").status_code == 403
