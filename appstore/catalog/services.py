"""Verbs of the index: put, drop, refresh, rebuild. Whoever knows of releases tells them here."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from appstore.catalog import fulltext, listing, notices
from appstore.catalog.entries import Entry
from appstore.catalog.models import App, FacetValue, Index, Listing, Release, Step, Word
from appstore.packages import states
from appstore.packages.services import storable
from core.errors import Invalid
from core.words import say

BATCH = 1000
#: Copies of the index that lag further behind than this read it anew.
STEPS_KEPT = 500
_DATA = (
    "origin", "origin_name", "origin_ref", "description", "category", "keywords", "architectures", "services",
    "licences", "certification", "signature", "sha256", "size", "icon", "facts",
)  # fmt: skip
_UPDATED = [
    "app", "version", "state", "listed", "visibility", "organisation_id", "package_id", "published_at", "data", "text",
]  # fmt: skip


def put(entries: Iterable[Entry], *, quiet: bool = False) -> int:
    """Take releases into the index, or what has changed of them; return how many. The last of equal keys counts.

    Each thousand is one transaction of about twenty statements; `Invalid` for an entry without key or name. Those who
    follow an application hear of what is new, unless it is `quiet`.
    """
    done = 0
    source = iter(entries)
    while batch := list(islice(source, BATCH)):
        done += _put(batch, quiet)
    return done


def drop(keys: Iterable[str]) -> int:
    """Take releases out of the index, by key; return how many were there."""
    done = 0
    source = iter(keys)
    while batch := list(islice(source, BATCH)):
        done += _drop(batch)
    return done


@transaction.atomic
def _put(batch: Sequence[Entry], quiet: bool) -> int:
    wanted = {_text(entry.key, 180): entry for entry in batch}
    if any(not (entry.key and entry.app_key and entry.name) for entry in wanted.values()):
        raise Invalid(say("An entry of the catalogue needs a key, the key of its application, and a name."))
    serial = turn()
    before = {
        key: (app, state)
        for key, app, state in Release.objects.filter(key__in=wanted).values_list("key", "app_id", "state")
    }
    apps = _apps(wanted.values())
    releases = [_release(key, entry, apps[_text(entry.app_key, 420)]) for key, entry in wanted.items()]
    Release.objects.bulk_create(releases, update_conflicts=True, unique_fields=["key"], update_fields=_UPDATED)
    _list({app for app, _ in before.values()} | {app.pk for app in apps.values()}, serial)
    if not quiet:
        news = {row.key: notices.event_of(before.get(row.key, (0, ""))[1], row.state) for row in releases}
        notices.announce({row: news[row.key] for row in releases if news[row.key]}, serial)
    return len(wanted)


@transaction.atomic
def _drop(batch: Sequence[str]) -> int:
    keys = [_text(key, 180) for key in batch]
    rows = Release.objects.filter(key__in=keys)
    touched = set(rows.values_list("app_id", flat=True))
    if not touched:
        return 0
    serial = turn()
    Listing.objects.filter(release__key__in=keys).update(release=None)
    gone, _ = rows.delete()
    _list(touched, serial)
    return gone


@transaction.atomic
def touch(app_ids: Iterable[int], serial: int | None = None) -> None:
    """Say that the sums of these applications changed, so that copies of the index read them again."""
    Listing.objects.filter(app_id__in=list(app_ids)).update(serial=turn() if serial is None else serial)


def refresh(package_ids: Iterable[Any]) -> int:
    """Take what other topics now know of these packages into the index; return how many are in it.

    Called by topics whose facts about a package changed: contents, trust, certification, the life of a release.
    """
    from appstore.catalog import following  # it puts by this module

    return following.refresh(package_ids)


def rebuild(tell: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Make the index anew from the packages of this store and from the releases it knows of others; return how many.

    It may run while the store is used, and twice. `tell(done, of)` hears how far it is.
    """
    from appstore.catalog import following

    done = following.rebuild(tell)
    with transaction.atomic():
        serial = turn()
        left = list(Release.objects.exclude(key__startswith="package:").order_by("pk").values_list("app_id", flat=True))
        ids = sorted(set(left))
        for start in range(0, len(ids), BATCH):
            _list(set(ids[start : start + BATCH]), serial)
        Index.objects.update(built_at=timezone.now())
    return done + len(left)


def turn() -> int:
    """Wait for the turn to write; return the serial of this write. The row is held until the transaction ends.

    Whoever will touch the index takes the turn before changing rows of releases or applications: all writers then lock in
    one order and never wait for each other in a circle.
    """
    if not Index.objects.filter(pk=1).update(serial=F("serial") + 1):
        last = Step.objects.order_by("-serial").values_list("serial", flat=True).first()
        Index.objects.get_or_create(pk=1, defaults={"serial": last or 0})
        Index.objects.filter(pk=1).update(serial=F("serial") + 1)
    serial: int = Index.objects.values_list("serial", flat=True).get(pk=1)
    Step.objects.create(serial=serial, token=uuid.uuid4())
    if serial % 100 == 0:
        Step.objects.filter(serial__lt=serial - STEPS_KEPT).delete()
    return serial


def _apps(entries: Iterable[Entry]) -> dict[str, App]:
    wanted = {}
    for entry in entries:
        key = _text(entry.app_key, 420)
        origin, slug, *_ = (*key.split("/", 2), "", "")
        wanted[key] = App(
            key=key,
            slug="" if origin else slug[:40],
            organisation_id=entry.organisation_id,
            origin=_text(entry.origin, 64),
            provider=_text(entry.provider, 128),
            name=_text(entry.name, 128),
        )
    App.objects.bulk_create(wanted.values(), ignore_conflicts=True)
    return {app.key: app for app in App.objects.filter(key__in=wanted)}


def _release(key: str, entry: Entry, app: App) -> Release:
    data = {name: value for name in _DATA if (value := getattr(entry, name)) not in ("", (), {}, 0)}
    return Release(
        key=key,
        app=app,
        version=_text(entry.version, 64),
        state=_text(entry.state, 12),
        listed=entry.state in states.LISTED,
        visibility=_text(entry.visibility, 12),
        organisation_id=entry.organisation_id,
        package_id=entry.package_id,
        published_at=entry.published_at,
        data=storable(data),
        text=_text(entry.text, 200_000),
    )


def _text(value: str, most: int) -> str:
    return str(storable(value))[:most]


def _list(app_ids: set[int], serial: int) -> None:
    """Decide anew what is listed of these applications, and write down what differs."""
    releases: dict[int, list[Release]] = defaultdict(list)
    for release in Release.objects.filter(app_id__in=app_ids).defer("data", "text"):
        releases[release.app_id].append(release)
    choices = {pk: listing.choose(releases[pk]) for pk in app_ids}
    keys = {key for choice in choices.values() for key in (choice.public, choice.own) if key}
    chosen = {row.key: row for row in Release.objects.filter(key__in=keys).select_related("app")}
    present = {(row.app_id, row.own): row for row in Listing.objects.filter(app_id__in=app_ids)}
    wanted: list[Listing] = []
    for pk, choice in choices.items():
        for own, key in ((False, choice.public), (True, choice.own)):
            row = present.get((pk, own)) or Listing(app_id=pk, own=own)
            if not key and row.pk is None:
                continue
            row.release, row.serial = chosen.get(key), serial
            row.for_public = bool(key) and not own
            row.for_members = bool(key) and (own or choice.public_for_members)
            wanted.append(row)
    store = str(settings.STORE_NAME)
    told = {row.key: listing.facets(row.data, row.app.provider, store) for row in chosen.values()}
    values = _values({each for rows in told.values() for each in rows})
    for row in wanted:
        row.facets = [values[facet, value] for facet, value, _ in told[row.release.key]] if row.release else []
    _write_listings(wanted)
    _count(app_ids, releases)
    _write_text(wanted)


def _write_listings(rows: Sequence[Listing]) -> None:
    """Write rows that are new and rows that changed; the new ones learn their ids."""
    fresh, known = [row for row in rows if row.pk is None], [row for row in rows if row.pk is not None]
    Listing.objects.bulk_create(fresh)
    # As rows without ids that meet those that are there, since SQLite looks at the conflict of the id first. An update of
    # many rows would be a condition for each row and member, which takes several times longer to write than to run.
    again = [
        Listing(
            app_id=row.app_id, own=row.own, release_id=row.release_id, for_public=row.for_public,
            for_members=row.for_members, facets=row.facets, serial=row.serial,
        )
        for row in known
    ]  # fmt: skip
    Listing.objects.bulk_create(
        again,
        update_conflicts=True,
        unique_fields=["app", "own"],
        update_fields=["release", "for_public", "for_members", "facets", "serial"],
    )


def _values(told: set[tuple[str, str, str]]) -> dict[tuple[str, str], int]:
    labels = {(facet, value): label for facet, value, label in told}
    known = {(row.facet, row.value): row for row in FacetValue.objects.filter(value__in={value for _, value in labels})}
    fresh = [FacetValue(facet=f, value=v, label=label) for (f, v), label in labels.items() if (f, v) not in known]
    FacetValue.objects.bulk_create(fresh, ignore_conflicts=True)
    renamed = [row for pair, row in known.items() if pair in labels and row.label != labels[pair]]
    for row in renamed:
        row.label = labels[row.facet, row.value]
    FacetValue.objects.bulk_update(renamed, ["label"])
    if fresh:
        known = {
            (row.facet, row.value): row for row in FacetValue.objects.filter(value__in={value for _, value in labels})
        }
    return {pair: row.pk for pair, row in known.items()}


def _count(app_ids: set[int], releases: dict[int, list[Release]]) -> None:
    by_count: dict[int, list[int]] = defaultdict(list)
    for pk in app_ids:
        by_count[sum(row.listed for row in releases[pk])].append(pk)
    for count, ids in by_count.items():
        App.objects.filter(pk__in=ids).exclude(releases_listed=count).update(releases_listed=count)


def _write_text(rows: Sequence[Listing]) -> None:
    full = fulltext.backend()
    gone = [row.pk for row in rows if row.release is None]
    if gone:
        full.drop(gone)
    documents = [
        listing.document(row.pk, row.release.app.name, row.release.app.provider, row.release.data, row.release.text)
        for row in rows
        if row.release is not None
    ]
    if not documents:
        return
    full.put(documents)
    lexicon = listing.lexicon(documents)
    known = set(Word.objects.filter(text__in=lexicon).values_list("text", flat=True))
    fresh = [Word(text=text, count=count) for text, count in sorted(lexicon.items()) if text not in known]
    Word.objects.bulk_create(fresh, ignore_conflicts=True)
