"""Charts behind the registry face, and clients that speak to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.accounts import services as accounts
from core.accounts.access import Actor
from tests.appstore.contents.conftest import read, release

__all__ = ["read", "release"]


class Registry:
    """A client of the registry face, with or without a token."""

    def __init__(self, token: str = "", *, basic: bool = True) -> None:
        kind = f"Basic {base64.b64encode(f'any:{token}'.encode()).decode()}" if basic else f"Bearer {token}"
        self.client = Client(headers={"Authorization": kind} if token else {})

    def get(self, path: str, **headers: str) -> Any:
        """GET below /v2/."""
        return self.client.get(f"/v2/{path}", headers=headers)

    def manifest(self, name: str, reference: str) -> Any:
        """The manifest as JSON."""
        response = self.get(f"{name}/manifests/{reference}")
        assert response.status_code == 200, response.content
        return json.loads(response.content)

    def code(self, path: str) -> tuple[int, str]:
        """Status and code of the error."""
        response = self.get(path)
        errors = json.loads(response.content)["errors"] if response.status_code >= 400 else [{"code": ""}]
        return response.status_code, errors[0]["code"]


@pytest.fixture
def token_of() -> Callable[..., str]:
    """Make an API token of somebody."""

    def make(user: Any, **options: Any) -> str:
        return accounts.issue_token(user, name="helm", actor=Actor(user), **options)[1]

    return make


@pytest.fixture
def anybody(db: None) -> Registry:
    """Somebody who did not sign in."""
    return Registry()


@pytest.fixture
def member(admin: Any, token_of: Any) -> Registry:
    """The administrator of `acme`."""
    return Registry(token_of(admin))


@pytest.fixture
def foreigner(stranger: Any, token_of: Any) -> Registry:
    """Somebody of another organisation."""
    return Registry(token_of(stranger))
