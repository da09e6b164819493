"""Agreements: proposed by one side, answered by the other, and in force once both have signed the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from appstore.federation import identity, meeting, serials, services, sync, terms
from appstore.federation.models import Agreement, Peer
from appstore.federation.models_peers import OutMessage
from appstore.federation.terms import Offer, Terms
from appstore.keys import services as keys
from core import dsse
from core.accounts.access import Actor
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing
from core.words import say

#: Proposals that one partner may make in a day: its history here must not grow without end.
PER_DAY: Final = 20
#: How far ahead a version may jump, so that nobody uses the numbers up.
_JUMP: Final = 10
_OPEN = Agreement.State.PROPOSED


@transaction.atomic
def propose(
    peer: Peer, *, out: Offer | None, incoming: Offer | None, expires: datetime | None, contact: str, actor: Actor
) -> Agreement:
    """Sign the next version of the terms and send it to the partner, who accepts, declines or answers with another.

    What was proposed and not answered before is replaced by it. `Invalid` names the field that cannot be agreed on.
    """
    meeting.manager(actor)
    held = _active(peer)
    before = held.agreements.order_by("-version").first()
    wanted = Terms(
        version=_next_version(held),
        us=identity.store_id(),
        them=held.store_id,
        out=out,
        incoming=incoming,
        expires=expires.replace(microsecond=0) if expires else None,
        our_contact=contact.strip(),
        # What they wrote of themselves is theirs to change.
        their_contact=before.read().their_contact if before else "",
    )
    document = terms.document(wanted)
    # Read as the partner will read it: what it would refuse is told here, before it is signed.
    terms.seen_by(document, held.store_id)
    if wanted.expired(timezone.now()):
        raise Invalid(
            say("The end of an agreement lies in the future."),
            errors=[_field("expires", say("must be later than now"))],
        )
    _replace_open(held, say("Replaced by version {version}", version=wanted.version))
    made = Agreement.objects.create(
        peer=held,
        version=wanted.version,
        proposed_by_us=True,
        terms=document,
        digest=terms.digest(document),
        our_signature=_signed(document),
        expires_at=wanted.expires,
    )
    audit.record(actor, "agreement.propose", made, organisation=held.organisation_id, version=made.version)
    services.tell(held, "agreement.propose", envelope=made.our_signature)
    return made


@transaction.atomic
def accept(agreement: Agreement, *, actor: Actor) -> Agreement:
    """Sign what the partner proposed; it is in force here now, and there as soon as it has our signature."""
    meeting.manager(actor)
    held = _active(agreement.peer)
    found = _row(agreement)
    if found.proposed_by_us or found.state != _OPEN:
        raise Conflict(
            say("Version {version} is not waiting for our answer ({state}).", version=found.version, state=found.state)
        )
    if found.read().expired(timezone.now()):
        raise Conflict(say("These terms have expired already; answer with other ones."))
    found.our_signature = _signed(found.terms)
    _in_force(found)
    audit.record(actor, "agreement.accept", found, organisation=held.organisation_id, version=found.version)
    services.tell(held, "agreement.accept", version=found.version, digest=found.digest, envelope=found.our_signature)
    return found


@transaction.atomic
def decline(agreement: Agreement, *, reason: str, actor: Actor) -> Agreement:
    """Say no to what the partner proposed, or take back what we proposed; it is told the reason."""
    meeting.manager(actor)
    held = _held(agreement.peer)
    found = _row(agreement)
    if found.state != _OPEN:
        raise Conflict(say("Version {version} is {state} already.", version=found.version, state=found.state))
    _settle(found, Agreement.State.DECLINED, services.reason_of(reason, needed=True))
    audit.record(actor, "agreement.decline", found, organisation=held.organisation_id, reason=found.reason)
    services.tell(held, "agreement.decline", version=found.version, digest=found.digest, reason=found.reason)
    return found


@transaction.atomic
def end(agreement: Agreement, *, reason: str, actor: Actor) -> Agreement:
    """End the agreement in force; nothing is exchanged from now on, and the partner is told."""
    meeting.manager(actor)
    held = _held(agreement.peer)
    found = _row(agreement)
    if found.state != Agreement.State.ACCEPTED:
        raise Conflict(say("Version {version} is not in force ({state}).", version=found.version, state=found.state))
    _settle(found, Agreement.State.ENDED, services.reason_of(reason, needed=True))
    audit.record(actor, "agreement.end", found, organisation=held.organisation_id, reason=found.reason)
    services.tell(held, "agreement.end", version=found.version, digest=found.digest, reason=found.reason)
    return found


# What the partner does


@services.receives("agreement.propose")
def receive_proposal(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the terms that the partner signed; they wait for an answer of our administrators."""
    wanted, document = _opened(peer, message.get("envelope"))
    if wanted.them != peer.store_id:
        raise Invalid(say("The terms are about another store than the one that sends them."))
    if wanted.expired(timezone.now()):
        raise Invalid(say("These terms have expired already."))
    digest = terms.digest(document)
    twin = Agreement.objects.filter(peer=peer, version=wanted.version).first()
    if twin is not None and twin.digest == digest:
        return
    if twin is not None:
        _yield(peer, twin)
    elif not _next_version(peer) <= wanted.version < _next_version(peer) + _JUMP:
        raise Conflict(
            say(
                "The next version of the agreement is {peer}, not {version}.",
                peer=_next_version(peer),
                version=wanted.version,
            )
        )
    lately = timezone.now() - timedelta(days=1)
    if Agreement.objects.filter(peer=peer, proposed_by_us=False, created_at__gt=lately).count() >= PER_DAY:
        raise Denied(say("More than {per_day} proposals in a day.", per_day=PER_DAY))
    _replace_open(peer, say("Answered with version {version}", version=wanted.version))
    made = Agreement.objects.create(
        peer=peer,
        version=wanted.version,
        proposed_by_us=False,
        terms=document,
        digest=digest,
        their_signature=dsse.bare(message["envelope"]),
        expires_at=wanted.expires,
    )
    audit.record(f"store {peer.name}", "agreement.proposed", made, organisation=peer.organisation_id)


@services.receives("agreement.accept")
def receive_acceptance(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the partner's signature under our proposal. What we have replaced or taken back is not accepted any more."""
    found = _named(peer, message)
    if found.state == Agreement.State.ACCEPTED and found.their_signature:
        return
    if not found.proposed_by_us or found.state != _OPEN:
        raise Conflict(
            say("Version {version} cannot be accepted any more ({state}).", version=found.version, state=found.state)
        )
    _, document = _opened(peer, message.get("envelope"))
    if terms.digest(document) != found.digest:
        raise Invalid(say("The signature is under other terms than the ones that we proposed."))
    if found.read().expired(timezone.now()):
        raise Conflict(say("These terms have expired already."))
    found.their_signature = dsse.bare(message["envelope"])
    _in_force(found)
    audit.record(f"store {peer.name}", "agreement.accepted", found, organisation=peer.organisation_id)


@services.receives("agreement.decline", states=meeting.KNOWN)
def receive_decline(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the partner's no to our proposal, or its word that it takes its own back."""
    found = _named(peer, message)
    if found.state == Agreement.State.DECLINED:
        return
    if found.state != _OPEN:
        raise Conflict(say("Version {version} is {state}; end it instead.", version=found.version, state=found.state))
    _settle(found, Agreement.State.DECLINED, services.reason_of(message.get("reason")))
    audit.record(f"store {peer.name}", "agreement.declined", found, organisation=peer.organisation_id)


@services.receives("agreement.end", states=meeting.KNOWN)
def receive_end(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the partner's word that it ends the agreement."""
    found = _named(peer, message)
    if found.state == Agreement.State.ACCEPTED:
        _settle(found, Agreement.State.ENDED, services.reason_of(message.get("reason")))
        audit.record(f"store {peer.name}", "agreement.ended", found, organisation=peer.organisation_id)


# What becomes of a message that the partner refuses


@services.when_refused("agreement.propose")
def proposal_refused(message: OutMessage) -> None:
    """Our proposal was not taken: it waits for nobody."""
    digest = terms.digest(_said(message.body["envelope"]))
    refusal = str((message.refusal or {}).get("detail", ""))
    for found in Agreement.objects.filter(peer=message.peer_id, digest=digest, state=_OPEN):
        _settle(found, Agreement.State.DECLINED, say("Not taken by the partner. {refusal}", refusal=refusal))


@services.when_refused("agreement.accept")
def acceptance_refused(message: OutMessage) -> None:
    """The partner has taken its proposal back meanwhile: then nothing is in force here either."""
    refusal = str((message.refusal or {}).get("detail", ""))
    for found in Agreement.objects.filter(
        peer=message.peer_id, digest=message.body["digest"], state=Agreement.State.ACCEPTED
    ):
        _settle(found, Agreement.State.ENDED, say("Our acceptance was not taken. {refusal}", refusal=refusal))


# Inside


def _yield(peer: Peer, ours: Agreement) -> None:
    """Make room when both proposed the same version at once: the proposal of the store with the smaller id stands.

    Both sides see the same two ids, so both come to the same end without another word.
    """
    if not ours.proposed_by_us or ours.state not in (_OPEN, Agreement.State.DECLINED):
        raise Conflict(say("Version {version} has another text already.", version=ours.version))
    if peer.store_id > identity.store_id():
        raise Conflict(
            say("Both stores proposed version {version} at once; answer the other proposal.", version=ours.version)
        )
    audit.record("system", "agreement.cross", ours, organisation=peer.organisation_id, version=ours.version)
    ours.delete()


def _replace_open(peer: Peer, reason: str) -> None:
    Agreement.objects.filter(peer=peer, state=_OPEN).update(
        state=Agreement.State.DECLINED, reason=reason, settled_at=timezone.now()
    )


def _in_force(agreement: Agreement) -> None:
    Agreement.objects.filter(peer=agreement.peer_id, state=Agreement.State.ACCEPTED).update(
        state=Agreement.State.SUPERSEDED,
        reason=say("Followed by version {version}", version=agreement.version),
        settled_at=timezone.now(),
    )
    agreement.state, agreement.settled_at = Agreement.State.ACCEPTED, timezone.now()
    agreement.save()
    # Its feed is made by a worker, and its offers are looked at, without waiting for the clock.
    serials.request_build(settle=0)
    sync.request_sync(agreement.peer)


def _settle(agreement: Agreement, state: str, reason: str) -> None:
    agreement.state, agreement.reason, agreement.settled_at = state, reason[:500], timezone.now()
    agreement.save(update_fields=["state", "reason", "settled_at"])


def _next_version(peer: Peer) -> int:
    highest = Agreement.objects.filter(peer=peer).aggregate(highest=Max("version"))["highest"]
    return int(highest or 0) + 1


def _signed(document: Mapping[str, Any]) -> dict[str, Any]:
    return dsse.sign(terms.PAYLOAD, terms.canonical(document), keys.signer(keys.STORE))


def _opened(peer: Peer, envelope: Any) -> tuple[Terms, dict[str, Any]]:
    if not isinstance(envelope, Mapping):
        raise Invalid(say("The message has no envelope."), field="envelope")
    payload, _ = dsse.verify(envelope, terms.PAYLOAD, [dsse.load_public(peer.public_pem)])
    us = next((each for each in _parties(payload) if identity.is_ours(each)), "")
    return terms.read(payload, us)


def _parties(payload: bytes) -> list[str]:
    from json import loads  # here, where what comes is bounded by the envelope and verified already

    try:
        found = loads(payload)["parties"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [str(each)[:64] for each in found[:2]] if isinstance(found, list) else []


def _said(envelope: Mapping[str, Any]) -> dict[str, Any]:
    payload, _ = dsse.verify(envelope, terms.PAYLOAD, keys.known(keys.STORE))
    us = next((each for each in _parties(payload) if identity.is_ours(each)), "")
    return terms.read(payload, us)[1]


def _named(peer: Peer, message: Mapping[str, Any]) -> Agreement:
    version = message.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise Invalid(say("version must be a number"), field="version")
    found = Agreement.objects.select_for_update().filter(peer=peer, version=version).first()
    if found is None or found.digest != message.get("digest"):
        raise Missing(say("There is no version of that number with these terms."))
    return found


def _row(agreement: Agreement) -> Agreement:
    found = Agreement.objects.select_for_update().filter(pk=agreement.pk).first()
    if found is None:
        raise Missing(say("The agreement is gone."))
    return found


def _held(peer: Peer) -> Peer:
    return Peer.objects.select_for_update().get(pk=peer.pk)


def _active(peer: Peer) -> Peer:
    held = _held(peer)
    if held.kind != "breakwater":
        raise Conflict(say("With a store of this kind nothing can be agreed: it is read only."))
    if held.state != Peer.State.ACTIVE:
        raise Conflict(
            say("Agreements are made with active partners; {name} is {state}.", name=held.name, state=held.state)
        )
    return held


def _field(name: str, detail: str) -> dict[str, str]:
    return {"field": name, "detail": detail}
