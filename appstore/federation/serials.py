"""Building the feeds: what changed since the last serial, the files of the next one, and the metadata that sign them.

All of it is done by one operation when releases change, never while somebody asks. Partners with equal terms share the
files. Diffs that no longer lead anywhere are named no more at once and removed an hour later, for those who just read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from appstore.federation import feed, offers, roots, trustroot
from appstore.federation.feed import Release
from appstore.federation.models import Peer
from appstore.federation.models_feed import (
    FeedAudience,
    FeedChange,
    FeedFile,
    FeedMetadata,
    FeedOffer,
    FeedPartner,
)
from appstore.keys import services as keys
from appstore.packages.models import Package
from core.errors import Conflict
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

BUILD: Final = "federation.feed"
_TARGET: Final = "feed"
_BATCH: Final = 500
#: Seconds in which changes gather before a serial is made of them.
SETTLE: Final = 10.0
#: Files that are named no more are kept for those who are in the midst of a sync.
_GRACE: Final = timedelta(hours=1)
#: Versions of metadata that are kept, for the same reason.
_KEPT: Final = 4
#: All diffs together may be as large as half of the index, or this many bytes.
_SMALL_DIFFS: Final = 256 << 10


@dataclass(slots=True)
class Built:
    """What a build did: serial by audience that changed, and whether anything was signed anew."""

    serials: dict[str, int] = field(default_factory=dict)
    signed: bool = False


def request_build(*, settle: float = SETTLE) -> Operation:
    """Ask for the feeds to be brought up to date soon; asking often is asking once."""
    return operations.request(BUILD, _TARGET, run_after=timezone.now() + timedelta(seconds=settle))


def note_change(package: Package) -> None:
    """Remember that the feeds have to look at a package, and ask for a build. Without partners nothing is noted."""
    if not Peer.objects.exists():
        return
    _, fresh = FeedChange.objects.get_or_create(package=package.pk)
    if not fresh:
        FeedChange.objects.filter(package=package.pk).update(count=F("count") + 1)
    request_build()


def build(now: datetime | None = None) -> Built:
    """Bring audiences, feeds and metadata up to date. May run again at any time: what is up to date stays as it is."""
    now = now or timezone.now()
    noted = dict(FeedChange.objects.values_list("package", "count"))
    moved = _assign(now)
    built = Built()
    decide = offers.Offers()
    changed = list(offers.candidates().filter(pk__in=noted)) if len(noted) < 500 else None
    for audience in FeedAudience.objects.filter(partners__isnull=False).distinct():
        serial = _advance(audience, decide, noted, changed, now)
        if serial:
            built.serials[audience.pk] = serial
    built.signed = sign(now, moved or bool(built.serials))
    with transaction.atomic():
        # What was noted again meanwhile has another count, and stays.
        by_count: dict[int, list[Any]] = defaultdict(list)
        for package, count in noted.items():
            by_count[count].append(package)
        for count, packages in by_count.items():
            for start in range(0, len(packages), _BATCH):
                FeedChange.objects.filter(package__in=packages[start : start + _BATCH], count=count).delete()
        FeedFile.objects.filter(retired_at__lt=now - _GRACE).delete()
    return built


@transaction.atomic
def _assign(now: datetime) -> bool:
    """Put each peer into the audience of its present terms; returns whether one moved."""
    moved = False
    known = {row.peer_id: row for row in FeedPartner.objects.select_for_update()}
    for peer in Peer.objects.filter(kind="breakwater"):
        effective = offers.effective(peer)
        row = known.get(peer.pk)
        if effective is None:
            if row is not None:
                row.delete()
                moved = True
            continue
        audience, _ = FeedAudience.objects.get_or_create(
            pk=feed.audience_id(effective), defaults={"effective": effective}
        )
        if row is None:
            # After a pause the number goes on: an old ticket must not look like the newest.
            FeedPartner.objects.create(peer=peer, audience=audience, number=int(now.timestamp()))
        elif row.audience_id != audience.pk:
            FeedPartner.objects.filter(pk=row.pk).update(audience=audience, number=F("number") + 1)
        else:
            continue
        moved = True
    return moved


def _advance(
    audience: FeedAudience,
    decide: offers.Offers,
    noted: Mapping[Any, int],
    changed: list[Package] | None,
    now: datetime,
) -> int:
    """Make the next serial of an audience when something changed for it; returns the serial, 0 when nothing did."""
    index = present_index(audience)
    looked_at = {str(pk) for pk in noted}
    if audience.serial == 0 or changed is None:
        packages: Iterable[Package] = offers.candidates()
        looked_at |= set(index)
    else:
        packages = changed
    said: dict[str, Release | None] = dict.fromkeys(ref for ref in looked_at if ref in index)
    said |= decide.said(audience.effective, packages, index)
    after = {ref: release for ref, release in index.items() if ref not in said}
    after |= {ref: release for ref, release in said.items() if release is not None}
    patch = feed.difference(index, after)
    # An entry has an end, too: without any change there is a serial of no change now and then.
    old = audience.built_at is not None and now - audience.built_at > trustroot.LIFETIMES[trustroot.TARGETS] / 2
    if not patch and audience.serial and not old:
        return 0
    serial = audience.serial + 1
    _write(audience, serial, after, patch, now)
    return serial


def present_index(audience: FeedAudience) -> dict[str, Release]:
    """Return what the present feed of the audience says, by reference."""
    if not audience.serial:
        return {}
    file = FeedFile.objects.filter(audience=audience, name=f"index-{audience.serial}.json.gz").first()
    if file is None:
        raise Conflict(
            say("The index of serial {serial} is gone; make the feed anew.", serial=audience.serial),
            audience=audience.pk,
        )
    return feed.parsed(feed.unpack(bytes(file.content)))["releases"]  # type: ignore[no-any-return]


@transaction.atomic
def _write(audience: FeedAudience, serial: int, index: Mapping[str, Release], patch: feed.Patch, now: datetime) -> None:
    locked = FeedAudience.objects.select_for_update().get(pk=audience.pk)
    if locked.serial != serial - 1:
        raise Conflict(say("Another build made this serial meanwhile."), audience=audience.pk)
    living = {(f.step, f.serial): f for f in FeedFile.objects.filter(audience=audience, step__gte=0, retired_at=None)}
    patches = {span: feed.parsed(feed.unpack(bytes(f.content)))["releases"] for span, f in living.items()}
    full = _keep(audience, f"index-{serial}.json.gz", serial, -1, feed.index_bytes(serial, index))
    named: dict[int, FeedFile] = {}
    made = feed.extended(patches, serial, patch) if serial > 1 else {}
    fresh = {
        span: _keep(
            audience,
            f"diff-{span[0]}-{span[1]}.json.gz",
            serial=span[1],
            step=span[0],
            data=feed.diff_bytes(span[1], p),
        )
        for span, p in made.items()
    }
    at_hand = living | fresh
    size, most = 0, max(full.size // 2, _SMALL_DIFFS)
    for start, end in sorted(feed.steps(serial).items(), reverse=True):
        file = at_hand.get((start, end))
        if file is None:
            continue
        if size + file.size > most:
            break  # who stands further back takes the full index
        named[start] = file
        size += file.size
    entry = feed.Entry(
        audience=audience.pk,
        serial=serial,
        time=now.isoformat(timespec="seconds"),
        expires=(now + trustroot.LIFETIMES[trustroot.TARGETS]).isoformat(timespec="seconds"),
        full=_file(full),
        diffs={start: feed.Step(file.serial, _file(file)) for start, file in named.items()},
    )
    door = _keep(audience, "entry.json.gz", serial, -1, entry.as_bytes())
    used = [full.pk, door.pk, *(file.pk for file in named.values())]
    FeedFile.objects.filter(audience=audience, retired_at=None).exclude(pk__in=used).update(retired_at=now)
    _note_offers(audience, index, patch)
    locked.serial, locked.built_at, locked.releases = serial, now, len(index)
    locked.save(update_fields=["serial", "built_at", "releases"])
    audience.serial = serial


def _keep(audience: FeedAudience, name: str, serial: int, step: int, data: bytes) -> FeedFile:
    row, _ = FeedFile.objects.update_or_create(
        audience=audience,
        name=name,
        sha256=feed.digest(data),
        defaults={"serial": serial, "step": step, "size": len(data), "content": data, "retired_at": None},
    )
    return row


def _file(row: FeedFile) -> feed.File:
    return feed.File(f"{row.audience_id}/{row.name}", row.sha256, row.size)


def _note_offers(audience: FeedAudience, index: Mapping[str, Release], patch: feed.Patch) -> None:
    gone = [ref for ref in patch if ref not in index]
    for start in range(0, len(gone), 500):
        FeedOffer.objects.filter(audience=audience, package__in=gone[start : start + 500]).delete()
    rows = [
        FeedOffer(
            audience=audience, package=ref, sha256=index[ref]["sha256"], listed=index[ref]["state"] in feed.OFFERED
        )
        for ref in patch
        if ref in index
    ]
    FeedOffer.objects.bulk_create(
        rows,
        batch_size=500,
        update_conflicts=True,
        unique_fields=["audience", "package"],
        update_fields=["sha256", "listed"],
    )


# Signing --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def sign(now: datetime, anew: bool = False) -> bool:
    """Sign what changed and what comes near its end; returns whether the timestamp is a new one.

    `anew` asks for a new timestamp in any case, so that partners look. The root is the operator's (see `roots`).
    """
    roots.present()
    before = {role: latest(role) for role in _roles()}
    offers_key = keys.signer(roots.OFFERS)
    offers_public = trustroot.public_of(offers_key)
    audiences = list(FeedAudience.objects.filter(serial__gt=0))
    top = before[trustroot.TARGETS]
    fresh = False
    root = trustroot.read_root(roots.present().content.encode()).signed

    def signed_anew(role: str) -> bool:
        """Whether a new root took the key away with which the present metadata are signed."""
        row = before[role]
        return row is not None and not (_signers(row) & set(root.roles[role].keyids))

    wanted = {audience.pk: offers_public.keyid for audience in audiences}
    if top is None or _ending(top, now) or signed_anew(trustroot.TARGETS) or _delegated(top) != wanted:
        data = trustroot.make_targets(
            dict.fromkeys((a.pk for a in audiences), offers_public),
            version=_next(top),
            now=now,
            key=roots.signing_key(trustroot.TARGETS),
        )
        before[trustroot.TARGETS], fresh = _publish(trustroot.TARGETS, data, top, now), True
        resign = True
    else:
        resign = False
    for audience in audiences:
        role = trustroot.role_of(audience.pk)
        present = before.get(role)
        files = {
            f"{audience.pk}/{name}": (size, sha256)
            # The entry names the diffs by their digests.
            for name, size, sha256 in audience.files.filter(retired_at=None, step=-1).values_list(
                "name", "size", "sha256"
            )
        }
        if present is None or resign or _ending(present, now) or _targets_of(present) != files:
            data = trustroot.make_audience(files, version=_next(present), now=now, key=offers_key)
            before[role], fresh = _publish(role, data, present, now), True
    snapshot = before[trustroot.SNAPSHOT]
    if fresh or snapshot is None or _ending(snapshot, now) or signed_anew(trustroot.SNAPSHOT):
        contents = {
            role: (row.version, row.content.encode())
            for role, row in before.items()
            if row is not None and role not in (trustroot.SNAPSHOT, trustroot.TIMESTAMP)
        }
        data = trustroot.make_snapshot(
            contents, version=_next(snapshot), now=now, key=roots.signing_key(trustroot.SNAPSHOT)
        )
        snapshot, anew = _publish(trustroot.SNAPSHOT, data, snapshot, now), True
    stamp = before[trustroot.TIMESTAMP]
    if not anew and stamp is not None and not _ending(stamp, now) and not signed_anew(trustroot.TIMESTAMP):
        return False
    data = trustroot.make_timestamp(
        (snapshot.version, snapshot.content.encode()),
        version=_next(stamp),
        now=now,
        key=roots.signing_key(trustroot.TIMESTAMP),
    )
    _publish(trustroot.TIMESTAMP, data, stamp, now)
    return True


def _roles() -> list[str]:
    # Every audience that ever was: a snapshot from which one is missing would be refused as rolled back.
    known = (
        FeedMetadata.objects.filter(role__startswith="audience-").order_by().values_list("role", flat=True).distinct()
    )
    return [trustroot.TARGETS, trustroot.SNAPSHOT, trustroot.TIMESTAMP, *known]


def latest(role: str) -> FeedMetadata | None:
    """Return the present metadata of a role of ours."""
    return FeedMetadata.objects.filter(role=role).order_by("-version").first()


def _next(row: FeedMetadata | None) -> int:
    return row.version + 1 if row else 1


def _publish(role: str, data: bytes, before: FeedMetadata | None, now: datetime) -> FeedMetadata:
    expires = datetime.fromisoformat(feed.parsed(data)["signed"]["expires"])
    row = FeedMetadata.objects.create(role=role, version=_next(before), content=data.decode(), expires_at=expires)
    FeedMetadata.objects.filter(role=role, version__lte=row.version - _KEPT).delete()
    return row


def _ending(row: FeedMetadata, now: datetime) -> bool:
    """Whether less than half of its time is left."""
    role = row.role if row.role in trustroot.LIFETIMES else trustroot.TARGETS
    return row.expires_at - now < trustroot.LIFETIMES[role] / 2


def _signers(row: FeedMetadata) -> set[str]:
    return {each["keyid"] for each in feed.parsed(row.content.encode())["signatures"]}


def _delegated(row: FeedMetadata) -> dict[str, str]:
    roles = (feed.parsed(row.content.encode())["signed"].get("delegations") or {}).get("roles") or []
    return {role["name"].removeprefix("audience-"): role["keyids"][0] for role in roles}


def _targets_of(row: FeedMetadata) -> dict[str, tuple[int, str]]:
    targets = feed.parsed(row.content.encode())["signed"]["targets"]
    return {path: (each["length"], each["hashes"]["sha256"]) for path, each in targets.items()}


def ticket(partner: FeedPartner, store_id: str) -> dict[str, Any]:
    """Return what a partner has to know to follow us: its audience and our present root, to be signed by the store."""
    root = roots.present()
    return {
        "format": "breakwater-ticket/1",
        "store": store_id,
        "for": partner.peer.store_id,
        "audience": partner.audience_id,
        "number": partner.number,
        "root": {"version": root.version, "sha256": feed.digest(root.content.encode())},
    }
