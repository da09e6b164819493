"""Verbs of recalls: issue, lift, take over a partner's; and the signed list that says them all.

Recalls of the organisation that runs the store hold for bytes: the same file of anybody, or one that comes later, is
recalled with it. Others recall their own releases, and touch nobody's who has the same bytes; so do partner stores.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from appstore.keys import services as keys
from appstore.keys.models import SigningKey
from appstore.packages import life, states
from appstore.packages import services as packages
from appstore.packages.models import Package
from appstore.releases import following
from appstore.releases.models import Recall, RecalledPackage, SignedList
from core import dsse, recalls
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing
from core.recalls import Entry, Lift, RecallList
from core.words import say

#: How long a list says that it is the newest; it is signed anew when half of that is over.
LIST_LIFE = timedelta(days=30)
#: Lists are signed with retired keys too, so that who knows only those learns of the present one.
_MOST_KEYS = 4
_MOST_PACKAGES = 500


class Peer(Protocol):
    """What must be known of a partner store to take its list: its id, which is its key's, and the key."""

    store_id: str
    public_pem: str
    name: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a partner's list: its serial, and the recalls of ours that it made or lifted."""

    serial: int
    issued: list[Recall]
    lifted: list[Recall]


# --- issue and lift ---------------------------------------------------------------------------------------------------
@transaction.atomic
def recall(
    chosen: Iterable[Package] = (),
    *,
    actor: Actor,
    reason: str,
    digests: Sequence[str] = (),
    severity: str = "high",
    advice: str = "",
    action: str = recalls.STOP,
    successor: Package | None = None,
) -> Recall:
    """Recall releases, or any package with one of these SHA-256 digests (for the organisation that runs the store).

    Whoever runs one is told, and with the action `stop` its nodes end it as soon as they hear of it. `Missing`/`Denied`
    when one of them is not the actor's to recall, and nothing is recalled then.
    """
    found = {package.pk: package for package in chosen}
    wanted = _digests(digests)
    _known(severity, recalls.SEVERITIES, "severity")
    _known(action, recalls.ACTIONS, "action")
    if not found and not wanted:
        raise Invalid(say("Name what is recalled"), errors=[{"field": "packages", "detail": say("must not be empty")}])
    if len(found) + len(wanted) > _MOST_PACKAGES:
        raise Invalid(say("One recall names at most {most_packages} packages", most_packages=_MOST_PACKAGES))
    said = life.reason_of(reason)
    store_wide = life.of_the_store(actor, "packages.recall")
    if wanted and not store_wide:
        actor.require("packages.recall", accounts.operator())
    for package in found.values():
        life.stands(actor, "packages.recall", package)
    owners = {package.organisation_id for package in found.values()}
    if not store_wide and len(owners) > 1:
        raise Invalid(say("A recall is about packages of one organisation"))
    organisation_id = accounts.operator().pk if store_wide else next(iter(owners))
    # The row of the list comes first, so that two recalls are written one after the other.
    _hold_list()
    made = Recall.objects.create(
        organisation_id=organisation_id,
        reason=said,
        severity=severity,
        action=action,
        advice=str(packages.storable(advice.strip()))[:500],
        issued_by=str(actor)[:250],
    )
    same = {package.sha256 for package in found.values()} if store_wide else set()
    rows = Package.objects.select_for_update().filter(sha256__in=same | wanted).order_by("pk")
    every = found | {package.pk: package for package in rows}
    _enter(made, every.values(), actor=actor, successor=successor, by_bytes=store_wide)
    unknown = wanted - {package.sha256 for package in every.values()}
    RecalledPackage.objects.bulk_create(
        RecalledPackage(recall=made, sha256=digest, by_bytes=True) for digest in sorted(unknown)
    )
    audit.record(
        actor, "recall.issue", made, reason=said, severity=severity, what=action, packages=len(every) + len(unknown)
    )
    _publish_list()
    made.refresh_from_db(fields=["serial"])
    following.tell(made)
    return made


@transaction.atomic
def lift(found: Recall, *, actor: Actor, reason: str) -> Recall:
    """Say that a recall holds no more: its packages are what they were before, and nodes start them again."""
    _hold_list()
    made = Recall.objects.select_for_update().get(pk=found.pk)
    if not life.of_the_store(actor, "packages.recall"):
        actor.require("packages.recall", made.organisation_id)
    if made.lifted_at is not None:
        raise Conflict(say("This recall was lifted before."))
    if made.origin and actor is not SYSTEM:
        raise Conflict(say("This recall is of a partner store, which alone can lift it."))
    return _lift(made, actor=actor, reason=life.reason_of(reason))


def stops(package: Package) -> Recall | None:
    """Return the recall for which this package must not run; None when it may."""
    if package.state != states.RECALLED:
        return None
    return Recall.objects.active().filter(packages__package=package, action=recalls.STOP).first()


def recall_of(package: Package) -> Entry | None:
    """Return what is said of a package or of its bytes: by our own list, or by that of the partner it comes from."""
    theirs = Q(package__organisation=package.organisation_id, package__origin=package.origin)
    rows = RecalledPackage.objects.filter(theirs | Q(by_bytes=True), sha256=package.sha256, recall__lifted_at=None)
    # `stop` comes before `warn` in the alphabet.
    if row := rows.select_related("recall").order_by("recall__action", "-recall__issued_at").first():
        return _as_entry(row)
    told = _held(package.origin) if package.origin else None
    return recalls.match(told.entries, package=package.origin_ref, sha256=package.sha256, chart="") if told else None


# --- the list ---------------------------------------------------------------------------------------------------------
def recall_list() -> dict[str, Any]:
    """Return the newest recall list of this store as a DSSE envelope; it is signed anew when it has grown old."""
    row = SignedList.objects.filter(store="").first()
    if row is None or row.issued_at is None or timezone.now() > row.issued_at + LIST_LIFE / 2 or _outdated(row):
        row = renew_list()
    return dict(row.envelope)


@transaction.atomic
def renew_list(*, above: int = 0) -> SignedList:
    """Sign a new list now, with a serial over `above`: what nodes hold may be ahead of a database that was restored."""
    _hold_list()
    if above:
        SignedList.objects.filter(store="", serial__lt=above).update(serial=above)
    row = _publish_list()
    following.tell(None)
    return row


def present() -> RecallList:
    """Return the newest list of this store, read."""
    return recalls.open_list(recall_list(), list_keys())


def list_keys() -> list[dsse.PublicKey]:
    """Return the public keys that sign our lists."""
    return keys.known(keys.RECALL)


def public_keys() -> list[str]:
    """Return the present public key of the list, as PEM, for nodes that see it for the first time."""
    return [keys.current(keys.RECALL).public_pem]


# --- partners ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def apply_foreign(envelope: Mapping[str, Any], peer: Peer) -> Taken:
    """Take over what a partner recalls of the packages that we fetched from it; anything else of it changes nothing.

    The list must be signed with the partner's own key and be newer than the one held. `Invalid` or `Conflict` say what
    is wrong with it; then nothing has changed. The same list again changes nothing.
    """
    offered = recalls.open_list(envelope, [dsse.load_public(peer.public_pem)])
    if offered.store != peer.store_id:
        raise Invalid(say("The recall list is not the one of {name}", name=peer.name))
    _hold_list()
    SignedList.objects.get_or_create(store=peer.store_id)
    row = SignedList.objects.select_for_update().get(store=peer.store_id)
    held = recalls.parse(_payload(row.envelope)) if row.envelope else None
    recalls.insist_on_newer(held, offered)
    now = timezone.now()
    SignedList.objects.filter(pk=row.pk).update(serial=offered.serial, envelope=dict(envelope), issued_at=now)
    taken = _follow_peer(offered, peer)
    if taken.issued or taken.lifted:
        _publish_list()
        for each in (*taken.issued, *taken.lifted):
            following.tell(each)
    return taken


def _follow_peer(offered: RecallList, peer: Peer) -> Taken:
    known = {each.origin_ref: each for each in Recall.objects.filter(origin=peer.store_id)}
    by_recall: dict[str, list[Entry]] = {}
    for entry in offered.entries:
        by_recall.setdefault(entry.id[:64], []).append(entry)
    theirs = Package.objects.select_for_update().filter(origin=peer.store_id)
    issued: list[Recall] = []
    for ref, entries in by_recall.items():
        meant = {(entry.sha256, entry.package) for entry in entries}
        present = [
            each
            for each in theirs.filter(sha256__in={sha256 for sha256, _ in meant})
            if not each.origin_ref or {(each.sha256, ""), (each.sha256, each.origin_ref)} & meant
        ]
        made = known.get(ref)
        if made is not None and made.lifted_at is not None:
            continue
        if made is not None:
            present = [each for each in present if not made.packages.filter(package=each).exists()]
        if not present:
            continue
        if made is None:
            made = _foreign_recall(entries[0], ref, peer)
        _enter(made, present, actor=SYSTEM, from_store=peer.name)
        issued.append(made)
    ended = {each.id[:64]: each for each in offered.lifted}
    lifted = [
        _lift(made, actor=SYSTEM, reason=f"{peer.name}: {ended[ref].reason}"[:500], tell=False)
        for ref, made in known.items()
        if ref in ended and ref not in by_recall and made.lifted_at is None
    ]
    return Taken(offered.serial, issued, lifted)


def _foreign_recall(entry: Entry, ref: str, peer: Peer) -> Recall:
    made = Recall.objects.create(
        organisation=_home(peer),
        reason=(packages.storable(entry.reason) or "no reason given")[:500],
        severity=entry.severity,
        advice=packages.storable(entry.advice)[:500],
        action=entry.action,
        origin=peer.store_id,
        origin_ref=ref,
        issued_by=f"the store {peer.name}"[:250],
    )
    audit.record(SYSTEM, "recall.take_over", made, store=peer.name, severity=made.severity, what=made.action)
    return made


def _home(peer: Peer) -> Organisation:
    return getattr(peer, "organisation", None) or accounts.operator()


# --- inside -----------------------------------------------------------------------------------------------------------
def _enter(
    made: Recall,
    chosen: Iterable[Package],
    *,
    actor: Actor,
    successor: Package | None = None,
    by_bytes: bool = False,
    from_store: str = "",
) -> None:
    for package in sorted(chosen, key=lambda each: str(each.pk)):
        package = packages.locked(package)
        if package.released:
            facts = {"recall": str(made.pk), "severity": made.severity, "does": made.action}
            packages.turn(
                package,
                "recall",
                actor=actor,
                reason=made.reason,
                facts=facts | ({"store": from_store} if from_store else {}),
                successor=successor or package.successor,
            )
        RecalledPackage.objects.create(
            recall=made,
            package=package if package.released else None,
            sha256=package.sha256,
            by_bytes=by_bytes,
            chart_sha256=_own_chart(package),
            app_d_id=package.app_d_id,
            name=package.name,
            provider=package.provider,
            version=package.version,
        )


def _lift(made: Recall, *, actor: Actor, reason: str, tell: bool = True) -> Recall:
    made.lifted_at, made.lifted_by, made.lift_reason = timezone.now(), str(actor)[:250], reason
    made.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
    rows = made.packages.exclude(package=None).select_related("package")
    for row in rows:
        assert row.package is not None
        package = packages.locked(row.package)
        others = package.recalls.filter(recall__lifted_at=None).exists()
        if package.state == states.RECALLED and not others:
            packages.turn(package, "unrecall", actor=actor, reason=reason, facts={"recall": str(made.pk)})
    audit.record(actor, "recall.lift", made, reason=reason)
    if tell:
        _publish_list()
        following.tell(made)
    return made


def _hold_list() -> None:
    """Hold the row of our list until the transaction ends: lists are made one after the other."""
    if not SignedList.objects.filter(store="").update(serial=F("serial")):
        SignedList.objects.get_or_create(store="")
    SignedList.objects.select_for_update().get(store="")


def _publish_list() -> SignedList:
    """Sign the list of now; call with its row held."""
    row = SignedList.objects.get(store="")
    now = timezone.now()
    expires = now + LIST_LIFE
    entries, lifted = _said()
    wanted = RecallList(
        store=keys.current(keys.STORE).id,
        serial=row.serial + 1,
        issued=now.isoformat(),
        expires=expires.isoformat(),
        entries=tuple(entries),
        lifted=tuple(lifted),
        keys=tuple(public_keys()),
    )
    if len(wanted.payload()) > recalls.LONGEST:
        raise Conflict(say("The recall list has become too long to be read by everybody; lift recalls that are over."))
    row.serial, row.envelope = wanted.serial, recalls.sign(wanted, *_signers())
    row.issued_at, row.expires_at = now, expires
    row.save()
    Recall.objects.filter(serial=0).update(serial=row.serial)
    return row


def _said() -> tuple[list[Entry], list[Lift]]:
    entries: dict[tuple[str, str, str], Entry] = {}
    lifted: dict[tuple[str, str, str], Lift] = {}
    for row in RecalledPackage.objects.select_related("recall").order_by("recall__issued_at", "recall", "id"):
        entry, made = _as_entry(row), row.recall
        if made.lifted_at is not None:
            lift = Lift(entry.id, entry.sha256, entry.package, made.lift_reason, made.lifted_at.isoformat())
            lifted.setdefault(lift.key, lift)
        else:
            # The same bytes of several organisations are one entry.
            entries.setdefault(entry.key, entry)
    return list(entries.values()), list(lifted.values())


def _as_entry(row: RecalledPackage) -> Entry:
    made = row.recall
    return Entry(
        id=str(made.pk),
        sha256=row.sha256,
        package="" if row.by_bytes else str(row.package_id or ""),
        chart=row.chart_sha256,
        app=row.app_d_id,
        name=row.name,
        provider=row.provider,
        version=row.version,
        reason=made.reason,
        severity=made.severity,
        advice=made.advice,
        action=made.action,
        recalled=made.issued_at.isoformat(),
    )


def _own_chart(package: Package) -> str:
    """Return the chart's digest unless another organisation's package has the same chart, too."""
    others = Package.objects.filter(chart_sha256=package.chart_sha256).exclude(organisation=package.organisation_id)
    return "" if others.exists() else package.chart_sha256


def _signers() -> list[dsse.PrivateKey]:
    """Return the keys that sign a list: the present one, the last retired ones, and the key that partners know us by."""
    keys.current(keys.RECALL)
    own = SigningKey.objects.filter(purpose=keys.RECALL).order_by(F("retired_at").desc(nulls_first=True))[:_MOST_KEYS]
    return [*(keys.private(each) for each in own), keys.signer(keys.STORE)]


def _outdated(row: SignedList) -> bool:
    """Return whether keys have changed since the list was signed."""
    signed = {each.get("keyid") for each in row.envelope.get("signatures", [])}
    return not {keys.current(keys.RECALL).id, keys.current(keys.STORE).id} <= signed


def _held(store: str) -> RecallList | None:
    row = SignedList.objects.filter(store=store).exclude(store="").first()
    return recalls.parse(_payload(row.envelope)) if row and row.envelope else None


def _payload(envelope: Mapping[str, Any]) -> bytes:
    """Return the payload of an envelope of ours or one that was verified when it was stored."""
    return base64.b64decode(envelope["payload"])


def _digests(given: Sequence[str]) -> set[str]:
    found = {str(each).strip().lower().removeprefix("sha256:") for each in given}
    for digest in found:
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise Invalid(
                say("A SHA-256 has 64 hexadecimal digits"), errors=[{"field": "digests", "detail": digest[:80]}]
            )
    return found


def _known(value: str, allowed: Sequence[str], field: str) -> None:
    if value not in allowed:
        told = say("must be one of {allowed}", allowed=", ".join(allowed))
        raise Invalid(f"{field} {told}", errors=[{"field": field, "detail": told}])


def of_package(package: Package) -> QuerySet[Recall]:
    """Return every recall of a release, lifted ones too, newest first."""
    return Recall.objects.filter(packages__package=package)


def get(pk: Any, actor: Actor) -> Recall:
    """Return a recall that the actor may change; `Missing` or `Denied` otherwise."""
    found = Recall.objects.filter(pk=pk).first()
    if found is None:
        raise Missing(say("There is no such recall, or you may not see it."))
    if not life.of_the_store(actor, "packages.recall"):
        actor.require("packages.recall", found.organisation_id)
    return found
