"""Organisations, roles, tokens and signing in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from core.accounts import access, services
from core.accounts.access import PERMISSIONS, Actor
from core.accounts.models import ApiToken, LoginAttempt, Membership, Role
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def sign_in(username: str, password: str = PASSWORD, address: str = "192.0.2.1") -> Any:
    return APIClient().post(
        "/api/v1/session", {"username": username, "password": password}, format="json", REMOTE_ADDR=address
    )


def test_signing_in_opens_a_session(admin: Any) -> None:
    client = APIClient()
    answer = client.post("/api/v1/session", {"username": "admin", "password": PASSWORD}, format="json")
    assert answer.json()["organisations"][0]["roles"] == ["admin"]
    assert client.get("/api/v1/session").json()["username"] == "admin"
    client.delete("/api/v1/session", HTTP_X_CSRFTOKEN=answer.json()["csrf"])
    assert client.get("/api/v1/session").status_code == 401


def test_a_wrong_password_and_an_unknown_name_sound_the_same(admin: Any) -> None:
    wrong, unknown = sign_in("admin", "no"), sign_in("nobody", "no")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["detail"] == unknown.json()["detail"]


def test_guessing_a_password_is_stopped_and_the_right_one_waits_too(admin: Any, settings: Any) -> None:
    for _ in range(settings.LOGIN_LIMIT):
        assert sign_in("admin", "guess").status_code == 401
    refused = sign_in("admin")
    assert (refused.status_code, refused["Retry-After"]) == (429, str(settings.LOGIN_WINDOW))
    assert sign_in("admin", address="192.0.2.2").status_code == 200


def test_guesses_that_come_at_once_are_counted_before_they_are_looked_at(
    admin: Any, settings: Any, monkeypatch: Any
) -> None:
    looked = []

    def authenticate(request: Any, **_said: str) -> None:
        # Hashing takes a while; meanwhile the next guess is here.
        looked.append(1)
        if len(looked) < 3 * settings.LOGIN_LIMIT:
            sign_in("admin", "guess")

    monkeypatch.setattr(services, "authenticate", authenticate)
    assert sign_in("admin", "guess").status_code == 401
    assert len(looked) == settings.LOGIN_LIMIT


def test_the_pause_after_guessing_ends(admin: Any, settings: Any) -> None:
    for _ in range(settings.LOGIN_LIMIT):
        sign_in("admin", "guess")
    LoginAttempt.objects.update(at=timezone.now() - timedelta(seconds=settings.LOGIN_WINDOW + 1))
    assert sign_in("admin").status_code == 200


def test_no_password_reaches_the_audit_trail(admin: Any) -> None:
    sign_in("admin", "hunter2hunter2")
    assert "hunter2" not in str(list(Entry.objects.values()))


def test_a_token_is_shown_once_and_kept_as_a_hash(api: Any) -> None:
    made = api.post("/api/v1/tokens", {"name": "ci", "scopes": ["packages.read"]}, format="json").json()
    row = ApiToken.objects.get(pk=made["id"])
    assert made["token"] not in str(vars(row))
    assert "token" not in api.get("/api/v1/tokens").json()["results"][0]


def bearer(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_a_token_opens_what_its_scopes_name(api: Any, organisation: Any) -> None:
    token = api.post("/api/v1/tokens", {"name": "ci", "scopes": ["operations.read"]}, format="json").json()["token"]
    assert bearer(token).get("/api/v1/operations").status_code == 200
    assert bearer(token).get("/api/v1/audit").json()["results"] == []


def test_a_revoked_an_ended_and_an_invented_token_open_nothing(api: Any) -> None:
    made = api.post("/api/v1/tokens", {"name": "ci"}, format="json").json()
    assert bearer(made["token"]).get("/api/v1/operations").status_code == 200
    api.delete(f"/api/v1/tokens/{made['id']}")
    assert bearer(made["token"]).get("/api/v1/operations").status_code == 401
    ended = api.post("/api/v1/tokens", {"name": "soon"}, format="json").json()
    ApiToken.objects.filter(pk=ended["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert bearer(ended["token"]).get("/api/v1/operations").status_code == 401
    answer = bearer("bwk_invented").get("/api/v1/operations")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="breakwater"')


def test_a_token_cannot_make_a_stronger_token(admin: Any) -> None:
    weak, _ = services.issue_token(admin, name="weak", scopes=["packages.read"], actor=Actor(admin))
    with pytest.raises(Denied, match=r"accounts\.manage"):
        services.issue_token(admin, name="child", scopes=["accounts.manage"], actor=Actor(admin, weak))
    child, _ = services.issue_token(admin, name="child", actor=Actor(admin, weak))
    assert child.scopes == ["packages.read"]


def test_a_token_ends_with_the_one_that_made_it_and_is_revoked_with_it(admin: Any, actor: Any) -> None:
    soon = timezone.now() + timedelta(hours=1)
    found, secret = services.issue_token(admin, name="found", expires_at=soon, actor=actor)
    child = bearer(secret).post("/api/v1/tokens", {"name": "child"}, format="json").json()
    assert child["expires_at"] == found.expires_at.isoformat().replace("+00:00", "Z")
    later = {"name": "later", "expires_at": (soon + timedelta(days=900)).isoformat()}
    assert bearer(secret).post("/api/v1/tokens", later, format="json").json()["field"] == "expires_at"
    bearer(child["token"]).post("/api/v1/tokens", {"name": "grandchild"}, format="json")
    services.revoke_token(found, actor=actor)
    assert bearer(child["token"]).get("/api/v1/tokens").status_code == 401
    assert not ApiToken.objects.alive().exists()


def test_a_token_for_one_thing_does_nothing_else_in_its_owners_account(
    admin: Any, actor: Any, organisation: Any
) -> None:
    whole, _ = services.issue_token(admin, name="whole", actor=actor)
    other, _ = services.issue_token(admin, name="other", scopes=["packages.read", "nodes.read"], actor=actor)
    made, secret = services.issue_token(
        admin, name="reader", scopes=["packages.read"], organisation=organisation, actor=actor
    )
    reader = bearer(secret)
    assert reader.post("/api/v1/organisations", {"slug": "mine", "name": "Mine"}, format="json").status_code == 403
    assert reader.get("/api/v1/sessions").status_code == 403
    assert [reader.delete(f"/api/v1/tokens/{each.pk}").status_code for each in (whole, other)] == [403, 403]
    assert [each["name"] for each in reader.get("/api/v1/tokens").json()["results"]] == ["reader"]
    assert reader.delete(f"/api/v1/tokens/{made.pk}").status_code == 204


def test_nobody_becomes_a_member_unasked(
    api: Any, organisation: Any, stranger: Any, make_user: Any, stranger_organisation: Any
) -> None:
    url = f"/api/v1/organisations/{organisation.pk}/members"
    answers = [
        api.post(url, {"username": name, "role": "viewer"}, format="json") for name in (stranger.username, "nobody")
    ]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    mate = make_user("mate", organisation, "viewer")
    assert api.post(url, {"username": mate.username, "role": "operator"}, format="json").status_code == 201


def test_another_site_cannot_sign_its_visitors_in_as_somebody_else(admin: Any) -> None:
    # What a form of any site can send; the cookie of the answer would be taken.
    form = f"username=admin&password={PASSWORD}"
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        answer = APIClient().post("/api/v1/session", form, content_type=kind)
        assert answer.status_code == 415
        assert not answer.cookies


def test_unknown_scopes_are_named(api: Any) -> None:
    answer = api.post("/api/v1/tokens", {"name": "ci", "scopes": ["packages.eat"]}, format="json")
    assert (answer.status_code, answer.json()["field"]) == (400, "scopes")


def test_a_stranger_learns_nothing_and_a_weak_member_learns_why(
    organisation: Any, stranger: Any, make_user: Any
) -> None:
    with pytest.raises(Missing):
        Actor(stranger).require("nodes.write", organisation)
    with pytest.raises(Denied):
        Actor(make_user("eye", organisation, "viewer")).require("nodes.write", organisation)


@pytest.mark.parametrize("role", Role.values)
def test_each_role_may_exactly_what_the_table_says(role: str, organisation: Any, make_user: Any) -> None:
    actor = Actor(make_user("somebody", organisation, role))
    assert {name for name in access.ALL_PERMISSIONS if actor.may(name, organisation.pk)} == PERMISSIONS[role]


def test_roles_in_one_organisation_are_none_in_another(
    organisation: Any, stranger_organisation: Any, make_user: Any
) -> None:
    user = make_user("both", organisation, "admin")
    Membership.objects.create(user=user, organisation=stranger_organisation, role="viewer")
    assert Actor(user).organisations("nodes.write") == {organisation.pk}


def test_an_organisation_keeps_its_last_administrator(admin: Any, organisation: Any, actor: Any) -> None:
    with pytest.raises(Conflict):
        services.withdraw_role(Membership.objects.get(user=admin), actor=actor)


def test_a_taken_slug_and_a_bad_one_are_told_apart(api: Any) -> None:
    taken = api.post("/api/v1/organisations", {"slug": "acme", "name": "Again"}, format="json")
    bad = api.post("/api/v1/organisations", {"slug": "-Bad-", "name": "Bad"}, format="json")
    assert (taken.status_code, bad.status_code) == (409, 400)


def test_members_of_another_organisation_are_missing(stranger_api: Any, organisation: Any) -> None:
    assert stranger_api.get(f"/api/v1/organisations/{organisation.pk}/members").status_code == 404


def test_a_weak_password_is_refused(actor: Any) -> None:
    with pytest.raises(Invalid, match="too short"):
        services.create_user(username="new", password="short", actor=actor)
