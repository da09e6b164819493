"""API tokens: shown once, bounded, revoked."""

from __future__ import annotations

import re
from typing import Any

from core.accounts.models import ApiToken


def made(response: Any) -> str:
    """Return the token that a page shows."""
    found = re.search(r'id="new-token">(bwk_[\w-]+)<', response.content.decode())
    assert found
    return found[1]


def test_a_new_token_is_shown_once_and_opens_the_api(pages: Any, client: Any) -> None:
    response = pages.post("/profile", {"name": "ci", "scopes": ["nodes.read"], "days": "30"})
    secret = made(response)
    assert response.headers["Cache-Control"].startswith("max-age=0")
    assert secret not in pages.get("/profile").content.decode()
    assert client.get("/api/v1/nodes", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    token = ApiToken.objects.get()
    assert token.scopes == ["nodes.read"]
    assert token.expires_at is not None


def test_a_token_needs_a_name_and_the_page_keeps_what_was_chosen(pages: Any) -> None:
    response = pages.post("/profile", {"name": "", "scopes": ["nodes.read"], "days": "30"})
    text = response.content.decode()
    assert response.status_code == 400
    assert 'id="id_name_error"' in text
    assert re.search(r'value="nodes.read"[^>]* checked', text)
    assert not ApiToken.objects.exists()


def test_scopes_that_do_not_exist_are_refused(pages: Any) -> None:
    assert pages.post("/profile", {"name": "ci", "scopes": ["everything"]}).status_code == 400


def test_a_token_is_not_bound_to_an_organisation_of_others(pages: Any, stranger_organisation: Any) -> None:
    assert pages.post("/profile", {"name": "ci", "organisation": "other"}).status_code == 400


def test_a_revoked_token_opens_nothing(pages: Any, client: Any) -> None:
    secret = made(pages.post("/profile", {"name": "ci"}))
    token = ApiToken.objects.get()
    assert pages.post(f"/profile/tokens/{token.pk}/revoke").status_code == 302
    assert "revoked" in pages.get("/profile").content.decode()
    assert client.get("/api/v1/nodes", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_every_role_permission_and_note_of_backup_has_words() -> None:
    from core.accounts.access import ALL_PERMISSIONS
    from core.accounts.models import Role
    from frontend import permissions
    from frontend.fleet.backup import NOT_INSIDE
    from mecm.backup import services

    assert set(permissions.WORDS) == ALL_PERMISSIONS
    assert set(permissions.ROLES) == set(Role.values)
    assert tuple(str(text) for text in NOT_INSIDE) == services.NOT_INSIDE
