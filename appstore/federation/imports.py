"""Taking a partner's release in: fetched by digest, checked by our own rules, and kept apart by its origin.

What the partner says of a package opens no door: the bytes, their signature and their certificates are looked at as if
somebody had uploaded them here. It belongs to the operator of this store.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from appstore.federation import feed, ports, sync, transfer, wire
from appstore.federation.allowance import Allowance
from appstore.federation.feed import Refused
from appstore.federation.link import WireLink
from appstore.federation.models import Peer, RemoteRelease
from appstore.federation.models_feed import PeerPolicy
from appstore.packages import blobs, checking, gates, states
from appstore.packages import services as packages
from appstore.packages.models import Blob, Package
from core import dsse
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import BreakwaterError, Conflict, Invalid, Missing, TooLarge
from core.findings import Finding, blocking
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

IMPORT: Final = "federation.import"
_CERTIFICATE_BYTES: Final = 512 << 10

Tell = Callable[[int, str], None]


def request_import(peer: Peer, ref: str, actor: Actor) -> Operation:
    """Ask a worker to fetch a release that the peer offers; `Missing` when it offers none by that reference.

    `Conflict` when it cannot be taken now (no agreement, withdrawn, outside of the terms, our own), with the reason.
    """
    actor.require("federation.manage", peer.organisation_id)
    offer = RemoteRelease.objects.select_related("peer", "package").filter(peer=peer, ref=ref).first()
    if offer is None:
        raise Missing(say("This partner offers no such release; look at the list again after the next sync."))
    check(offer)
    return operations.request(
        IMPORT, f"offer:{offer.pk}", organisation=peer.organisation_id, actor=actor, offer=str(offer.pk)
    )


def set_policy(
    peer: Peer, *, actor: Actor, publish_imports: bool | None = None, republish: bool | None = None
) -> PeerPolicy:
    """Decide what is done with the releases of a peer; what is None stays as it is."""
    actor.require("federation.manage", peer.organisation_id)
    with transaction.atomic():
        policy, _ = PeerPolicy.objects.select_for_update().get_or_create(peer=peer)
        if publish_imports is not None:
            policy.publish_imports = publish_imports
        passing_on = policy.republish
        if republish is not None:
            policy.republish = republish
        policy.save()
        audit.record(actor, "federation.policy", peer, publish=policy.publish_imports, republish=policy.republish)
        if policy.republish != passing_on:
            from appstore.federation import serials  # the producer's side, which this one otherwise does not need

            for package in Package.objects.filter(origin=peer.store_id, state__in=states.FINAL):
                serials.note_change(package)
            serials.request_build()
    return policy


def check(offer: RemoteRelease) -> None:
    """Pass when a release may be fetched now; `Conflict` with the reason otherwise."""
    if offer.problem:
        raise Conflict(
            str(offer.problem.get("detail", say("It cannot be taken."))), code_of=offer.problem.get("code", "")
        )
    if offer.state not in feed.OFFERED:
        raise Conflict(
            say("{peer} has {state} this release; it is not fetched any more.", peer=offer.peer, state=offer.state),
            state=offer.state,
        )
    agreement = offer.peer.agreement()
    agreed = agreement.read() if agreement else None
    if agreed is None or agreed.incoming is None:
        raise Conflict(say("There is no agreement in force by which {peer} gives us releases.", peer=offer.peer))
    most = min(agreed.incoming.limits.package_bytes, settings.MAX_PACKAGE_BYTES)
    if offer.size > most:
        raise TooLarge(
            say(
                "The package has {size} bytes; {most} are taken of {peer}.", size=offer.size, most=most, peer=offer.peer
            ),
            limit=most,
        )


def bring(offer: RemoteRelease, tell: Tell = lambda percent, note: None, link: transfer.Link | None = None) -> Package:
    """Fetch and check a release and return our copy; done before, it returns that. Errors are shown at the offer."""
    try:
        if offer.package is not None:
            return offer.package
        check(offer)
        if link is not None:
            return _bring(offer, tell, link)
        with wire.client(offer.peer) as client:
            return _bring(offer, tell, WireLink(client))
    except BreakwaterError as problem:
        _note(offer, problem=packages.storable(problem.problem()))
        raise


def _bring(offer: RemoteRelease, tell: Tell, link: transfer.Link) -> Package:
    tell(2, "fetching")
    allowance = Allowance(offer.peer, incoming=True)
    last = 0

    def arrived(have: int) -> None:
        nonlocal last
        percent = 2 + 58 * have // offer.size
        if percent > last:  # a row is written for each percent, not for each piece
            last = percent
            tell(percent, f"{have} of {offer.size} bytes")

    try:
        transfer.fetch(
            link,
            f"blobs/{offer.sha256}",
            sha256=offer.sha256,
            size=offer.size,
            budget=allowance,
            told=arrived,
            take_present=not _is_somebodys(offer.sha256),
        )
    finally:
        allowance.settle()
    if blobs.path_of(offer.sha256).stat().st_size != offer.size:
        raise Refused(say("The package has another size than the partner's feed says"), reason="mislabelled")
    certificates = _certificates(offer, link)
    tell(62, "checking")
    package = _draft(offer)
    if package.state not in states.FINAL:
        package = _checked(offer, package, lambda percent, note: tell(62 + percent // 3, note))
    return _settle(offer, package, certificates)


def _is_somebodys(sha256: str) -> bool:
    """Whether the file is here for others alone: who names its digest must not get it, or have it shown, by that."""
    if not Blob.objects.filter(pk=sha256).exists():
        return False
    seen = Q(organisation=accounts.operator()) | Q(state__in=states.LISTED, visibility=Package.Visibility.PUBLIC)
    return not Package.objects.filter(seen, sha256=sha256).exists()


def _draft(offer: RemoteRelease) -> Package:
    """Return the row of our copy, in whatever state it is."""
    operator = accounts.operator()
    mine = Package.objects.filter(organisation=operator, origin=offer.peer.store_id, sha256=offer.sha256)
    try:
        with transaction.atomic():
            blob, _ = Blob.objects.get_or_create(sha256=offer.sha256, defaults={"size": offer.size})
            package = Package.objects.create(
                organisation=operator,
                filename=packages.clean_name(f"{offer.name}-{offer.version}.csar"),
                sha256=offer.sha256,
                size=offer.size,
                origin=offer.peer.store_id,
                origin_ref=offer.ref,
            )
            package.blobs.add(blob)
            audit.record(SYSTEM, "federation.import", package, peer=offer.peer.name, ref=offer.ref, sha256=offer.sha256)
            return package
    except IntegrityError:
        present = mine.get()
        if present.origin_ref != offer.ref:
            text = say(
                "{peer} offers the same bytes by two references; we have them already, as {present}.",
                peer=offer.peer,
                present=present,
            )
            raise Conflict(text, package=str(present.pk)) from None
        return present


def _checked(offer: RemoteRelease, package: Package, tell: Tell) -> Package:
    """Check the package as any upload is checked, and hold it against what the partner said of it."""
    verdict = checking.examine(blobs.path_of(package.sha256), tell)
    recorded = packages.record_check(package.pk, verdict, actor=SYSTEM)
    if recorded is None:
        raise Conflict(say("Our copy was discarded or published while it was checked; look again."))
    if recorded.state == states.REJECTED:
        worst = blocking([Finding(**finding) for finding in recorded.findings])
        first = f": {worst[0].message}" if worst else ""
        text = say(
            "The package does not pass the check of this store ({worst_count} errors){first}",
            worst_count=len(worst),
            first=first,
        )
        raise Conflict(text, package=str(recorded.pk), findings=recorded.findings[:5])
    said = (offer.provider, offer.name, offer.version)
    found = tuple(
        feed.tidy(text, most) for text, most in ((recorded.provider, 128), (recorded.name, 128), (recorded.version, 64))
    )
    if said != found:
        _discard(recorded)
        raise Refused(
            say("The partner calls it {said}, but it is {found}", said=" ".join(said), found=" ".join(found)),
            reason="mislabelled",
            ref=offer.ref,
        )
    try:
        gates.require("import", recorded, recorded.organisation_id)
    except Conflict:
        _discard(recorded)
        raise
    return recorded


def _discard(package: Package) -> None:
    packages.discard(package, actor=SYSTEM)


@transaction.atomic
def _settle(offer: RemoteRelease, package: Package, certificates: list[tuple[dict[str, Any], Any]]) -> Package:
    """Tie offer and copy together, judge the certificates, and publish when our policy for this partner says so."""
    RemoteRelease.objects.filter(pk=offer.pk).update(package=package)
    offer.package = package
    judged = [_judged(package, note, envelope, offer.peer.store_id) for note, envelope in certificates]
    problem = None
    policy = PeerPolicy.objects.filter(peer=offer.peer).first()
    if policy is not None and policy.publish_imports and package.state == states.CHECKED:
        try:
            package = packages.publish(package, actor=SYSTEM)
        except Conflict as reason:
            # It is here, and waits for a person: a review is wanted, or we have that version of them already.
            problem = packages.storable(reason.problem())
    _note(offer, problem=problem, certificates=judged)
    sync.tell_catalogue(offer.peer, [offer], [])
    return package


def _note(offer: RemoteRelease, **facts: Any) -> None:
    offer.imported = {**offer.imported, **facts, "at": timezone.now().isoformat(timespec="seconds")}
    RemoteRelease.objects.filter(pk=offer.pk).update(imported=offer.imported)


def _certificates(offer: RemoteRelease, link: transfer.Link) -> list[tuple[dict[str, Any], Any]]:
    """Fetch the certificates that the feed names; one that cannot be had or read counts for nothing, and says why."""
    found: list[tuple[dict[str, Any], Any]] = []
    for sha256 in offer.metadata.get("certificates", []):
        note: dict[str, Any] = {"sha256": sha256}
        envelope = None
        try:
            data = transfer.small(link, f"certificates/{offer.ref}/{sha256}", _CERTIFICATE_BYTES).body
            if feed.digest(data) != sha256:
                raise Refused(say("It is not the one that the feed names"), reason="changed")
            envelope = feed.parsed(data)
            _check_subject(envelope, offer.sha256)
        except (Missing, Refused, Invalid) as problem:
            note["problem"] = problem.detail
            envelope = None
        found.append((note, envelope))
    return found


def _check_subject(envelope: Mapping[str, Any], sha256: str) -> None:
    """`Invalid` when a certificate speaks of another package; who signed it is for the judge to say."""
    try:
        said = json.loads(base64.b64decode(str(envelope["payload"]), validate=True))
        subjects = {each["digest"]["sha256"] for each in said["subject"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Invalid(say("It is no certificate")) from None
    if sha256 not in subjects:
        raise Invalid(say("It certifies another package"))


def _judged(package: Package, note: dict[str, Any], envelope: Any, origin: str) -> dict[str, Any]:
    judge = ports.first(ports.judges)
    if envelope is None or note.get("problem"):
        return note
    if judge is None:
        return {**note, "problem": "No room of this store judges certificates"}
    try:
        return {**note, **packages.storable(dict(judge(package, dsse.bare(envelope), origin)))}
    except BreakwaterError as problem:
        return {**note, "problem": problem.detail}


def conflicts(offer: RemoteRelease) -> list[str]:
    """Return what people should know before they take a release: others with its name, or with its bytes."""
    said: list[str] = []
    alike = {"provider": offer.provider, "name": offer.name, "version": offer.version}
    names = {peer.store_id: peer.name for peer in Peer.objects.all()}
    for package in Package.objects.filter(**alike, state__in=states.FINAL).exclude(offers=offer)[:20]:
        whose = say("this store") if not package.origin else names.get(package.origin, "another partner")
        same = say("with the same bytes") if package.sha256 == offer.sha256 else say("with other bytes")
        said.append(
            say(
                "{whose} has {package} {same}; both are kept, apart by their origin",
                whose=whose,
                package=package,
                same=same,
            )
        )
    others = (
        RemoteRelease.objects.filter(**alike).exclude(pk=offer.pk).exclude(state=sync.REMOVED).select_related("peer")
    )
    for other in others[:20]:
        same = say("with the same bytes") if other.sha256 == offer.sha256 else say("with other bytes")
        said.append(say("{peer} offers it too, {same}", peer=other.peer, same=same))
    return said
