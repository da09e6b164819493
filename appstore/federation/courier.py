"""The feed on a stick, for partners without a line: one signed file there, a receipt back.

A bag is a tar of exactly what the partner would have fetched, and is read through the same walk and the same imports: it ends
in the same state. It is for one store, has a number that only grows, and an end; what is in it is signed by its index.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appstore.federation import feed, imports, offers, ports, serials, sync, trustroot, walk
from appstore.federation.feed import Refused
from appstore.federation.models import Peer, RemoteRelease
from appstore.federation.models_feed import (
    CourierBag,
    FeedFile,
    FeedMetadata,
    FeedOffer,
    FeedPartner,
    FeedRoot,
)
from appstore.federation.transfer import Answer
from appstore.keys import services as keys
from appstore.packages import blobs
from appstore.packages.models import Package
from core import dsse
from core.accounts.access import Actor
from core.archives import Archive, Limits, open_archive
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid, Missing
from core.words import say

BAG: Final = "application/vnd.breakwater.courier+json"
RECEIPT: Final = "application/vnd.breakwater.receipt+json"
_FORMAT: Final = "breakwater-courier/1"
_RECEIPT_FORMAT: Final = "breakwater-receipt/1"
_INDEX: Final = "index.dsse"
#: For how long a bag may be under way.
LIFETIME: Final = timedelta(days=30)
#: How far the clocks of two stores may be apart.
_SKEW: Final = timedelta(minutes=10)
#: Files in one bag; more packages than that go with the next.
_MOST_FILES: Final = 20_000
_CHUNK: Final = 1 << 20

Content = bytes | Path


# Packing --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def export(peer: Peer, target: Path, *, actor: Actor, now: datetime | None = None) -> CourierBag:
    """Write a bag for a partner with everything that is new since its last receipt; return its row.

    `Conflict` when nothing is offered to it. The file is there whole or not at all.
    """
    actor.require("federation.manage", peer.organisation_id)
    now = now or timezone.now()
    serials.build(now)
    partner = FeedPartner.objects.select_related("peer", "audience").filter(peer=peer).first()
    if partner is None:
        raise Conflict(say("There is no agreement in force by which we offer {peer} anything.", peer=peer))
    bags = CourierBag.objects.select_for_update().filter(peer=peer, incoming=False)
    last = bags.order_by("-number").first()
    confirmed = bags.exclude(receipt=None).order_by("-number").first()
    receipt = confirmed.receipt if confirmed and confirmed.receipt else {}
    number = last.number + 1 if last else 1
    files = dict(_documents(partner, receipt)) | dict(_packages(partner, receipt))
    said = {
        "format": _FORMAT,
        "from": sync.our_id(),
        "to": peer.store_id,
        "number": number,
        "created": now.isoformat(timespec="seconds"),
        "expires": (now + LIFETIME).isoformat(timespec="seconds"),
        "since": receipt.get("number", 0),
        "files": {path: _described(content) for path, content in files.items()},
    }
    payload = feed.packed_json(said)
    envelope = feed.packed_json(dsse.sign(BAG, payload, keys.signer(keys.STORE)))
    _write_tar(target, {_INDEX: envelope, **files})
    bag = CourierBag.objects.create(peer=peer, incoming=False, number=number, sha256=feed.digest(payload))
    audit.record(actor, "courier.export", peer, number=number, files=len(files))
    return bag


def _documents(partner: FeedPartner, receipt: Mapping[str, Any]) -> Iterator[tuple[str, Content]]:
    """Yield what a walk of the partner will ask for, by path."""
    audience = partner.audience
    ticket = feed.packed_json(serials.ticket(partner, sync.our_id()))
    yield "feed", feed.packed_json(dsse.sign(walk.TICKET, ticket, keys.signer(keys.STORE)))
    gives = ports.first(ports.recall_lists)
    recalled = gives() if gives else None
    if recalled is not None:
        yield "recalls", feed.packed_json(recalled)
    revoked = ports.first(ports.revocation_lists)
    if revoked is not None:
        yield "revocations", feed.packed_json({"lists": revoked()[:100]})
    present = FeedRoot.objects.order_by("-version").values_list("version", flat=True)[0]
    for root in FeedRoot.objects.filter(version__gte=min(int(receipt.get("root", present)), present)):
        yield f"tuf/{root.version}.root.json", root.content.encode()
    for role in (trustroot.TIMESTAMP, trustroot.SNAPSHOT, trustroot.TARGETS, trustroot.role_of(audience.pk)):
        yield _metadata(serials.latest(role))
    named = FeedFile.objects.filter(audience=audience, retired_at=None)
    door = named.get(name="entry.json.gz")
    entry = feed.Entry.of(bytes(door.content))
    same = receipt.get("audience") == audience.pk
    held = int(receipt.get("serial", 0)) if same else 0
    steps = feed.chain(entry, held) if held else None
    paths = [entry.full.path] if steps is None else [step.file.path for _, step in steps]
    wanted = [door, *named.filter(name__in=[path.rpartition("/")[2] for path in paths])]
    for file in wanted:
        yield f"targets/{audience.pk}/{file.sha256}.{file.name}", bytes(file.content)


def _metadata(row: FeedMetadata | None) -> tuple[str, Content]:
    if row is None:
        raise Conflict(say("The feed is not signed yet; try again in a minute."))
    if row.role == trustroot.TIMESTAMP:
        return "tuf/timestamp.json", row.content.encode()
    if row.role == trustroot.SNAPSHOT:
        return f"tuf/{row.version}.snapshot.json", row.content.encode()
    return f"tuf/{row.version}.{row.role}.json.gz", feed.packed(row.content.encode())


def _packages(partner: FeedPartner, receipt: Mapping[str, Any]) -> Iterator[tuple[str, Content]]:
    """Yield the packages that the partner has not confirmed, with their certificates."""
    had = set(receipt.get("have", ()))
    listed = FeedOffer.objects.filter(audience=partner.audience, listed=True).order_by("pk")
    count = 0
    for ref, sha256 in listed.values_list("package", "sha256"):
        if sha256 in had or count >= _MOST_FILES // 2:
            continue
        package = Package.objects.filter(pk=ref).first()
        path = blobs.path_of(sha256)
        if package is None or not path.exists():
            continue
        count += 1
        yield f"blobs/{sha256}", path
        for digest, data in offers.certificates(package):
            yield f"certificates/{ref}/{digest}", data


def _described(content: Content) -> dict[str, Any]:
    if isinstance(content, bytes):
        return {"sha256": feed.digest(content), "size": len(content)}
    return {"sha256": content.name, "size": content.stat().st_size}


def _write_tar(target: Path, files: Mapping[str, Content]) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.mode, member.mtime = 0o644, 0
                if isinstance(content, bytes):
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                else:
                    member.size = content.stat().st_size
                    with content.open("rb") as file:
                        tar.addfile(member, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


# Unpacking ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Unpacked:
    """What came of a bag: the sync, our copies by reference, and why others were not taken."""

    number: int
    done: sync.Done
    packages: dict[str, Package] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def take(path: Path, *, actor: Actor, now: datetime | None = None) -> Unpacked:
    """Take in a bag. Everything in it is verified before anything is changed.

    `Refused` names the rule: `signature`, `foreign` (for another store, or of one that we do not know), `replayed`,
    `expired`, `changed` (a file is missing, too many, or another), and those of a walk.
    """
    now = now or timezone.now()
    limits = Limits(members=_MOST_FILES + 100, member_bytes=settings.MAX_PACKAGE_BYTES, total_bytes=256 << 30, passes=4)
    with open_archive(path, limits) as archive:
        peer, said, sha256 = _opened(archive, now)
        actor.require("federation.manage", peer.organisation_id)
        _check_order(peer, said["number"])
        _check_files(archive, said["files"])
        link = _BagLink(archive)
        try:
            # News of the day on which it was packed: while under way it grew older, within the end that its index has.
            done = sync.sync(peer, link, now=now, judged_at=datetime.fromisoformat(said["created"]))
        except Missing as gap:
            raise Refused(
                say("The bag begins later than we are: send the partner our receipt, and ask for the next one"),
                reason="gap",
                **gap.context,
            ) from None
        unpacked = Unpacked(said["number"], done)
        _import_all(peer, link, said["files"], unpacked)
        CourierBag.objects.create(peer=peer, incoming=True, number=said["number"], sha256=sha256)
        audit.record(actor, "courier.import", peer, number=said["number"], packages=len(unpacked.packages))
    return unpacked


def _opened(archive: Archive, now: datetime) -> tuple[Peer, dict[str, Any], str]:
    """Verify the index of a bag; returns whose it is, what it says, and its digest."""
    if not archive.sound or _INDEX not in archive:
        worst = archive.findings[0].message if archive.findings else say("there is no {index} in it", index=_INDEX)
        raise Refused(say("That is no bag of a courier: {worst}", worst=worst), reason="changed")
    peer, said, payload = _statement(feed.parsed(archive.read(_INDEX, at_most=dsse.LONGEST * 2)), BAG, _FORMAT)
    created, expires = (_moment(said, name) for name in ("created", "expires"))
    if created > now + _SKEW:
        raise Refused(say("The bag was packed in the future; compare the clocks of both stores"), reason="expired")
    if expires < now or expires > created + LIFETIME + _SKEW:
        raise Refused(
            say("The bag was good until {expires} UTC; ask for a new one", expires=format(expires, "%Y-%m-%d %H:%M")),
            reason="expired",
        )
    if not isinstance(said.get("files"), dict):
        raise Refused(say("The index of the bag lists no files"), reason="garbage")
    return peer, said, feed.digest(payload)


def _statement(envelope: Mapping[str, Any], kind: str, form: str) -> tuple[Peer, dict[str, Any], bytes]:
    """Verify what a partner signed for us: by the key of the store that it names, of which we know the fingerprint."""
    peers = {peer.store_id: peer for peer in Peer.objects.filter(state=Peer.State.ACTIVE, kind="breakwater")}
    try:
        payload, signer = dsse.verify(envelope, kind, [dsse.load_public(peer.public_pem) for peer in peers.values()])
        said = json.loads(payload)
    except Invalid as problem:
        raise Refused(
            say("It is not signed by an active partner: {detail}", detail=problem.detail), reason="signature"
        ) from None
    except (ValueError, RecursionError):
        raise Refused(say("It cannot be read"), reason="garbage") from None
    if not isinstance(said, dict) or said.get("format") != form:
        raise Refused(say("It is of a kind that we do not know"), reason="unknown-format")
    if said.get("from") != signer or signer not in peers or said.get("to") != sync.our_id():
        raise Refused(say("It is for another store, or of another store than it says"), reason="foreign")
    number = said.get("number")
    if type(number) is not int or not 0 < number < 2**31:
        raise Refused(say("It has no number"), reason="garbage")
    return peers[signer], said, payload


def _moment(said: Mapping[str, Any], name: str) -> datetime:
    moment: datetime | None
    try:
        moment = datetime.fromisoformat(str(said.get(name)))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(say("The bag does not say when it was {name}", name=name), reason="garbage")
    return moment


def _check_order(peer: Peer, number: int) -> None:
    last = (
        CourierBag.objects.filter(peer=peer, incoming=True).order_by("-number").values_list("number", flat=True).first()
    )
    if last is not None and number <= last:
        raise Refused(
            say("Bag {number} was taken in before, or is older than bag {last}", number=number, last=last),
            reason="replayed",
        )


def _check_files(archive: Archive, listed: Mapping[str, Any]) -> None:
    """`Refused` unless the bag holds exactly the files of its index; all of it is read once for that."""
    found = set(archive.names()) - {_INDEX}
    if found != set(listed):
        odd = sorted(found ^ set(listed))[0]
        raise Refused(say("The bag and its index do not agree on {odd}", odd=odd[:100]), reason="changed")
    for name, facts in listed.items():
        if not isinstance(facts, dict) or archive.member(name).size != facts.get("size"):
            raise Refused(say("{name} has another size than the index says", name=name[:100]), reason="changed")
        if archive.sha256(name) != facts.get("sha256"):
            raise Refused(
                say("{name} is not the file that was packed: its SHA-256 is another", name=name[:100]), reason="changed"
            )


class _BagLink:
    """A bag as `transfer.Link`: it answers what was packed."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Answer the file of that path, whole; 404 for what is not in the bag."""
        there = path in self._archive and path != _INDEX
        yield _Packed(200 if there else 404, self._archive.chunks(path) if there else ())


@dataclass(slots=True)
class _Packed:
    status: int
    body: Iterable[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)

    def chunks(self) -> Iterator[bytes]:
        return iter(self.body)


def _import_all(peer: Peer, link: _BagLink, listed: Mapping[str, Any], unpacked: Unpacked) -> None:
    digests = [path.removeprefix("blobs/") for path in listed if path.startswith("blobs/")]
    for start in range(0, len(digests), 500):
        some = RemoteRelease.objects.filter(peer=peer, sha256__in=digests[start : start + 500], package=None)
        for offer in some.select_related("peer", "package"):
            try:
                unpacked.packages[offer.ref] = imports.bring(offer, link=link)
            except BreakwaterError as problem:
                unpacked.problems[offer.ref] = problem.detail


# The receipt ----------------------------------------------------------------------------------------------------------


def write_receipt(peer: Peer) -> bytes:
    """Return a signed receipt for the partner: where we are, and which packages we have."""
    last = CourierBag.objects.filter(peer=peer, incoming=True).order_by("-number").first()
    if last is None:
        raise Conflict(say("No bag of {peer} was taken in yet.", peer=peer))
    row = peer.sync  # type: ignore[attr-defined]
    offers_ = RemoteRelease.objects.filter(peer=peer)
    said = {
        "format": _RECEIPT_FORMAT,
        "from": sync.our_id(),
        "to": peer.store_id,
        "number": last.number,
        "bag": last.sha256,
        "serial": row.serial,
        "audience": row.trusted.get("name", ""),
        "root": trustroot.version_of(row.trusted.get("root", "")),
        "have": sorted(set(offers_.exclude(package=None).values_list("sha256", flat=True))),
        "refused": {
            offer.ref: str((offer.problem or offer.imported.get("problem") or {}).get("detail", ""))[:300]
            for offer in offers_.filter(package=None)
            if offer.problem or offer.imported.get("problem")
        },
    }
    return feed.packed_json(dsse.sign(RECEIPT, feed.packed_json(said), keys.signer(keys.STORE)))


@transaction.atomic
def accept_receipt(data: bytes, *, actor: Actor) -> CourierBag:
    """Note what a partner confirms; the next bag begins there. `Refused` for one that is not for a bag of ours."""
    if len(data) > dsse.LONGEST * 2:
        raise Refused(say("The receipt is far too long"), reason="endless")
    peer, said, _ = _statement(feed.parsed(data), RECEIPT, _RECEIPT_FORMAT)
    actor.require("federation.manage", peer.organisation_id)
    bag = CourierBag.objects.select_for_update().filter(peer=peer, incoming=False, number=said["number"]).first()
    if bag is None or bag.sha256 != said.get("bag"):
        raise Refused(say("The receipt is for a bag that this store did not pack"), reason="foreign")
    newer = CourierBag.objects.filter(peer=peer, incoming=False, number__gt=bag.number).exclude(receipt=None)
    if newer.exists():
        raise Refused(say("A receipt for a later bag was taken already"), reason="replayed")
    have, serial, root = said.get("have"), said.get("serial"), said.get("root")
    if not isinstance(have, list) or not all(isinstance(each, str) and len(each) == 64 for each in have):
        raise Refused(say("The receipt does not say what the partner has"), reason="garbage")
    if type(serial) is not int or type(root) is not int or not isinstance(said.get("audience"), str):
        raise Refused(say("The receipt is not what it may be"), reason="garbage")
    bag.receipt = {name: said[name] for name in ("number", "serial", "audience", "root", "have")}
    bag.receipt["refused"] = said.get("refused") if isinstance(said.get("refused"), dict) else {}
    bag.save(update_fields=["receipt"])
    audit.record(actor, "courier.receipt", peer, number=bag.number, serial=serial, have=len(have))
    return bag
