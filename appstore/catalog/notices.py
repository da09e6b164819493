"""What people are told of applications and providers that they follow, and where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from appstore.catalog.models import App, Favourite, Follow, Notice, Release, Webhook
from appstore.packages import states
from core.accounts.access import Actor
from core.errors import Invalid, Unauthenticated
from core.operations import services as operations
from core.words import say

TELL = "catalog.tell"
#: event -> what is said of a release
EVENTS = {
    "release": "{name} {version} is out.",
    "security": "{name} {version} is out and closes a security hole.",
    "deprecation": "{name} {version} is deprecated.",
    "yank": "{name} {version} was withdrawn.",
    "quarantine": "{name} {version} is quarantined until a doubt is settled.",
    "recall": "{name} {version} was recalled: stop running it.",
}
_BY_STATE = {
    "deprecated": "deprecation",
    "withdrawn": "yank",
    "yanked": "yank",
    "quarantined": "quarantine",
    "recalled": "recall",
}
KEPT = timedelta(days=180)
#: More applications than anybody follows by hand.
MOST_FOLLOWED = 500


def event_of(before: str, after: str) -> str:
    """Return what has happened to a release that was in one state (empty: not known) and now is in another; maybe nothing."""
    if before == after:
        return ""
    if not before:
        return "release" if after in states.LISTED else ""
    return _BY_STATE.get(after, "")


def announce(news: Mapping[Release, str], serial: int) -> None:
    """Ask a worker to tell those who want to know; nothing is asked for when nobody does. Two queries."""
    if not news:
        return
    apps, providers = {row.app_id for row in news}, {row.app.provider for row in news if row.app.provider}
    wanted = Follow.objects.filter(Q(app__in=apps) | Q(provider__in=providers)).exists()
    if wanted or Webhook.objects.filter(active=True).exists():
        events = [[row.key, event] for row, event in news.items()]
        operations.request(TELL, f"catalogue:{serial}", events=events, serial=serial)


def tell(wanted: Mapping[str, str], serial: int) -> int:
    """Write the notices of these events (release key -> event); done twice it is done once. Return how many."""
    rows = Release.objects.filter(key__in=wanted).select_related("app").defer("text")
    made: list[Notice] = []
    for release in rows:
        event = exact(wanted[release.key], release)
        text = EVENTS[event].format(name=release.app.name, version=release.version)
        about = f"{release.key}:{serial}"[:220]
        made += [
            Notice(user_id=user, kind=event, text=text[:300], url=address_of(release), about=about)
            for user in followers_of(release).values_list("user_id", flat=True).distinct()
        ]
    Notice.objects.bulk_create(made, ignore_conflicts=True, batch_size=500)
    Notice.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    return len(made)


def exact(event: str, release: Release) -> str:
    """Return `security` for a new release whose changes mend a hole, else the event as it is."""
    changes = (release.data.get("facts") or {}).get("changes")
    rows = changes if isinstance(changes, list) else []
    mends = any(isinstance(row, dict) and row.get("kind") == "security" for row in rows)
    return "security" if event == "release" and mends else event


def address_of(release: Release) -> str:
    """Return the page about a release: its own when its package is here, else that of its application."""
    return f"/packages/{release.package_id}" if release.package_id else f"/catalogue/{release.app_id}"


def followers_of(release: Release) -> QuerySet[Follow]:
    """Return who follows the application or its provider and may see the release."""
    about = Q(app=release.app_id)
    if release.app.provider:
        about |= Q(provider=release.app.provider)
    found = Follow.objects.filter(about, user__is_active=True)
    if release.visibility == "public":
        return found
    if release.organisation_id is None:
        return found.none()
    return found.filter(user__memberships__organisation_id=release.organisation_id)


@transaction.atomic
def follow(actor: Actor, *, app: App | None = None, provider: str = "", on: bool = True) -> None:
    """Follow an application or a provider, or no longer; twice is once. `Invalid` beyond the limit."""
    if actor.user is None:
        raise Unauthenticated(say("Sign in, or send an API token as a bearer token."))
    about: dict[str, Any] = {"app": app} if app is not None else {"provider": provider.strip()[:128]}
    if app is None and not about["provider"]:
        raise Invalid(
            say("Say which provider to follow"), errors=[{"field": "provider", "detail": say("must not be empty")}]
        )
    if not on:
        Follow.objects.filter(user=actor.user, **about).delete()
        return
    if Follow.objects.filter(user=actor.user).count() >= MOST_FOLLOWED:
        raise Invalid(
            say(
                "Nobody can follow more than {most_followed} applications and providers; let some go first.",
                most_followed=MOST_FOLLOWED,
            )
        )
    Follow.objects.get_or_create(user=actor.user, **about)


@transaction.atomic
def favour(actor: Actor, app: App, *, on: bool = True) -> None:
    """Make an application a favourite, or no longer; twice is once."""
    if actor.user is None:
        raise Unauthenticated(say("Sign in, or send an API token as a bearer token."))
    if on:
        _, fresh = Favourite.objects.get_or_create(user=actor.user, app=app)
        change = 1 if fresh else 0
    else:
        change = -Favourite.objects.filter(user=actor.user, app=app).delete()[0]
    if change:
        App.objects.filter(pk=app.pk).update(favourites=F("favourites") + change)


def unread(user_id: UUID | None) -> int:
    """Return how many notices somebody has not read, 100 for that or more; one query of an index."""
    if user_id is None:
        return 0
    return Notice.objects.filter(user=user_id, read_at=None).order_by()[:100].count()


def of(actor: Actor) -> QuerySet[Notice]:
    """Return one's own notices, newest first."""
    return Notice.objects.filter(user=actor.user) if actor.user is not None else Notice.objects.none()


def mark_read(actor: Actor, pk: Any = None) -> int:
    """Mark one of one's notices as read, or all of them; return how many were unread."""
    rows = of(actor).filter(read_at=None)
    return (rows if pk is None else rows.filter(pk=pk)).update(read_at=timezone.now())
