"""Releases of two tenants; `acme` runs the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone


@pytest.fixture(autouse=True)
def run_by_acme(settings: Any) -> None:
    """Say who runs the store, whichever tenant a test makes first."""
    settings.OPERATOR = "acme"


@pytest.fixture
def make(db: None, organisation: Any, admin: Any) -> Callable[..., Any]:
    """Make a package row: `make("hello", "2.0", state="checked", owner=other)`."""
    from appstore.packages import states
    from appstore.packages.models import Package

    def package(name: str = "hello", version: str = "1.0", **facts: Any) -> Package:
        state, owner = facts.pop("state", "published"), facts.pop("owner", organisation)
        defaults: dict[str, Any] = {
            "uploaded_by": admin,
            "sha256": hashlib.sha256(f"{name} {version}".encode()).hexdigest(),
            "size": 1,
            "provider": "Acme",
            "published_at": timezone.now() if state in states.FINAL else None,
        }
        return Package.objects.create(
            organisation=owner, name=name, version=version, state=state, **{**defaults, **facts}
        )

    return package
