"""A program is let in by a code that somebody compares (RFC 8628)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from core.accounts.access import Actor
from core.accounts.models import ApiToken, Membership
from core.audit.models import Entry
from core.device import services
from core.device.models import Grant
from core.errors import Conflict, Denied, Invalid, Missing, Throttled

pytestmark = pytest.mark.django_db

BEGIN, TOKEN = "/api/v1/device/authorization", "/api/v1/device/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


def send(client: Any, path: str, form: dict[str, str]) -> Any:
    return client.post(path, urlencode(form), content_type="application/x-www-form-urlencoded")


def begin(client: Any, **form: str) -> dict[str, Any]:
    answer = send(client, BEGIN, {"client_id": "cli", "client_name": "my laptop", **form})
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    return dict(answer.json())


def ask(client: Any, begun: dict[str, Any], **changes: str) -> Any:
    form = {"grant_type": GRANT_TYPE, "device_code": begun["device_code"], "client_id": "cli", **changes}
    return send(client, TOKEN, form)


def error(client: Any, begun: dict[str, Any], **changes: str) -> str:
    answer = ask(client, begun, **changes)
    assert answer.status_code == 400
    return str(answer.json()["error"])


def later(seconds: float) -> None:
    """Let time pass for every grant."""
    for grant in Grant.objects.all():
        grant.expires_at -= timedelta(seconds=seconds)
        grant.polled_at = grant.polled_at and grant.polled_at - timedelta(seconds=seconds)
        grant.save()


def test_a_program_gets_one_token_once_a_person_approves(client: Any, actor: Any, organisation: Any) -> None:
    begun = begin(client, scope="nodes.read packages.read")
    assert begun["verification_uri_complete"].endswith(f"/device?user_code={begun['user_code']}")
    assert error(client, begun) == "authorization_pending"
    assert error(client, begun) == "slow_down"
    later(6)
    assert error(client, begun) == "slow_down", "the pause has grown to ten seconds"
    later(60)

    # As people type it.
    grant = services.look_up(begun["user_code"].lower().replace("-", " "), actor=actor)
    services.approve(grant, actor=actor, organisation=organisation)
    assert error(client, begun, client_id="other") == "invalid_grant"
    answer = ask(client, begun)
    assert answer.json()["token_type"] == "Bearer"
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {answer.json()['access_token']}"}
    me = client.get("/api/v1/session", **bearer).json()
    assert me["organisations"][0]["permissions"] == ["nodes.read", "packages.read"]
    assert error(client, begun) == "invalid_grant", "a device code is good for one token"
    assert {"device.approve", "token.issue"} <= set(Entry.objects.values_list("action", flat=True))
    with pytest.raises(Missing):
        services.look_up(begun["user_code"], actor=actor)

    assert client.delete("/api/v1/tokens/current", **bearer).status_code == 204
    assert client.get("/api/v1/nodes", **bearer).status_code == 401
    assert ApiToken.objects.get().revoked_at is not None


def test_what_is_refused_or_late_or_revoked_gets_nothing(
    client: Any, actor: Any, organisation: Any, admin: Any
) -> None:
    refused, late, left = begin(client), begin(client), begin(client)
    services.refuse(services.look_up(refused["user_code"], actor=actor), actor=actor)
    assert error(client, refused) == "access_denied"

    services.approve(services.look_up(left["user_code"], actor=actor), actor=actor, organisation=organisation)
    Membership.objects.filter(user=admin).delete()
    assert error(client, left) == "access_denied"
    assert not ApiToken.objects.exists()

    grant = services.look_up(late["user_code"], actor=actor)
    Grant.objects.filter(pk=grant.pk).update(expires_at=timezone.now())
    assert error(client, late) == "expired_token"
    with pytest.raises(Conflict):
        services.approve(grant, actor=actor)


def test_only_a_person_lets_programs_in_and_only_to_their_own(
    client: Any, actor: Any, admin: Any, stranger_organisation: Any
) -> None:
    grant = services.look_up(begin(client)["user_code"], actor=actor)
    with pytest.raises(Denied):
        services.approve(grant, actor=Actor(admin, ApiToken(user=admin)))
    with pytest.raises(Invalid):
        services.approve(grant, actor=actor, organisation=stranger_organisation)


def test_guessing_codes_and_asking_for_many_are_stopped(client: Any, actor: Any) -> None:
    begun = begin(client)
    for _ in range(services.MOST_MISSES):
        with pytest.raises(Missing):
            services.look_up("BBBB-BBBB", actor=actor)
    with pytest.raises(Throttled):
        services.look_up(begun["user_code"], actor=actor)
    for _ in range(services.MOST_WAITING - 1):
        begin(client)
    assert send(client, BEGIN, {"client_id": "cli"}).status_code == 429
    later(2 * 3600)
    begin(client)
    assert Grant.objects.count() == 1, "what has ended is cleared away"


def test_mistakes_of_programs_are_told_in_the_words_of_oauth(client: Any) -> None:
    begun = begin(client, client_name="a\x1b[31m\u202e\nname")
    assert Grant.objects.get().client_name == "a[31mname"
    assert error(client, begun, grant_type="password") == "unsupported_grant_type"
    assert error(client, begun, device_code="") == "invalid_request"
    assert error(client, {"device_code": "unknown"}) == "invalid_grant"
    for form, kind in (({"client_id": "a b"}, "invalid_client"), ({"client_id": "a", "scope": "root"}, "invalid_scope"),
                       ({}, "invalid_request")):  # fmt: skip
        answer = send(client, BEGIN, form)
        assert (answer.status_code, answer.json()["error"]) == (400, kind)
    assert client.delete("/api/v1/tokens/current").status_code in (401, 403)
