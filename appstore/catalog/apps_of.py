"""Questions about one application: which releases somebody may see of it, and how it stands to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from appstore.catalog import versions
from appstore.catalog.models import App, Favourite, Follow, Release
from core.accounts.access import Actor
from core.errors import Missing
from core.words import say

MOST = 200
_KINDS = ("security", "added", "changed", "fixed", "deprecated", "removed")


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody has said about an application."""

    favourite: bool = False
    followed: bool = False
    provider_followed: bool = False


def visible(actor: Actor) -> QuerySet[Release]:
    """Return the listed releases that somebody may see."""
    mine = Q(organisation_id__in=actor.organisations("packages.read"))
    return Release.objects.filter(mine | Q(visibility="public"), listed=True)


def get(actor: Actor, pk: int) -> App:
    """Return an application of which the actor may see a release, else `Missing`."""
    return _seen(actor, App.objects.filter(pk=pk).first() if pk < 2**63 else None)


def named(actor: Actor, organisation: str, provider: str, name: str) -> App:
    """Return an application of this store by its address, else `Missing`."""
    found = App.objects.filter(slug=organisation, provider=provider, name=name, origin="")
    return _seen(actor, None if "\x00" in organisation + provider + name else found.first())


def of_package(package_id: Any) -> App | None:
    """Return the application that a package belongs to; None when the index does not know it."""
    return App.objects.filter(releases__package_id=package_id).first()


def releases(actor: Actor, app: App) -> list[Release]:
    """Return the releases that the actor may see: finished ones from the newest on, then prereleases; one query."""
    rows = visible(actor).filter(app=app).select_related("app").defer("text").order_by("-published_at", "key")
    found: dict[str, Release] = {}
    for row in rows[:MOST]:
        # Of the offer of a partner and our copy of it the copy counts.
        if row.version not in found or (row.package_id and not found[row.version].package_id):
            found[row.version] = row
    return versions.newest_first((row.version, row) for row in found.values())


def changes(release: Release) -> list[dict[str, str]]:
    """Return the changelog of a release as `{"kind", "text"}`, security first; what is malformed is left out."""
    rows = (release.data.get("facts") or {}).get("changes")
    found = [
        {"kind": str(row.get("kind", "changed"))[:20], "text": str(row.get("text", ""))[:1000]}
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("text")
    ]
    return sorted(found, key=lambda row: _KINDS.index(row["kind"]) if row["kind"] in _KINDS else 9)


def standing(actor: Actor, app: App) -> Standing:
    """Return how somebody stands to an application; two queries."""
    if actor.user is None:
        return Standing()
    follows = list(
        Follow.objects.filter(Q(app=app) | Q(provider=app.provider, app=None), user=actor.user).values_list(
            "app_id", flat=True
        )
    )
    favourite = Favourite.objects.filter(user=actor.user, app=app).exists()
    return Standing(favourite, app.pk in follows, None in follows and bool(app.provider))


def _seen(actor: Actor, app: App | None) -> App:
    if app is None or not visible(actor).filter(app=app).exists():
        raise Missing(say("There is no such application, or you may not see it."))
    return app
