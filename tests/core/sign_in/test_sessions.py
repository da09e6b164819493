"""A session is a row: seen, ended, and out at its next request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import UpdateError
from django.test import Client
from django.utils import timezone

from core.accounts.access import SYSTEM, Actor
from core.audit.models import Entry
from core.errors import Missing
from core.sign_in import devices, services
from core.sign_in.models import Session
from core.sign_in.sessions import SessionStore, ref_of

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def signed_in(username: str, agent: str = FIREFOX) -> Client:
    browser = Client(headers={"user-agent": agent})
    answer = browser.post("/sign-in", {"username": username, "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 302
    return browser


def test_a_sign_in_is_a_row_that_says_where_from_and_how(admin: Any) -> None:
    browser = signed_in("admin")
    row = Session.objects.open().get()
    assert (row.user, row.device, row.address, row.how) == (admin, "Firefox on Linux", "192.0.2.7", "password")
    listed = browser.get("/api/v1/sessions").json()["results"]
    assert [(each["id"], each["current"]) for each in listed] == [(str(row.ref), True)]
    assert row.session_key not in browser.get("/profile/security").content.decode()
    assert Entry.objects.get(action="session.open").facts == {"address": "192.0.2.7", "how": "password"}


def test_a_revoked_session_is_out_at_its_next_request(admin: Any) -> None:
    lost, here = signed_in("admin"), signed_in("admin")
    ref = ref_of(lost.session.session_key)
    assert lost.get("/nodes").status_code == 200
    assert here.delete(f"/api/v1/sessions/{ref}").status_code == 204
    assert lost.get("/nodes").status_code == 302
    assert lost.get("/api/v1/nodes").status_code == 401
    assert here.get("/nodes").status_code == 200
    assert not Session.objects.filter(ref=ref).exists()
    assert Entry.objects.filter(action="session.revoke").count() == 1


def test_a_request_under_way_does_not_bring_a_revoked_session_back(admin: Any) -> None:
    signed_in("admin")
    row = Session.objects.get()
    under_way = SessionStore(row.session_key)
    under_way["organisation"] = "x"
    services.revoke(row, actor=SYSTEM)
    with pytest.raises(UpdateError):
        under_way.save()


def test_an_administrator_ends_members_sessions_and_a_stranger_nobodys(
    admin: Any, make_user: Any, organisation: Any, stranger: Any
) -> None:
    make_user("mate", organisation, "viewer")
    mate = signed_in("mate")
    ref = ref_of(mate.session.session_key)
    for browser, status in ((signed_in("stranger"), 404), (signed_in("admin"), 204)):
        assert browser.delete(f"/api/v1/sessions/{ref}").status_code == status
    assert mate.get("/nodes").status_code == 302
    entry = Entry.objects.get(action="session.revoke")
    assert (entry.organisation_id, entry.object_name) == (organisation.pk, "mate")
    # A member without the permission ends nobody's.
    mate = signed_in("mate")
    boss = Session.objects.filter(user=admin).get()
    assert mate.delete(f"/api/v1/sessions/{boss.ref}").status_code == 404


def test_a_new_password_ends_all_other_sessions(admin: Any) -> None:
    here, elsewhere = signed_in("admin"), signed_in("admin")
    facts = {"old": PASSWORD, "new": "a walk along the quay", "again": "a walk along the quay"}
    wrong = here.post("/profile/password", {**facts, "old": "guess"})
    assert (wrong.status_code, "not your password" in wrong.content.decode()) == (400, True)
    weak = here.post("/profile/password", {**facts, "new": "password12", "again": "password12"})
    assert 'id="id_new_error"' in weak.content.decode()
    assert elsewhere.get("/nodes").status_code == 200
    assert here.post("/profile/password", facts).status_code == 302
    assert elsewhere.get("/nodes").status_code == 302
    assert here.get("/nodes").status_code == 200
    assert Session.objects.open().count() == 1
    assert Entry.objects.filter(action="user.password").count() == 1


def test_being_seen_costs_one_write_in_five_minutes(admin: Any, django_assert_num_queries: Any) -> None:
    browser = signed_in("admin")
    browser.get("/api/v1/tokens")
    with django_assert_num_queries(3):  # session, user, tokens
        browser.get("/api/v1/tokens")
    long_ago = timezone.now() - timedelta(minutes=6)
    Session.objects.update(seen_at=long_ago)
    with django_assert_num_queries(4):
        browser.get("/api/v1/tokens")
    assert Session.objects.get().seen_at > long_ago
    with django_assert_num_queries(3):
        browser.get("/api/v1/tokens")


def test_all_others_are_ended_by_one_button_and_ended_rows_are_dropped(admin: Any) -> None:
    here, elsewhere = signed_in("admin"), signed_in("admin")
    here.post("/profile/sessions/end")
    assert (here.get("/nodes").status_code, elsewhere.get("/nodes").status_code) == (200, 302)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert services.drop_expired() >= 1
    assert not Session.objects.exists()
    with pytest.raises(Missing):
        services.managed(Actor(admin), ref_of("gone"))


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605 Version/26.0 Safari/604.1", "Safari on iPhone"),
        ("<script>alert(1)</script>", "Unknown device"),
        ("", "Unknown device"),
    ],
)  # fmt: skip
def test_a_device_is_told_in_words(agent: str, said: str) -> None:
    assert devices.words(agent) == said


def test_nobody_is_signed_in_by_a_row_of_a_visitor(client: Client) -> None:
    session = client.session
    session["x"] = 1
    session.save()
    assert not Session.objects.open().exists()
    assert get_user(client).is_anonymous  # type: ignore[arg-type]
