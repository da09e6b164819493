"""Invitations: a link gives one person one role, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from core.accounts import services as accounts
from core.accounts.access import Actor
from core.accounts.models import ApiToken, Membership, User
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Throttled
from core.sign_in import invitations
from core.sign_in.models import Invitation

pytestmark = pytest.mark.django_db


def secret_of(made: invitations.Made) -> str:
    return made.link.rpartition("/")[2]


def test_the_invited_makes_an_account_by_the_link_once(actor: Any, organisation: Any, admin: Any) -> None:
    boss, browser = Client(), Client()
    boss.force_login(admin)
    page = boss.post("/members", {"email": "anna@acme.example", "role": "operator"})
    made = page.context["made"]
    assert made.link in page.content.decode()
    assert made.sent
    assert mail.outbox[0].to == ["anna@acme.example"]
    assert made.link in mail.outbox[0].body
    assert secret_of(made) not in Invitation.objects.get().sha256
    assert made.link not in boss.get("/members").content.decode()
    path = "/invitations/" + secret_of(made)
    assert "Acme Edge" in browser.get(path).content.decode()
    weak = browser.post(path, {"username": "anna", "password": "short"})
    assert weak.status_code == 400
    assert 'id="id_password_error"' in weak.content.decode()
    assert 'value="anna"' in weak.content.decode()
    assert not User.objects.filter(username="anna").exists()
    assert Invitation.objects.waiting().exists()
    taken = browser.post(path, {"username": "admin", "password": "a walk along the quay"})
    assert taken.status_code == 409
    assert Invitation.objects.waiting().exists()
    assert browser.post(path, {"username": "anna", "password": "a walk along the quay"}).status_code == 302
    anna = User.objects.get(username="anna")
    assert (anna.email, Membership.objects.get(user=anna).role) == ("anna@acme.example", "operator")
    assert browser.get("/nodes").status_code == 200
    again = Client().get(path)
    assert again.status_code == 404
    assert "opens nothing" in again.content.decode()
    actions = set(Entry.objects.filter(organisation_id=organisation.pk).values_list("action", flat=True))
    assert {"invitation.make", "invitation.accept", "membership.grant"} <= actions


def test_who_is_signed_in_accepts_as_themselves_and_only_by_a_form(
    actor: Any, organisation: Any, stranger: Any
) -> None:
    made = invitations.invite(organisation, role="viewer", actor=actor)
    assert not made.sent
    assert not mail.outbox
    browser = Client()
    browser.force_login(stranger)
    path = "/invitations/" + secret_of(made)
    assert "stranger" in browser.get(path).content.decode()
    assert not Membership.objects.filter(user=stranger, organisation=organisation).exists()
    assert browser.post(path).status_code == 302
    assert Membership.objects.get(user=stranger, organisation=organisation).role == "viewer"


def test_a_link_ends_by_time_by_withdrawal_and_by_a_new_one(
    actor: Any, organisation: Any, stranger: Any, make_user: Any, settings: Any
) -> None:
    made = invitations.invite(organisation, role="viewer", email="b@acme.example", actor=actor)
    with pytest.raises(Conflict):
        invitations.invite(organisation, role="viewer", email="B@acme.example", actor=actor)
    newer = invitations.send_again(made.invitation, actor=actor)
    with pytest.raises(Missing):
        invitations.find(secret_of(made))
    assert invitations.find(secret_of(newer)) == made.invitation
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Missing):
        invitations.accept(secret_of(newer), stranger)
    third = invitations.send_again(made.invitation, actor=actor)
    invitations.withdraw(made.invitation, actor=actor)
    with pytest.raises(Missing):
        invitations.find(secret_of(third))
    for deed in (invitations.withdraw, invitations.send_again):
        with pytest.raises(Conflict):
            deed(made.invitation, actor=actor)
    operator = Actor(make_user("op", organisation, "operator"))
    with pytest.raises(Denied):
        invitations.invite(organisation, role="viewer", actor=operator)
    with pytest.raises(Missing):
        invitations.invite(organisation, role="viewer", actor=Actor(stranger))
    for field, facts in {"role": {"role": "king"}, "email": {"role": "viewer", "email": "no\r\nBcc: x@y.z"}}.items():
        with pytest.raises(Invalid) as told:
            invitations.invite(organisation, actor=actor, **facts)
        assert told.value.context["field"] == field


def test_without_a_mail_server_the_link_is_shown_all_the_same(actor: Any, organisation: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 1, 1
    made = invitations.invite(organisation, role="viewer", email="c@acme.example", actor=actor)
    assert made.link
    assert made.problem
    assert not made.sent


def test_members_are_changed_and_the_last_administrator_is_kept(
    admin: Any, actor: Any, organisation: Any, make_user: Any, stranger: Any
) -> None:
    mate = make_user("mate", organisation, "viewer")
    accounts.issue_token(mate, name="ci", actor=Actor(mate), organisation=organisation)
    boss = Client()
    boss.force_login(admin)
    boss.post(f"/members/{mate.pk}/roles", {"roles": ["operator", "developer"]})
    assert set(Membership.objects.filter(user=mate).values_list("role", flat=True)) == {"operator", "developer"}
    for path, facts in ((f"/members/{admin.pk}/remove", {}), (f"/members/{admin.pk}/roles", {"roles": ["viewer"]})):
        told = boss.post(path, facts, follow=True)
        assert "at least one administrator" in told.content.decode()
    assert list(Membership.objects.filter(user=admin).values_list("role", flat=True)) == ["admin"]
    assert boss.post(f"/members/{stranger.pk}/remove").status_code == 404
    boss.post(f"/members/{mate.pk}/remove")
    assert not Membership.objects.filter(user=mate).exists()
    assert not ApiToken.objects.alive().exists()
    # Who would shut themselves out is told so.
    told = boss.post("/members/policy", {"roles": ["admin"]}, follow=True)
    assert "shut yourself out" in told.content.decode()


def test_programs_invite_too(api: Any, organisation: Any, client_of: Any, make_user: Any) -> None:
    where = f"/api/v1/organisations/{organisation.pk}/invitations"
    made = api.post(where, {"role": "viewer", "email": "d@acme.example"}, format="json")
    assert (made.status_code, made.json()["state"], made.json()["sent"]) == (201, "waiting", True)
    assert invitations.find(made.json()["link"].rpartition("/")[2]).role == "viewer"
    listed = api.get(where).json()["results"]
    assert [(each["id"], "link" in each) for each in listed] == [(made.json()["id"], False)]
    wrong = api.post(where, {"role": "king"}, format="json")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "role")
    assert client_of(make_user("op", organisation, "operator")).get(where).status_code == 403
    assert api.delete(f"{where}/{made.json()['id']}").status_code == 204
    assert api.delete(f"{where}/{made.json()['id']}").status_code == 409


def test_invitations_are_no_way_to_send_e_mail_to_the_world(
    api: Any, actor: Any, organisation: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(invitations, "MOST_SENT", 2)
    made = invitations.invite(organisation, role="viewer", email="anna@acme.example", actor=actor)
    invitations.send_again(made.invitation, actor=actor)
    with pytest.raises(Throttled):
        invitations.send_again(made.invitation, actor=actor)
    invitations.withdraw(made.invitation, actor=actor)
    with pytest.raises(Throttled):
        invitations.invite(organisation, role="viewer", email="bert@acme.example", actor=actor)
    assert len(mail.outbox) == 2
    assert invitations.invite(organisation, role="viewer", actor=actor).link
    # Neither is founding an organisation for each few of them, with the letter in its name.
    monkeypatch.setattr(accounts, "MOST_LED", 2)
    wanted = [("one", "Your account\n\nis at risk"), ("one", "One"), ("two", "Two")]
    answers = [api.post("/api/v1/organisations", {"slug": slug, "name": name}, format="json") for slug, name in wanted]
    assert [each.status_code for each in answers] == [400, 201, 409]
