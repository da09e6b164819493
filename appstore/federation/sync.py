"""Following partners: what a walk brought is written in one transaction, and how far we are is written last.

Only what belongs to that partner is ever changed: its offers, and our copies of its packages.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from appstore.catalog.entries import Entry
from appstore.federation import feed, ports, terms, wire
from appstore.federation.feed import Refused, Release
from appstore.federation.link import WireLink
from appstore.federation.models import Agreement, Peer, PeerSync, RemoteRelease
from appstore.federation.transfer import Counting, Link, small
from appstore.federation.trustroot import Held
from appstore.federation.walk import News, Party, walk
from appstore.keys import services as keys
from appstore.packages import services as packages
from appstore.packages import states
from appstore.packages.models import Package
from core import dsse
from core.accounts.access import SYSTEM, Actor
from core.errors import BreakwaterError, Conflict, Missing
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

logger = logging.getLogger("breakwater.federation")

SYNC: Final = "federation.sync"
#: Seconds between two looks at a partner, and the longest pause after failures.
EVERY: Final = 300.0
LONGEST_PAUSE: Final = 6 * 3600.0
#: A release that the partner no longer offers, of which we keep the row because we have a copy.
REMOVED: Final = "removed"
_BATCH: Final = 500
#: Lists of revocations that are taken of one partner.
_MOST_LABS: Final = 100
_COLUMNS: Final = ("name", "provider", "version", "state", "sha256", "size", "metadata", "problem", "seen_at")


@dataclass(frozen=True, slots=True)
class Done:
    """What a sync did."""

    serial: int
    put: int = 0
    removed: int = 0
    full: bool = False
    requests: int = 0
    bytes_in: int = 0


def our_id() -> str:
    """Return the id of this store."""
    return str(keys.current(keys.STORE).pk)


def party_of(peer: Peer) -> Party:
    """Return both sides as a walk needs them."""
    return Party(us=our_id(), them=peer.store_id, key=dsse.load_public(peer.public_pem))


def request_sync(peer: Peer, *, actor: Actor | None = None) -> Operation:
    """Ask a worker to look at the partner's feed now; asking twice while it waits is asking once."""
    return operations.request(
        SYNC, f"feed-of:{peer.pk}", organisation=peer.organisation_id, actor=actor, peer=str(peer.pk)
    )


def followed() -> QuerySet[Peer]:
    """Partners that we follow: active, with an agreement."""
    return Peer.objects.filter(
        state=Peer.State.ACTIVE, kind="breakwater", agreements__in=Agreement.objects.in_force()
    ).distinct()


def request_due(now: datetime | None = None) -> int:
    """Ask for a sync of every partner whose time has come; return of how many."""
    now = now or timezone.now()
    due = followed().filter(Q(sync=None) | Q(sync__next_at=None) | Q(sync__next_at__lte=now))
    asked = 0
    for peer in due:
        request_sync(peer)
        asked += 1
    return asked


def follow(peer: Peer) -> Done:
    """Sync with a partner over the network; see `sync`."""
    with wire.client(peer) as client:
        return sync(peer, WireLink(client))


def sync(peer: Peer, link: Link, *, now: datetime | None = None, judged_at: datetime | None = None) -> Done:
    """Take over what is new at the partner; return what that was.

    Any error leaves the state as it was, and is shown at the peer until the next sync that works. `judged_at` is the
    moment against which expiry is judged when that is not now: what a courier brings has been under way.
    """
    now = now or timezone.now()
    counted = Counting(link)
    row, _ = PeerSync.objects.get_or_create(peer=peer)
    try:
        agreed = _agreed(peer)
        held = Held.of(row.trusted)
        news = walk(counted, party_of(peer), held, serial=row.serial, etag=row.etag, now=judged_at or now)
        if counted.requests > 1:  # an idle partner has recalled nothing
            _follow_recalls(peer, counted)
            _follow_revocations(peer, counted)
        done = _write(peer, row, news, agreed, now)
    except BreakwaterError as problem:
        _failed(peer, row, problem, counted, now)
        raise
    PeerSync.objects.filter(pk=row.pk).update(bytes_in=F("bytes_in") + counted.bytes_in)
    if done.put or done.removed or done.full:
        logger.info("%s: serial %s, %s put, %s removed", peer, done.serial, done.put, done.removed)
    return Done(done.serial, done.put, done.removed, done.full, counted.requests, counted.bytes_in)


def _follow_recalls(peer: Peer, link: Link) -> None:
    """Have the room that knows recalls take over the partner's signed list, before the cursor says that we have seen it.

    A recall changes the state of a release and so the timestamp: no recall is missed by looking only then.
    """
    take_over = ports.first(ports.recalls)
    if take_over is None:
        return
    try:
        data = small(link, "recalls", dsse.LONGEST * 2).body
    except Missing:
        return
    take_over(feed.parsed(data), peer)


def _follow_revocations(peer: Peer, link: Link) -> None:
    """Have the room that knows certificates take over what labs have taken back, as far as the partner hands it on.

    A revocation changes the level of a release and so the timestamp, as a recall does. Partners of an earlier version
    have no such list.
    """
    take_over = ports.first(ports.revocations)
    if take_over is None:
        return
    try:
        said = feed.parsed(small(link, "revocations", dsse.LONGEST * 2).body)
    except Missing:
        return
    lists = said.get("lists")
    if not isinstance(lists, list) or len(lists) > _MOST_LABS or not all(isinstance(each, dict) for each in lists):
        raise Refused(say("The partner's lists of revocations are not what they may be"), reason="wrong-type")
    take_over(lists, peer.name)


def _agreed(peer: Peer) -> terms.Terms:
    agreement = peer.agreement()
    agreed = agreement.read() if agreement else None
    if agreed is None or agreed.incoming is None:
        raise Conflict(
            say("There is no agreement in force by which {peer} offers us anything.", peer=peer), peer=str(peer.pk)
        )
    return agreed


def _failed(peer: Peer, row: PeerSync, problem: BreakwaterError, counted: Counting, now: datetime) -> None:
    """Show the problem at the peer; the cursor, and whatever was written before, stay."""
    pause = min(LONGEST_PAUSE, EVERY * 2 ** min(row.failures, 10))
    document = packages.storable(problem.problem())
    PeerSync.objects.filter(pk=row.pk).update(
        problem=document,
        failures=F("failures") + 1,
        next_at=now + timedelta(seconds=pause),
        bytes_in=F("bytes_in") + counted.bytes_in,
    )
    Peer.objects.filter(pk=peer.pk).update(problem=document)


# Writing --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def _write(peer: Peer, seen: PeerSync, news: News, agreed: terms.Terms, now: datetime) -> Done:
    """Write what is new, and then how far we are."""
    row = PeerSync.objects.select_for_update().get(pk=seen.pk)
    if (row.serial, row.trusted) != (seen.serial, seen.trusted):
        raise Conflict(say("Another sync with this partner was quicker."), peer=str(peer.pk))
    put = removed = 0
    if not news.empty:
        before, after = _changes(peer, news)
        assert agreed.incoming is not None
        put, removed = _take_over(peer, before, after, agreed)
        if RemoteRelease.objects.filter(peer=peer).exclude(state=REMOVED).count() > agreed.incoming.limits.apps:
            most = agreed.incoming.limits.apps
            raise Refused(
                say("The partner offers more than the agreed {most} releases", most=most), reason="too-many", limit=most
            )
        row.changed_at = now
    if news.full is not None:
        row.full_at = now
    row.synced_at, row.problem, row.failures = now, None, 0
    row.next_at = now + timedelta(seconds=EVERY)
    row.trusted, row.etag, row.serial = news.held.as_dict(), news.etag, news.serial
    row.save(
        update_fields=[
            "changed_at", "full_at", "synced_at", "problem", "failures", "next_at", "trusted", "etag", "serial",
        ]
    )  # fmt: skip
    Peer.objects.filter(pk=peer.pk).exclude(problem=None).update(problem=None)
    return Done(news.serial, put, removed, news.full is not None)


def _changes(peer: Peer, news: News) -> tuple[dict[str, RemoteRelease], dict[str, Release | None]]:
    """Return the rows that are concerned, and what becomes of each reference: its release, or None when it goes."""
    mine = RemoteRelease.objects.filter(peer=peer).select_related("package", "peer")
    if news.full is not None:
        rows = {row.ref: row for row in mine}
        # What a full listing does not have is gone: this is the only place where silence removes.
        after: dict[str, Release | None] = dict.fromkeys(rows)
        return rows, after | news.full
    patch = news.patches[0]
    for following in news.patches[1:]:
        patch = feed.compose(patch, following)
    refs = list(patch)
    rows = {
        row.ref: row
        for start in range(0, len(refs), _BATCH)
        for row in mine.filter(ref__in=refs[start : start + _BATCH])
    }
    result: dict[str, Release | None] = {}
    for ref, change in patch.items():
        present = rows[ref].metadata if ref in rows and rows[ref].state != REMOVED else None
        merged = feed.merge(present, change)
        result[ref] = None if merged is None else feed.checked_release(ref, merged)
    return rows, result


def _take_over(
    peer: Peer, rows: Mapping[str, RemoteRelease], after: Mapping[str, Release | None], agreed: terms.Terms
) -> tuple[int, int]:
    us = our_id()
    ours = _own_digests(after)
    put: list[RemoteRelease] = []
    gone: list[RemoteRelease] = []
    for ref, release in after.items():
        row = rows.get(ref)
        if release is None:
            if row is not None and row.state != REMOVED:
                gone.append(row)
            continue
        made = row or RemoteRelease(peer=peer, ref=ref)
        problem = _problem(release, row, agreed, us, ours)
        if problem and problem["code"] == "changed-bytes":
            # A release never changes: what we know of it stays, and nobody gets the other bytes by that name.
            release = {**made.metadata, "state": release["state"], "reason": release.get("reason", "")}
        if row is not None and row.metadata == release and row.problem == problem and row.state == release["state"]:
            continue
        made.name, made.provider, made.version = release["name"], release["provider"], release["version"]
        made.state, made.sha256, made.size = release["state"], release["sha256"], release["size"]
        made.metadata, made.problem = release, problem
        put.append(made)
    _store(put)
    _remove(gone)
    _mark_copies(peer, [*put, *gone])
    tell_catalogue(peer, put, gone)
    return len(put), len(gone)


def _own_digests(after: Mapping[str, Release | None]) -> set[str]:
    """Return the digests, of those that are offered, of packages that were made here."""
    digests = [release["sha256"] for release in after.values() if release]
    return {
        sha256
        for start in range(0, len(digests), _BATCH)
        for sha256 in Package.objects.own()
        .filter(sha256__in=digests[start : start + _BATCH], state__in=states.FINAL)
        .values_list("sha256", flat=True)
    }


def _problem(
    release: Release, row: RemoteRelease | None, agreed: terms.Terms, us: str, ours: set[str]
) -> dict[str, Any] | None:
    """Return why we do not take a release that is offered, in words that are shown beside it; None when we do."""
    if row is not None and row.sha256 != release["sha256"]:
        return {
            "code": "changed-bytes",
            "detail": "The partner gives other bytes under the reference of a release that we know; a release never changes.",
        }
    if us in release.get("via", ()):
        return {"code": "loop", "detail": "It came from this store and went round; we do not take it back."}
    if release["sha256"] in ours:
        return {"code": "own", "detail": "These are the bytes of a release of this store."}
    if release["state"] in feed.OFFERED:
        passes, why = terms.allows(agreed, terms.IN, release)
        if not passes:
            return {"code": "not-agreed", "detail": f"It is outside of the agreement: {why}."}
    return None


def _store(rows: list[RemoteRelease]) -> None:
    # With ids of their own, since SQLite looks at the conflict of the id first; a row that is there keeps its id.
    fresh = [
        RemoteRelease(peer_id=row.peer_id, ref=row.ref, **{name: getattr(row, name) for name in _COLUMNS})
        for row in rows
    ]
    RemoteRelease.objects.bulk_create(
        fresh,
        batch_size=_BATCH,
        update_conflicts=True,
        unique_fields=["peer", "ref"],
        update_fields=_COLUMNS,
    )


def _remove(rows: list[RemoteRelease]) -> None:
    """Forget offers that are gone; of those that we have a copy of the row stays, to say so."""
    kept = [row.pk for row in rows if row.package_id is not None]
    lost = [row.pk for row in rows if row.package_id is None]
    for start in range(0, len(lost), _BATCH):
        RemoteRelease.objects.filter(pk__in=lost[start : start + _BATCH]).delete()
    for start in range(0, len(kept), _BATCH):
        RemoteRelease.objects.filter(pk__in=kept[start : start + _BATCH]).update(state=REMOVED, seen_at=timezone.now())
    for row in rows:
        row.state = REMOVED


def _mark_copies(peer: Peer, rows: list[RemoteRelease]) -> None:
    """Do to our copies what the partner did to the originals: by the room that knows the life of releases, or by hand.

    Without that room a copy of what was withdrawn or recalled is withdrawn; the gate of this topic stops the rest.
    """
    foreign = ports.first(ports.foreign)
    for row in rows:
        copy = row.package
        if copy is None or copy.origin != peer.store_id or row.state == REMOVED:
            continue
        reason = str(row.metadata.get("reason", "")) or f"{peer} has {row.state} it"
        if foreign is not None:
            foreign(copy, row.state, reason)
        elif row.state in ("withdrawn", "recalled") and copy.state == states.PUBLISHED:
            packages.withdraw(copy, actor=SYSTEM, reason=reason)


def tell_catalogue(peer: Peer, put: list[RemoteRelease], gone: list[RemoteRelease]) -> None:
    """Have the catalogue show offers as they are now; `gone` are no longer offered."""
    catalogue = ports.first(ports.catalogues)
    if catalogue is None:
        return
    shown = [row for row in put if shows(row)]
    hidden = [row for row in put if not shows(row)]
    if shown:
        # The releases of one application together: what is listed of it is then decided once, not once for each batch.
        catalogue.put(sorted((entry_of(peer, row) for row in shown), key=lambda entry: entry.app_key))
    if hidden or gone:
        catalogue.drop([key_of(peer, row) for row in (*hidden, *gone)])


def shows(row: RemoteRelease) -> bool:
    """Whether the catalogue shows the offer itself: it may be fetched, and our copy is not shown in its place."""
    copied = row.package is not None and row.package.state in states.LISTED
    return row.state in feed.OFFERED and row.problem is None and not copied


def key_of(peer: Peer, row: RemoteRelease) -> str:
    """Return the key of an offer in the catalogue."""
    return f"remote:{peer.store_id}:{row.ref}"


def entry_of(peer: Peer, row: RemoteRelease) -> Entry:
    """Return an offer as the catalogue shows it."""
    said = row.metadata
    several: Any = {name: tuple(said.get(name, ())) for name in ("keywords", "architectures", "services", "licences")}
    return Entry(
        key=key_of(peer, row),
        app_key=f"{peer.store_id}/{said['owner']}/{row.provider}/{row.name}",
        name=row.name,
        provider=row.provider,
        version=row.version,
        published_at=datetime.fromisoformat(said["published"]),
        state=row.state,
        package_id=row.package_id,
        origin=peer.store_id,
        origin_name=peer.name,
        origin_ref=row.ref,
        description=said.get("description", ""),
        category=said.get("category", ""),
        certification=said.get("certification", ""),
        signature=said.get("signature", "unsigned"),
        sha256=row.sha256,
        size=row.size,
        facts={"via": said.get("via", [])},
        **several,
    )
