"""Stores of the original EdgeGallery: read only, and never trusted.

They sign nothing and know no partner, so nothing of what they say is proven: what is pulled from them is unverified,
passes the ordinary check of packages like an upload, and is published by a person or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.federation import meeting, reaching, services, wire
from appstore.federation.models import Peer, PeerSync, RemoteRelease
from appstore.federation.models_peers import Acquaintance
from appstore.packages import blobs
from appstore.packages import services as packages
from appstore.packages.models import Blob, Package
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Missing, Rejected, TimedOut
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

KIND: Final = "edgegallery"
LIST: Final = "edgegallery.list"
PULL: Final = "edgegallery.pull"
#: Bounds of a listing: of one page, of all of it, and of the time it may take.
PAGE: Final = 100
PAGE_BYTES: Final = 4 << 20
MOST_ROWS: Final = 10_000
SECONDS: Final = 120.0
ICON_BYTES: Final = 1 << 20
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_ICONS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Row:
    """One package of the list, as far as it can be shown."""

    ref: str
    name: str
    provider: str
    version: str
    metadata: dict[str, str]


def add(*, url: str, name: str, actor: Actor) -> Peer:
    """Follow a store of EdgeGallery by its public list; it is asked once before, so that a wrong address is seen now."""
    organisation = meeting.manager(actor)
    url = reaching.normal_url(url)
    with wire.plain(name or url, url) as client:
        next(_pages(client), None)
    store_id = hashlib.sha256(f"{KIND}:{url}".encode()).hexdigest()
    with transaction.atomic():
        facts: dict[str, Any] = {
            "organisation": organisation,
            "public_pem": "",
            "name": name.strip()[:120] or url,
            "url": url,
            "kind": KIND,
        }
        peer, fresh = Peer.objects.get_or_create(store_id=store_id, defaults={**facts, "state": Peer.State.ACTIVE})
        if not fresh and peer.state != Peer.State.ENDED:
            raise Conflict(say("That store is followed already, as {name}.", name=peer.name), field="url")
        peer.state, peer.name = Peer.State.ACTIVE, facts["name"]
        peer.save(update_fields=["state", "name"])
        Acquaintance.objects.update_or_create(peer=peer, defaults={"reason": ""})
        audit.record(actor, "peer.follow", peer, url=url, kind=KIND)
        request_list(peer, actor=actor)
    return peer


def request_list(peer: Peer, *, actor: Actor) -> Operation:
    """Ask a worker to read the list of that store now."""
    _followed(peer)
    return operations.request(
        LIST, f"list-of:{peer.pk}", organisation=peer.organisation_id, actor=actor, peer=str(peer.pk)
    )


def request_pull(offer: RemoteRelease, *, actor: Actor) -> Operation:
    """Ask a worker to pull one package."""
    meeting.manager(actor)
    _followed(offer.peer)
    if offer.package_id:
        raise Conflict(say("This package is here already."), package=str(offer.package_id))
    organisation = offer.peer.organisation_id
    return operations.request(PULL, f"offer:{offer.pk}", organisation=organisation, actor=actor, offer=str(offer.pk))


def refresh(peer: Peer) -> int:
    """Read the whole list and take it over in one transaction; return how many packages it has.

    What is no longer on it is marked as withdrawn, only after a whole list; what fails half way changes nothing.
    """
    _followed(peer)
    with wire.plain(peer.name, peer.url) as client:
        try:
            rows = listing(client)
        except BreakwaterError as error:
            services.note_problem(peer, error)
            raise
    now = timezone.now()
    with transaction.atomic():
        present = {row.ref: row for row in peer.offers.select_for_update()}
        fresh = [
            RemoteRelease(peer=peer, sha256="", size=0, **_columns(row))
            for ref, row in rows.items()
            if ref not in present
        ]
        RemoteRelease.objects.bulk_create(fresh, batch_size=500)
        changed = []
        for ref, offer in present.items():
            wanted: dict[str, Any] = _columns(rows[ref]) if ref in rows else {"state": "withdrawn"}
            # An icon that was fetched is kept, with its kind.
            if "metadata" in wanted:
                wanted["metadata"] = {
                    **{k: v for k, v in offer.metadata.items() if k in ("icon", "icon_type")},
                    **wanted["metadata"],
                }
            if any(getattr(offer, name) != value for name, value in wanted.items()):
                for name, value in wanted.items():
                    setattr(offer, name, value)
                changed.append(offer)
        RemoteRelease.objects.bulk_update(changed, ["name", "provider", "version", "state", "metadata"], batch_size=200)
        PeerSync.objects.update_or_create(
            peer=peer, defaults={"synced_at": now, "full_at": now, "problem": None, "failures": 0}
        )
        Peer.objects.filter(pk=peer.pk).update(heard_at=now, problem=None)
    return len(rows)


def listing(client: wire.PlainClient, *, seconds: float = SECONDS) -> dict[str, Row]:
    """Return every package of the list by its id; `Rejected` for a list without end, `TimedOut` for a slow one."""
    found: dict[str, Row] = {}
    end = time.monotonic() + seconds
    for page in _pages(client):
        before = len(found)
        for each in page:
            row = _row(each)
            if row is not None:
                found.setdefault(row.ref, row)
        if len(found) > MOST_ROWS:
            raise Rejected(
                say(
                    "{name} lists more than the {most_rows} packages that are taken.",
                    name=client.name,
                    most_rows=MOST_ROWS,
                )
            )
        if len(found) == before:
            # The same again, or nothing that can be read: a list that goes on like this has no end.
            break
        if time.monotonic() > end:
            raise TimedOut(
                say(
                    "The list of {name} took more than {seconds} seconds.",
                    name=client.name,
                    seconds=format(seconds, ".0f"),
                )
            )
    return found


def pull(offer: RemoteRelease) -> Package:
    """Fetch a package into the store, and have it checked like an upload; return the draft.

    `Rejected` when what comes is no archive or larger than this store takes; then nothing of it is kept.
    """
    peer = offer.peer
    _followed(peer)
    path = f"/mec/appstore/v1/packages/{quote(offer.ref, safe='')}/action"
    question = urlencode({"targetAppstore": settings.STORE_NAME})
    with wire.plain(peer.name, peer.url) as client, blobs.incoming(settings.MAX_PACKAGE_BYTES) as file:
        with client.stream(
            f"{path}/download-package?{question}", {"Accept": "*/*"}, most=settings.MAX_PACKAGE_BYTES
        ) as answer:
            head = b""
            for chunk in answer:
                if len(head) < 4:
                    head += chunk[:4]
                    if len(head) >= 4 and not head.startswith(b"PK\x03\x04"):
                        raise Rejected(
                            say(
                                "{name} sent no package but something else (a page with an error, perhaps).",
                                name=peer.name,
                            )
                        )
                file.write(chunk)
        if len(head) < 4:
            raise Rejected(say("{name} sent an empty file.", name=peer.name))
        sha256, size = file.keep()
        icon = _icon(client, f"{path}/download-icon")
    return _register(offer, sha256, size, icon)


@transaction.atomic
def _register(offer: RemoteRelease, sha256: str, size: int, icon: tuple[str, str] | None) -> Package:
    peer = offer.peer
    held = [(sha256, size), *([(icon[0], blobs.path_of(icon[0]).stat().st_size)] if icon else [])]
    Blob.objects.bulk_create([Blob(sha256=digest, size=each) for digest, each in held], ignore_conflicts=True)
    try:
        with transaction.atomic():
            package = Package.objects.create(
                organisation_id=peer.organisation_id,
                filename=packages.clean_name(f"{offer.name}-{offer.version}.csar"),
                sha256=sha256,
                size=size,
                origin=peer.store_id,
                origin_ref=offer.ref,
            )
    except IntegrityError:
        package = Package.objects.get(organisation_id=peer.organisation_id, origin=peer.store_id, sha256=sha256)
    else:
        package.blobs.set(Blob.objects.filter(pk__in=[digest for digest, _ in held]))
        audit.record(SYSTEM, "package.pull", package, sha256=sha256, size=size, origin=peer.url)
        packages.request_check(package)
    offer.package, offer.sha256, offer.size, offer.problem = package, sha256, size, None
    if icon:
        offer.metadata = {**offer.metadata, "icon": icon[0], "icon_type": icon[1]}
    offer.save()
    return package


def _pages(client: wire.PlainClient) -> Iterator[list[Any]]:
    """Yield the list page by page: by the paged endpoint, or whole by the older one."""
    offset = 0
    while True:
        asked = urlencode(
            {"limit": PAGE, "offset": offset, "appName": "", "sortType": "desc", "sortItem": "createTime"}
        )
        try:
            page = _rows(client, f"/mec/appstore/v2/packages/pullable?{asked}")
        except Rejected as refusal:
            if offset or refusal.context.get("remote_status") not in (400, 404, 405):
                raise
            yield _rows(client, "/mec/appstore/v1/packages/pullable")
            return
        yield page
        # Some versions answer the whole list whatever was asked for.
        if len(page) != PAGE:
            return
        offset += PAGE


def _rows(client: wire.PlainClient, path: str) -> list[Any]:
    answer = client.get(path, most=PAGE_BYTES).json()
    rows = answer.get("results") if isinstance(answer, Mapping) else answer
    if not isinstance(rows, list):
        raise Rejected(say("{name} does not answer like a store of EdgeGallery.", name=client.name))
    return rows


def _row(value: Any) -> Row | None:
    """Return what can be shown of one entry; None when it has no id or name that could be used."""
    if not isinstance(value, Mapping):
        return None
    ref, name = value.get("packageId"), _text(value.get("name"), 128)
    if not isinstance(ref, str) or not _ID.fullmatch(ref) or not name:
        return None
    known = {"type": "category", "industry": "industry", "affinity": "architecture", "shortDesc": "description"}
    metadata = {ours: _text(value.get(theirs), 500) for theirs, ours in known.items()}
    return Row(ref, name, _text(value.get("provider"), 128), _text(value.get("version"), 64), metadata)


def _columns(row: Row) -> dict[str, Any]:
    return {
        "ref": row.ref, "name": row.name, "provider": row.provider, "version": row.version, "state": "published",
        "metadata": dict(row.metadata),
    }  # fmt: skip


def _text(value: Any, longest: int) -> str:
    return "".join(each for each in str(value if value is not None else "") if each.isprintable())[:longest].strip()


def _icon(client: wire.PlainClient, path: str) -> tuple[str, str] | None:
    """Fetch the icon, which is decoration: without one, or with something else in its place, the package is as good."""
    with contextlib.suppress(BreakwaterError):
        content = client.get(path, {"Accept": "image/*"}, most=ICON_BYTES).content
        kind = next((kind for magic, kind in _ICONS.items() if content.startswith(magic)), None)
        if kind:
            return blobs.store([content])[0], kind
    return None


def _followed(peer: Peer) -> None:
    if peer.kind != KIND:
        raise Conflict(say("That is no store of EdgeGallery."))
    if peer.state != Peer.State.ACTIVE:
        raise Conflict(say("{name} is {state}.", name=peer.name, state=peer.state))


@operations.handles(LIST, lease=180, max_attempts=3)
def _list(operation: Operation) -> None:
    peer = Peer.objects.filter(pk=operation.payload["peer"]).first()
    if peer is None:
        raise Missing(say("The store is gone."))
    count = refresh(peer)
    said = say("1 package on the list") if count == 1 else say("{count} packages on the list", count=count)
    operation.progress(100, said)


@operations.handles(PULL, max_attempts=3)
def _pull(operation: Operation) -> None:
    offer = RemoteRelease.objects.select_related("peer").filter(pk=operation.payload["offer"]).first()
    if offer is None:
        raise Missing(say("That store lists this package no more."))
    try:
        package = pull(offer)
    except BreakwaterError as error:
        RemoteRelease.objects.filter(pk=offer.pk).update(problem=error.problem())
        raise
    operation.progress(100, say("{filename} is being checked", filename=package.filename))
