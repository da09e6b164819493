"""How two stores get to know each other, set each other aside and part.

Nothing is exchanged before the administrators of both have compared fingerprints and confirmed. A store is its key:
another key under a known address is refused and shown, unless the old key vouches for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from appstore.federation import identity, services, wire
from appstore.federation.identity import Identity
from appstore.federation.models import Agreement, Peer
from appstore.federation.models_peers import Acquaintance, Rotation
from appstore.packages.models import Package
from core import dsse
from core.accounts import services as accounts
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing, Throttled, Unauthenticated
from core.words import say

#: state -> event -> state after it. What is not listed is not allowed.
STEPS: Final[Mapping[str, Mapping[str, str]]] = {
    Peer.State.PENDING: {"refuse": Peer.State.ENDED, "end": Peer.State.ENDED},
    Peer.State.ACTIVE: {"suspend": Peer.State.SUSPENDED, "end": Peer.State.ENDED},
    Peer.State.SUSPENDED: {"resume": Peer.State.ACTIVE, "end": Peer.State.ENDED},
    Peer.State.ENDED: {},
}
KNOWN: Final = (Peer.State.PENDING, Peer.State.ACTIVE, Peer.State.SUSPENDED)
#: Those that both sides have confirmed: only they can be set aside and taken up again.
MET: Final = (Peer.State.ACTIVE, Peer.State.SUSPENDED)
#: So often a store may change its key before we have confirmed it.
_KEYS_OF_A_STRANGER: Final = 3
#: An introduction that nobody answers is forgotten after this time; one that was refused may come again after a day.
PATIENCE: Final = timedelta(days=7)
REST: Final = timedelta(days=1)


def after(state: str, event: str) -> str:
    """Return the state after an event; `Conflict` when the present one does not allow it."""
    found = STEPS.get(state, {}).get(event)
    if found is None:
        raise Conflict(say("A partner store that is {state} cannot be told to {event}.", state=state, event=event))
    return found


def manager(actor: Actor) -> Organisation:
    """Return the organisation that runs this store, if the actor manages its partners; `Denied` or `Missing` if not."""
    organisation = accounts.operator()
    actor.require("federation.manage", organisation)
    return organisation


# What our administrators do


def look(text: str, *, actor: Actor) -> Identity:
    """Return who answers at an address or an invitation, for the comparison of fingerprints; writes nothing.

    `Conflict` for ourselves and when the key differs from the one of the invitation.
    """
    manager(actor)
    url, wanted = identity.read_invitation(text)
    found = identity.fetch(url)
    if identity.is_ours(found.store_id):
        raise Conflict(say("That is this store itself."), field="url")
    if wanted and found.store_id != wanted:
        raise Conflict(
            say("At that address another key answers than the invitation names. Do not go on: ask its administrator."),
            field="url",
        )
    _refuse_strange_key(found)
    return found


def introduce(url: str, *, fingerprint: str, actor: Actor) -> Peer:
    """Confirm the store at `url` by its fingerprint, and tell it so. It is a partner once it has confirmed us, too.

    `fingerprint` is what its administrator told ours; `Invalid` when the key there is another one.
    """
    organisation = manager(actor)
    found = identity.fetch(url)
    if identity.is_ours(found.store_id):
        raise Conflict(say("That is this store itself."), field="url")
    _compare(fingerprint, found.store_id)
    _refuse_strange_key(found)
    with transaction.atomic():
        peer = Peer.objects.select_for_update().filter(store_id=found.store_id).first()
        if peer is None:
            peer = Peer.objects.create(
                organisation=organisation, store_id=found.store_id, public_pem=found.public_pem, name=found.name,
                url=found.url, confirmed_at=timezone.now(), answers_signed_at=_signs_since(found),
            )  # fmt: skip
            Acquaintance.objects.create(peer=peer, introduced_by_us=True)
        elif peer.state == Peer.State.ENDED:
            _begin_again(peer, found, confirmed=True)
            Acquaintance.objects.filter(peer=peer).update(introduced_by_us=True)
        elif peer.state == Peer.State.PENDING and peer.confirmed_at is None:
            _note_signing(peer, found)
            return _confirmed_by_us(peer, actor)
        else:
            raise Conflict(
                say("{name} is known already ({state}).", name=peer.name, state=peer.state), peer=str(peer.pk)
            )
        audit.record(actor, "peer.introduce", peer, store=peer.store_id, url=peer.url)
        services.tell(peer, "introduce", identity=identity.envelope())
    return peer


def confirm(peer: Peer, *, fingerprint: str, actor: Actor) -> Peer:
    """Confirm a store that introduced itself; asks at its address first whether the key is the same there."""
    manager(actor)
    _compare(fingerprint, peer.store_id)
    found = identity.fetch(peer.url)
    if found.store_id != peer.store_id:
        raise Conflict(say("At its address answers another key than the one that introduced itself. Refuse it."))
    with transaction.atomic():
        held = _held(peer)
        if held.state != Peer.State.PENDING or held.confirmed_at is not None:
            raise Conflict(say("There is nothing to confirm: {name} is {state}.", name=held.name, state=held.state))
        _note_signing(held, found)
        return _confirmed_by_us(held, actor)


def refuse(peer: Peer, *, reason: str, actor: Actor) -> Peer:
    """Refuse a store that introduced itself, or take our introduction back; it is told the reason."""
    return _part(peer, "refuse", reason, actor)


def suspend(peer: Peer, *, reason: str, actor: Actor) -> Peer:
    """Set a partner aside at once: it gets nothing and we ask for nothing, until it is resumed."""
    return _part(peer, "suspend", reason, actor)


def resume(peer: Peer, *, actor: Actor) -> Peer:
    """Take a suspended partner up again."""
    return _part(peer, "resume", "", actor)


def end(peer: Peer, *, reason: str, actor: Actor) -> Peer:
    """Part for good. What was fetched from it stays, with its origin; a new meeting begins anew."""
    return _part(peer, "end", reason, actor)


def change_key(*, actor: Actor) -> Rotation:
    """Change the key of this store and tell every partner, by a statement of the old key."""
    with transaction.atomic():
        rotation = identity.rotate(actor=actor)
        for peer in Peer.objects.filter(kind="breakwater", state__in=KNOWN):
            services.tell(peer, "rotate", statement=rotation.envelope)
    return rotation


# What other stores do


def receive_introduction(request: HttpRequest, document: Any) -> Peer:
    """Take the introduction of a store: it is shown to our administrators, nothing else. Costs a bounded table.

    The request is signed with the key of the document. No connection is made to the address that a stranger names.
    """
    claim = wire.read_claim(request)
    found = identity.read(document)
    if claim.key_id != found.store_id:
        raise Unauthenticated(say("The introduction is signed with another key than the one that it introduces."))
    wire.check_claim(request, claim, dsse.load_public(found.public_pem))
    if identity.is_ours(found.store_id):
        raise Denied(say("That is this store itself."))
    _refuse_strange_key(found, note=True)
    with transaction.atomic():
        peer = Peer.objects.select_for_update().filter(store_id=found.store_id).first()
        _make_room(peer)
        wire.take_once(claim)
        if peer is None:
            peer = Peer.objects.create(
                organisation=accounts.operator(), store_id=found.store_id, public_pem=found.public_pem,
                name=found.name, url=found.url, they_confirmed_at=timezone.now(), answers_signed_at=_signs_since(found),
            )  # fmt: skip
            Acquaintance.objects.create(peer=peer)
            audit.record(_name(peer), "peer.introduced", peer, store=peer.store_id, url=peer.url)
        elif peer.state == Peer.State.ENDED:
            _begin_again(peer, found, confirmed=False)
            audit.record(_name(peer), "peer.introduced", peer, store=peer.store_id, url=peer.url)
        elif peer.state == Peer.State.PENDING:
            _note_signing(peer, found)
            _confirmed_by_them(peer)
    return peer


@services.receives("confirm", states=KNOWN)
def receive_confirmation(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the word of a store that it confirmed our fingerprint; it names both, so it is good for no other pair."""
    if message.get("from") != peer.store_id or message.get("to") != identity.store_id():
        raise Invalid(say("The confirmation is about other keys than those of our two stores."))
    if peer.state == Peer.State.PENDING:
        _confirmed_by_them(peer)


@services.receives("refuse", states=KNOWN)
def receive_refusal(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take a no to our introduction."""
    if peer.state != Peer.State.PENDING:
        raise Conflict(say("There is nothing to refuse any more; end it instead."))
    _parted_by_them(peer, "refuse", message)


@services.receives("suspend", states=MET)
def receive_suspension(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take note that the partner has set us aside: nothing is in force until it resumes."""
    _parted_by_them(peer, "suspend", message)


@services.receives("resume", states=MET)
def receive_resumption(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take note that the partner takes us up again. What we suspended ourselves stays so."""
    _parted_by_them(peer, "resume", message)


@services.receives("end", states=KNOWN)
def receive_end(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take note that the partner has ended it."""
    _parted_by_them(peer, "end", message)


@transaction.atomic
def receive_rotation(document: Any, request: HttpRequest | None = None) -> Peer:
    """Take a new key of a known partner if the old one vouches for it; its agreements and packages follow it.

    Signed by the old key alone, so it needs no signed request. Who sends it again, since our answer was lost, is told
    the same again; only `request` can show that it is the partner who asks.
    """
    old_id = identity.predecessor(document)
    peer = Peer.objects.select_for_update().filter(store_id=old_id, kind="breakwater", state__in=KNOWN).first()
    if peer is None and request is not None:
        peer = _renamed(old_id, request)
        if peer is not None:
            return peer
    if peer is None:
        raise Missing(say("This store knows no partner with that key."))
    sender = _signer(document, request) if request is not None else ""
    new_id, pem = identity.read_rotation(document, dsse.load_public(peer.public_pem), sender=sender)
    if identity.is_ours(new_id) or Peer.objects.filter(store_id=new_id).exists():
        raise Conflict(say("That key belongs to another store already."))
    known = services.acquaintance(peer)
    if peer.confirmed_at is None and len(known.former_ids) >= _KEYS_OF_A_STRANGER:
        raise Denied(say("This store changes its key too often; it may introduce itself anew when it is settled."))
    known.former_ids = [*known.former_ids, old_id][-20:]
    known.strange_key, known.strange_key_at = "", None
    known.save()
    peer.store_id, peer.public_pem = new_id, pem
    peer.save(update_fields=["store_id", "public_pem"])
    Package.objects.filter(origin=old_id).update(origin=new_id)
    audit.record(_name(peer), "peer.rekey", peer, old=old_id, new=new_id)
    return peer


# Inside


def _signer(document: Any, request: HttpRequest) -> str:
    """Return the id of the new key that a statement names, if the request is signed with it; else nothing."""
    try:
        claim, key = wire.read_claim(request), dsse.load_public(identity.successor(document))
        wire.check_claim(request, claim, key)
    except (Unauthenticated, Invalid):
        return ""
    return claim.key_id


def _renamed(old_id: str, request: HttpRequest) -> Peer | None:
    """Return the partner that had that key before, if the request is signed with its present one."""
    try:
        claim = wire.read_claim(request)
        peer = Peer.objects.filter(store_id=claim.key_id, kind="breakwater", state__in=KNOWN).first()
        if peer is None or old_id not in services.acquaintance(peer).former_ids:
            return None
        wire.check_claim(request, claim, dsse.load_public(peer.public_pem))
    except Unauthenticated:
        return None
    return peer


def _compare(typed: str, key_id: str) -> None:
    if not identity.same_fingerprint(typed, key_id):
        detail = say("That is not the fingerprint of the key that answers there. If it was typed right, do not go on.")
        raise Invalid(detail, errors=[{"field": "fingerprint", "detail": detail}])


def _refuse_strange_key(found: Identity, *, note: bool = True) -> None:
    """Refuse another key under the address of a known partner, and show that on the partner's page."""
    known = (
        Peer.objects.filter(url=found.url, kind="breakwater", state__in=KNOWN).exclude(store_id=found.store_id).first()
    )
    if known is None:
        return
    if known.confirmed_at is None:
        # It only says that this is its address, and nobody has confirmed it: no reason to keep the other one out.
        return
    if note:
        told = services.acquaintance(known)
        told.strange_key, told.strange_key_at = found.store_id, timezone.now()
        told.save(update_fields=["strange_key", "strange_key_at", "changed_at"])
    raise Conflict(
        say(
            "{name} is known at that address by another key. A new key is taken only when the "
            "old one vouches for it; otherwise end that partnership first and meet anew.",
            name=known.name,
        ),
        peer=known.name,
    )


def _make_room(peer: Peer | None) -> None:
    """Keep the table of strangers small: forget the stale ones, and take no more than so many."""
    now = timezone.now()
    if peer is not None and peer.state == Peer.State.ENDED:
        told = services.acquaintance(peer)
        if told.changed_at > now - REST:
            if not told.their_state:
                raise Denied(say("This store has refused yours; it may introduce itself again after a day."))
            if peer.confirmed_at is None:
                raise Denied(say("Your store took its introduction back; it may introduce itself again after a day."))
    strangers = Peer.objects.filter(kind="breakwater", confirmed_at=None)
    strangers.filter(state=Peer.State.PENDING, created_at__lt=now - PATIENCE).delete()
    strangers.filter(state=Peer.State.ENDED, created_at__lt=now - PATIENCE).delete()
    fresh = peer is None or peer.state == Peer.State.ENDED
    if fresh and strangers.count() >= settings.FEDERATION_INTRODUCTIONS:
        raise Throttled(
            say(
                "Too many stores wait here for an answer. Ask the administrator of this store to "
                "begin the meeting instead."
            ),
            retry_after=3600,
        )


def _begin_again(peer: Peer, found: Identity, *, confirmed: bool) -> None:
    """Meet a store anew with which it had ended; what was agreed then counts no more."""
    now = timezone.now()
    peer.state, peer.name, peer.url, peer.problem = Peer.State.PENDING, found.name, found.url, None
    peer.confirmed_at, peer.they_confirmed_at = (now, None) if confirmed else (None, now)
    # The one way back for a partner that went back to an older release: its administrator and ours meet anew.
    peer.answers_signed_at = _signs_since(found)
    peer.save()
    Acquaintance.objects.update_or_create(
        peer=peer,
        defaults={"their_state": "", "reason": "", "their_reason": "", "introduced_by_us": confirmed, "last_number": 0},
    )


def _signs_since(found: Identity) -> datetime | None:
    return timezone.now() if found.signs_answers else None


def _note_signing(peer: Peer, found: Identity) -> None:
    """Remember that the store signs its answers. An older document that does not say so changes nothing."""
    if found.signs_answers and peer.answers_signed_at is None:
        peer.answers_signed_at = timezone.now()
        peer.save(update_fields=["answers_signed_at"])


def _confirmed_by_us(peer: Peer, actor: Actor) -> Peer:
    peer.confirmed_at = timezone.now()
    if peer.they_confirmed_at is not None:
        peer.state = Peer.State.ACTIVE
    peer.save(update_fields=["confirmed_at", "state"])
    audit.record(actor, "peer.confirm", peer, store=peer.store_id)
    services.tell(peer, "confirm", **{"from": identity.store_id(), "to": peer.store_id})
    return peer


def _confirmed_by_them(peer: Peer) -> None:
    if peer.they_confirmed_at is not None and peer.confirmed_at is None:
        return  # said before: a stranger that says it all day long leaves one trace
    peer.they_confirmed_at = peer.they_confirmed_at or timezone.now()
    if peer.confirmed_at is not None:
        peer.state = Peer.State.ACTIVE
    peer.save(update_fields=["they_confirmed_at", "state"])
    audit.record(_name(peer), "peer.confirmed", peer, store=peer.store_id)


@transaction.atomic
def _part(peer: Peer, event: str, reason: str, actor: Actor) -> Peer:
    manager(actor)
    held = _held(peer)
    held.state = after(held.state, event)
    held.save(update_fields=["state"])
    told = services.acquaintance(held)
    told.reason = services.reason_of(reason, needed=event != "resume")
    told.save(update_fields=["reason", "changed_at"])
    if held.state == Peer.State.ENDED:
        _end_agreements(held, told.reason)
    audit.record(actor, f"peer.{event}", held, reason=told.reason)
    if held.kind == "breakwater":
        services.tell(held, event, reason=told.reason)
    return held


def _parted_by_them(peer: Peer, event: str, message: Mapping[str, Any]) -> None:
    told = services.acquaintance(peer)
    before = (told.their_state, told.their_reason)
    told.their_reason = services.reason_of(message.get("reason"))
    told.their_state = {"suspend": "suspended", "resume": ""}.get(event, "ended")
    if before == (told.their_state, told.their_reason):
        return  # the same again is no event
    told.save(update_fields=["their_reason", "their_state", "changed_at"])
    if told.their_state == "ended":
        peer.state = after(peer.state, event)
        peer.save(update_fields=["state"])
        _end_agreements(peer, told.their_reason)
    audit.record(_name(peer), f"peer.{event}", peer, reason=told.their_reason)


def _end_agreements(peer: Peer, reason: str) -> None:
    open_states = (Agreement.State.ACCEPTED, Agreement.State.PROPOSED)
    Agreement.objects.filter(peer=peer, state__in=open_states).update(
        state=Agreement.State.ENDED, reason=reason[:500], settled_at=timezone.now()
    )


def _held(peer: Peer) -> Peer:
    found = Peer.objects.select_for_update().filter(pk=peer.pk).first()
    if found is None:
        raise Missing(say("The partner is gone."))
    return found


def _name(peer: Peer) -> str:
    return f"store {peer.name}"
