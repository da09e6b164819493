"""A catalogue to search, and people who look at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def entry() -> Callable[..., Any]:
    """Make an entry: `entry("Crane View", "1.0", provider="Harbour")`; its key follows from name and version."""
    from appstore.catalog.entries import Entry

    def make(name: str = "Crane View", version: str = "1.0", **members: Any) -> Entry:
        provider, origin = members.get("provider", "Northwind"), members.get("origin", "")
        return Entry(
            **{
                "key": f"remote:x:{provider}:{name}:{version}",
                "app_key": f"{origin}/acme/{provider}/{name}",
                "name": name,
                "provider": provider,
                "version": version,
                "published_at": START + timedelta(minutes=len(name)),
                "state": "published",
                **members,
            }
        )

    return make


@pytest.fixture
def put(db: None, entry: Any) -> Callable[..., Any]:
    """Put one entry into the index and return its application."""
    from appstore.catalog import services
    from appstore.catalog.models import App

    def take(name: str = "Crane View", version: str = "1.0", **members: Any) -> App:
        made = entry(name, version, **members)
        services.put([made])
        return App.objects.get(key=made.app_key)

    return take


@pytest.fixture
def found(db: None) -> Callable[..., list[str]]:
    """Search and return the names: `found("crane", category=("Video",))`."""
    from appstore.catalog.search import Query, search
    from core.accounts.access import ANONYMOUS

    def ask(text: str = "", *, actor: Any = ANONYMOUS, sort: str = "relevance", **facets: Any) -> list[str]:
        return [row.app.name for row in search(Query(text, facets, sort), actor).rows]

    return ask


@pytest.fixture
def make_release(organisation: Any) -> Callable[..., Any]:
    """Make a package row that is a release of `acme`, and tell those who follow packages."""
    from django.utils import timezone

    from appstore.packages import followers
    from appstore.packages.models import Package

    def make(name: str = "hello", version: str = "1.0.0", owner: Any = None, **facts: Any) -> Package:
        package = Package.objects.create(
            **{
                "organisation": owner or organisation,
                "name": name,
                "provider": "Acme",
                "version": version,
                "state": "published",
                "sha256": f"{name}{version}".encode().hex().rjust(64, "0")[-64:],
                "size": 10,
                "published_at": timezone.now(),
                **facts,
            }
        )
        followers.tell("changed", package)
        return package

    return make
