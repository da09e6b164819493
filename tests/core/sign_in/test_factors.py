"""Second factors: asked for at the door, taken once, limited, and given back by people who may."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client

from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Role
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Throttled
from core.sign_in import factors, policy, totp
from core.sign_in.models import Passkey, RecoveryCode, Session, Totp

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def enrolled(user: Any) -> tuple[str, list[str]]:
    """Give somebody an application, as if it had been set up a while ago; returns its secret and the recovery codes."""
    secret = totp.new_secret()
    codes = factors.enrol(user, secret=secret, code=now(secret))
    Totp.objects.update(last_step=0)
    return secret, codes


def now(secret: str, later: int = 0) -> str:
    return totp.code_at(secret, int(time.time() // 30) + later)


def half_in(username: str = "admin", then: str = "/nodes") -> Client:
    browser = Client()
    answer = browser.post("/sign-in", {"username": username, "password": PASSWORD, "next": then})
    assert answer.headers["Location"] == "/sign-in/second"
    return browser


def test_codes_are_those_of_the_standard() -> None:
    # RFC 6238, appendix B: the last six of its eight digits.
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    moments = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {at: totp.code_at(secret, at // 30) for at in moments} == moments
    assert totp.step_of(secret, "287082", 59) == 1
    assert totp.step_of(secret, "287082", 59 + 61) is None


def test_the_password_alone_opens_nothing_and_the_code_leads_where_one_wanted(admin: Any) -> None:
    secret, codes = enrolled(admin)
    assert len(codes) == 10
    browser = half_in()
    assert browser.get("/nodes").status_code == 302
    assert browser.get("/api/v1/nodes").status_code == 401
    assert browser.get("/profile/security").status_code == 302
    wrong = browser.post("/sign-in/second", {"code": "000000"})
    assert (wrong.status_code, "That code is wrong" in wrong.content.decode()) == (400, True)
    right = browser.post("/sign-in/second", {"code": f" {now(secret)[:3]} {now(secret)[3:]} "})
    assert (right.status_code, right.headers["Location"]) == (302, "/nodes")
    row = Session.objects.open().get()
    assert (row.how, row.strong, browser.get("/nodes").status_code) == ("password + code", True, 200)
    # The same code again is somebody who looked over the shoulder.
    assert half_in().post("/sign-in/second", {"code": now(secret)}).status_code == 400


def test_a_recovery_code_works_once_and_misses_count_from_everywhere(admin: Any, settings: Any) -> None:
    _secret, codes = enrolled(admin)
    assert half_in().post("/sign-in/second", {"code": codes[0].upper()}).status_code == 302
    assert half_in().post("/sign-in/second", {"code": codes[0]}).status_code == 400
    assert RecoveryCode.objects.count() == 9
    for number in range(settings.LOGIN_LIMIT - 1):
        half_in().post("/sign-in/second", {"code": "1"}, REMOTE_ADDR=f"192.0.2.{number}")
    assert half_in().post("/sign-in/second", {"code": codes[1]}, REMOTE_ADDR="192.0.2.99").status_code == 429
    with pytest.raises(Throttled):
        factors.verify(admin, codes[1], address="192.0.2.98")


def test_the_api_asks_for_the_code_as_well(admin: Any) -> None:
    secret, _codes = enrolled(admin)
    client, facts = Client(), {"username": "admin", "password": PASSWORD}
    without = client.post("/api/v1/session", facts, content_type="application/json")
    assert (without.status_code, without.json()["field"]) == (401, "code")
    assert client.get("/api/v1/session").status_code == 401
    wrong = client.post("/api/v1/session", {**facts, "code": "1"}, content_type="application/json")
    assert (wrong.status_code, wrong.json()["field"]) == (400, "code")
    assert client.get("/api/v1/session").status_code == 401
    right = client.post("/api/v1/session", {**facts, "code": now(secret)}, content_type="application/json")
    assert right.status_code == 200
    assert client.get("/api/v1/session").status_code == 200


def test_an_application_is_set_up_on_the_page_and_removed_there(admin: Any) -> None:
    browser = Client()
    browser.post("/sign-in", {"username": "admin", "password": PASSWORD})
    page = browser.get("/profile/application")
    secret = page.context["secret"]
    assert secret in page.content.decode()
    assert "data:image/svg+xml" in page.content.decode()
    wrong = browser.post("/profile/application", {"code": "12"})
    assert wrong.status_code == 400
    assert wrong.context["secret"] == secret
    assert 'id="id_code_error"' in wrong.content.decode()
    done = browser.post("/profile/application", {"code": now(secret)})
    assert len(done.context["codes"]) == 10
    assert secret.encode() not in bytes(Totp.objects.get().sealed_secret)
    assert browser.get("/profile/application").status_code == 302
    browser.post("/profile/application/remove")
    assert not Totp.objects.exists()
    assert not RecoveryCode.objects.exists()
    assert [each.action for each in Entry.objects.filter(action__startswith="factor").order_by("at")] == [
        "factor.add", "factor.recovery-codes", "factor.remove",
    ]  # fmt: skip


def test_a_policy_ends_weak_sessions_and_asks_for_enrolment_at_the_door(
    admin: Any, actor: Any, organisation: Any, make_user: Any
) -> None:
    mate = make_user("mate", organisation, "operator")
    viewer = make_user("watcher", organisation, "viewer")
    browsers = {name: Client() for name in ("mate", "watcher")}
    for name, browser in browsers.items():
        browser.post("/sign-in", {"username": name, "password": PASSWORD})
    assert policy.set_roles(organisation, ["operator"], actor=actor) == 1
    assert [browsers[name].get("/nodes").status_code for name in ("mate", "watcher")] == [302, 200]
    answer = browsers["mate"].post("/sign-in", {"username": "mate", "password": PASSWORD})
    assert answer.headers["Location"] == "/sign-in/enrol"
    assert browsers["mate"].get("/nodes").status_code == 302
    secret = browsers["mate"].get("/sign-in/enrol").context["secret"]
    done = browsers["mate"].post("/sign-in/enrol", {"code": now(secret)})
    assert len(done.context["codes"]) == 10
    assert browsers["mate"].get("/nodes").status_code == 200
    assert factors.has(mate)
    # A role that wants more, given to somebody who is in, ends what they have open.
    accounts.grant(viewer, organisation, Role.OPERATOR, actor=actor)
    assert browsers["watcher"].get("/nodes").status_code == 302
    refused = Client().post(
        "/api/v1/session", {"username": "watcher", "password": PASSWORD}, content_type="application/json"
    )
    assert refused.status_code == 403
    with pytest.raises(Denied):
        policy.set_roles(organisation, [], actor=Actor(mate))
    with pytest.raises(Invalid):
        policy.set_roles(organisation, ["king"], actor=actor)


def test_an_administrator_helps_members_of_their_own_organisations_only(
    admin: Any, actor: Any, organisation: Any, make_user: Any, stranger: Any, stranger_organisation: Any
) -> None:
    mate = make_user("mate", organisation, "operator")
    enrolled(mate)
    Passkey.objects.create(user=mate, name="Phone", credential_id="AA", public_key=b"")
    for helper, kind in ((stranger, Missing), (mate, Denied)):
        with pytest.raises(kind):
            factors.recover(mate, actor=Actor(helper), reason="lost the phone")
    with pytest.raises(Invalid):
        factors.recover(mate, actor=actor, reason=" ")
    shared = make_user("shared", organisation, "viewer")
    accounts.grant(shared, stranger_organisation, Role.VIEWER, actor=SYSTEM)
    with pytest.raises(Denied, match="organisation that you do not administer"):
        factors.recover(shared, actor=actor, reason="lost the phone")
    browser = Client()
    browser.force_login(admin)
    assert browser.post(f"/members/{mate.pk}/recover", {"reason": "called back"}).status_code == 302
    assert not factors.has(mate)
    assert not RecoveryCode.objects.filter(user=mate).exists()
    entry = Entry.objects.get(action="factor.recover")
    assert (entry.actor, entry.organisation_id, entry.facts["reason"]) == ("admin", organisation.pk, "called back")


def test_nobody_replaces_an_application_unseen(admin: Any) -> None:
    enrolled(admin)
    other = totp.new_secret()
    with pytest.raises(Conflict):
        factors.enrol(admin, secret=other, code=now(other))
