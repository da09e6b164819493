"""Recommend a release to a partner: a notice that its administrators take up or decline with a reason."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from appstore.federation import feed, meeting, services
from appstore.federation.models import Agreement, Peer, ReleaseGrant, RemoteRelease
from appstore.federation.models_peers import OutMessage, Recommendation
from appstore.packages import states
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Unavailable
from core.operations.models import Operation
from core.words import say

#: `request_import(peer, ref, actor) -> Operation` and `request_sync(peer, actor=...)`: the half that fetches. It is
#: asked for by name, so that this half also works, and says so, on an installation without it.
IMPORT: Final = "appstore.federation.imports.request_import"
SYNC: Final = "appstore.federation.sync.request_sync"
_HEX = frozenset("0123456789abcdef")


@transaction.atomic
def recommend(package: Package, peer: Peer, *, note: str, actor: Actor) -> Recommendation:
    """Tell a partner about one of our own releases; bounded a day by what was agreed.

    `Conflict` when it is no published release of ours, is not meant for that partner, or is recommended already.
    """
    meeting.manager(actor)
    agreement = _in_force(peer)
    if package.state != states.PUBLISHED or package.origin:
        raise Conflict(say("Only published releases of our own are recommended."))
    granted = ReleaseGrant.objects.filter(package=package, peer=peer).exists()
    if package.visibility != Package.Visibility.PUBLIC and not (
        package.visibility == Package.Visibility.PARTNERS and granted
    ):
        raise Conflict(
            say("{package} is not offered to {name}; change its visibility first.", package=package, name=peer.name)
        )
    offer = agreement.read().out
    if offer is None:
        raise Conflict(say("The agreement with {name} lets nothing go out.", name=peer.name))
    most = offer.limits.recommendations_per_day
    if _lately(peer, incoming=False) >= most:
        raise Conflict(say("The agreement allows {most} recommendations a day; try again tomorrow.", most=most))
    try:
        with transaction.atomic():
            made = Recommendation.objects.create(
                peer=peer,
                incoming=False,
                key=uuid.uuid4(),
                package=package,
                ref=str(package.pk),
                name=package.name,
                provider=package.provider,
                version=package.version,
                sha256=package.sha256,
                size=package.size,
                note=services.reason_of(note),
            )
    except IntegrityError:
        raise Conflict(
            say("{package} is recommended to {name} already and waits for an answer.", package=package, name=peer.name)
        ) from None
    audit.record(actor, "recommendation.send", made, organisation=peer.organisation_id, sha256=package.sha256)
    said = {name: getattr(made, name) for name in ("ref", "name", "provider", "version", "sha256", "size", "note")}
    services.tell(peer, "recommendation", key=str(made.key), **said)
    return made


def accept(recommendation: Recommendation, *, actor: Actor) -> Operation:
    """Fetch what a partner recommends, by the ordinary way of its offers, and tell it so."""
    meeting.manager(actor)
    fetch = port(IMPORT)
    peer = recommendation.peer
    _in_force(peer)
    with transaction.atomic():
        found = _open(recommendation)
        _insist_on_what_was_shown(found)
        operation: Operation = fetch(peer, found.ref, actor)
        _answer(found, Recommendation.State.ACCEPTED, "", actor)
    return operation


@transaction.atomic
def decline(recommendation: Recommendation, *, reason: str, actor: Actor) -> Recommendation:
    """Say no, with a reason, which travels back."""
    meeting.manager(actor)
    found = _open(recommendation)
    _answer(found, Recommendation.State.DECLINED, services.reason_of(reason, needed=True), actor)
    return found


def port(path: str) -> Callable[..., Any]:
    """Return a verb of the fetching half; `Unavailable` in plain words on an installation without it."""
    try:
        found: Callable[..., Any] = import_string(path)
    except ImportError:
        raise Unavailable(say("Fetching from partner stores is not part of this installation.")) from None
    return found


def can(path: str) -> bool:
    """Return whether that verb is there."""
    try:
        import_string(path)
    except ImportError:
        return False
    return True


# What the partner does


@services.receives("recommendation")
def receive(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take a notice of a partner: shown to our administrators, and nothing is fetched."""
    facts = _facts(message)
    if Recommendation.objects.filter(peer=peer, incoming=True, key=facts["key"]).exists():
        return
    offer = _in_force(peer).read().incoming
    if offer is None:
        raise Denied(say("The agreement lets nothing come in from your store."))
    if _lately(peer, incoming=True) >= offer.limits.recommendations_per_day:
        raise Denied(
            say(
                "The agreement allows {recommendations_per_day} recommendations a day.",
                recommendations_per_day=offer.limits.recommendations_per_day,
            )
        )
    if Recommendation.objects.filter(peer=peer, incoming=True, state="open", sha256=facts["sha256"]).exists():
        raise Conflict(say("This release is recommended already and waits for an answer."))
    made = Recommendation.objects.create(peer=peer, incoming=True, **facts)
    audit.record(f"store {peer.name}", "recommendation.receive", made, organisation=peer.organisation_id)


@services.receives("recommendation.answer", states=meeting.KNOWN)
def receive_answer(peer: Peer, message: Mapping[str, Any]) -> None:
    """Take the partner's answer to a notice of ours."""
    found = Recommendation.objects.filter(peer=peer, incoming=False, key=_uuid(message.get("key"))).first()
    state = message.get("state")
    if found is None or state not in (Recommendation.State.ACCEPTED, Recommendation.State.DECLINED):
        raise Invalid(say("That answers no recommendation of this store."))
    if found.state == Recommendation.State.OPEN:
        _settle(found, str(state), services.reason_of(message.get("reason")))
        audit.record(f"store {peer.name}", f"recommendation.{state}", found, organisation=peer.organisation_id)


@services.when_refused("recommendation")
def refused(message: OutMessage) -> None:
    """The notice itself was not taken."""
    detail = str((message.refusal or {}).get("detail", ""))
    rows = Recommendation.objects.filter(peer=message.peer_id, incoming=False, key=message.body["key"], state="open")
    for found in rows:
        _settle(found, Recommendation.State.DECLINED, f"Not taken by the partner's store. {detail}")


# Inside


def _in_force(peer: Peer) -> Agreement:
    found = peer.agreement()
    if found is None:
        raise Conflict(say("There is no agreement in force with {name}.", name=peer.name))
    return found


def _lately(peer: Peer, *, incoming: bool) -> int:
    since = timezone.now() - timedelta(days=1)
    return Recommendation.objects.filter(peer=peer, incoming=incoming, created_at__gt=since).count()


def _open(recommendation: Recommendation) -> Recommendation:
    found = Recommendation.objects.select_for_update().filter(pk=recommendation.pk, incoming=True).first()
    if found is None or found.state != Recommendation.State.OPEN:
        raise Conflict(say("This recommendation has been answered already."))
    return found


def _insist_on_what_was_shown(found: Recommendation) -> None:
    """`Conflict` when the partner's feed says something else by that reference than its notice: a person has read that."""
    offer = RemoteRelease.objects.filter(peer=found.peer_id, ref=found.ref).first()
    if offer is None:
        return  # whoever fetches says that
    shown = tuple(
        feed.tidy(text, most) for text, most in ((found.name, 128), (found.provider, 128), (found.version, 64))
    )
    if (offer.sha256, offer.name, offer.provider, offer.version) != (found.sha256, *shown):
        raise Conflict(
            say(
                "By this reference {peer} offers {offer}, not the release that it recommends. Decline it.",
                peer=found.peer,
                offer=f"{offer.name} {offer.version}",
            )
        )


def _answer(found: Recommendation, state: str, reason: str, actor: Actor) -> None:
    _settle(found, state, reason)
    audit.record(actor, f"recommendation.{state}", found, organisation=found.peer.organisation_id, reason=reason)
    services.tell(found.peer, "recommendation.answer", key=str(found.key), state=state, reason=reason)


def _settle(found: Recommendation, state: str, reason: str) -> None:
    found.state, found.reason, found.answered_at = state, reason[:500], timezone.now()
    found.save(update_fields=["state", "reason", "answered_at"])


def _facts(message: Mapping[str, Any]) -> dict[str, Any]:
    sha256, size = message.get("sha256"), message.get("size")
    if not isinstance(sha256, str) or len(sha256) != 64 or not set(sha256) <= _HEX:
        raise Invalid(say("sha256 must be the digest of the package"), field="sha256")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 53:
        raise Invalid(say("size must be a number of bytes"), field="size")
    texts: dict[str, str] = {}
    for name, longest in (("ref", 64), ("name", 128), ("provider", 128), ("version", 64)):
        value = message.get(name)
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise Invalid(
                say("{name} must be text of at most {longest} characters", name=name, longest=longest), field=name
            )
        if not value and name != "provider":
            raise Invalid(say("{name} must not be empty", name=name), field=name)
        texts[name] = value
    note = services.reason_of(message.get("note"))
    return {"key": _uuid(message.get("key")), "sha256": sha256, "size": size, "note": note, **texts}


def _uuid(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise Invalid(say("key must be a UUID"), field="key") from None
