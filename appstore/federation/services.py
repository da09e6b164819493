"""Telling a partner something: written down with what it is about, delivered in order by a worker, refused for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from appstore.federation import wire
from appstore.federation.models import Peer
from appstore.federation.models_peers import Acquaintance, OutMessage
from core.accounts.access import Actor
from core.errors import BreakwaterError, Denied, Invalid, Rejected, Unavailable
from core.operations import services as operations
from core.operations.models import Operation
from core.words import say

DELIVER: Final = "federation.deliver"
#: Where kinds go that are not for the common door, since the receiver cannot know our key yet.
DOORS: Final = {"introduce": f"{wire.ROOT}/introductions", "rotate": f"{wire.ROOT}/rotations"}
#: The member of a message by which its order is known.
NUMBER: Final = "number"
DOOR: Final = f"{wire.ROOT}/messages"
_AT_ONCE = 100

Receive = Callable[[Peer, Mapping[str, Any]], None]
Refused = Callable[[OutMessage], None]


@dataclass(frozen=True, slots=True)
class _Receiver:
    receive: Receive
    states: tuple[str, ...]


_receivers: dict[str, _Receiver] = {}
_refusals: dict[str, Refused] = {}


def receives(kind: str, *, states: tuple[str, ...] = (Peer.State.ACTIVE,)) -> Callable[[Receive], Receive]:
    """Decorate the function that takes messages of `kind`; the same message may come twice and must count once."""

    def add(receive: Receive) -> Receive:
        _receivers[kind] = _Receiver(receive, states)
        return receive

    return add


def when_refused(kind: str) -> Callable[[Refused], Refused]:
    """Decorate what is done when the partner says no to a message of `kind` of ours."""

    def add(act: Refused) -> Refused:
        _refusals[kind] = act
        return act

    return add


def receive(peer: Peer, message: Any) -> None:
    """Take a message of a partner, which has been authenticated; `Invalid` when it is none that we know."""
    kind = message.get("kind") if isinstance(message, Mapping) else None
    receiver = _receivers.get(kind) if isinstance(kind, str) else None
    if receiver is None:
        raise Invalid(
            say("Messages have one of these kinds: {receivers}", receivers=", ".join(sorted(_receivers))), field="kind"
        )
    with transaction.atomic():
        held = Peer.objects.select_for_update().get(pk=peer.pk)
        if not _in_order(held, message):
            return
        if held.state not in receiver.states:
            raise Denied(
                say(
                    "Between this store and yours the state is {state}; that does not allow this.",
                    state=repr(held.state),
                )
            )
        receiver.receive(held, message)
    # Who speaks can be spoken to: what could not be delivered may be now.
    if OutMessage.objects.waiting().filter(peer=peer).exists():
        request_delivery(peer)


def tell(peer: Peer, kind: str, **body: Any) -> OutMessage:
    """Write down that the peer has to be told something; it is signed when it is sent."""
    message = OutMessage.objects.create(peer=peer, kind=kind, body={**body, NUMBER: _next_number(peer)})
    request_delivery(peer)
    return message


def _next_number(peer: Peer) -> int:
    """Return a number that is larger than all before it: the time in microseconds, so that a restored store goes on."""
    last = OutMessage.objects.filter(peer=peer).order_by("-id").values_list("body", flat=True).first()
    return max(time.time_ns() // 1000, int((last or {}).get(NUMBER, 0)) + 1)


def _in_order(peer: Peer, message: Mapping[str, Any]) -> bool:
    """Note how far the partner's messages have come; False for one that is older than one that was taken.

    Somebody on the line could keep a `suspend` back, have it sent again, and let it go after the `resume`. The same
    number again is the same message, whose answer was lost. Older releases number nothing.
    """
    number = message.get(NUMBER)
    if number is None:
        return True
    if type(number) is not int or not 0 < number < 2**62:
        raise Invalid(say("The number of a message is a positive integer."), field=NUMBER)
    known = acquaintance(peer)
    if number < known.last_number:
        return False
    known.last_number = number
    known.save(update_fields=["last_number"])
    return True


def request_delivery(peer: Peer, *, actor: Actor | None = None) -> Operation:
    """Ask a worker to deliver what waits for this peer."""
    return operations.request(
        DELIVER, f"peer-mail:{peer.pk}", organisation=peer.organisation_id, actor=actor, peer=str(peer.pk)
    )


def deliver(peer: Peer) -> int:
    """Send what waits for the peer, oldest first; return how many went out.

    Stops with `Unavailable` or `TimedOut` when the peer cannot be reached; a message that it refuses is put aside with
    its reason, and the next one is sent.
    """
    # What our old key vouches for comes first: without it the peer knows none of our newer signatures.
    waiting = list(OutMessage.objects.waiting().filter(peer=peer)[:_AT_ONCE])
    waiting.sort(key=lambda message: message.kind != "rotate")
    if not waiting:
        return 0
    try:
        with wire.client(peer) as client:
            for message in waiting:
                _deliver(client, message)
    except BreakwaterError as error:
        OutMessage.objects.waiting().filter(peer=peer).update(tries=F("tries") + 1, problem=error.problem())
        note_problem(peer, error)
        raise
    Peer.objects.filter(pk=peer.pk).update(problem=None)
    return len(waiting)


def _deliver(client: wire.SignedClient, message: OutMessage) -> None:
    body = message.body if message.kind in DOORS else {"kind": message.kind, **message.body}
    rows = OutMessage.objects.filter(pk=message.pk)
    try:
        client.post(DOORS.get(message.kind, DOOR), body)
    except Rejected as refusal:
        if not _is_no(refusal):
            raise Unavailable(refusal.detail, **refusal.context) from refusal
        with transaction.atomic():
            rows.update(refusal=refusal.problem(), tries=F("tries") + 1)
            act = _refusals.get(message.kind)
            if act is not None:
                message.refusal = refusal.problem()
                act(message)
        return
    rows.update(sent_at=timezone.now(), problem=None, tries=F("tries") + 1)


def _is_no(refusal: Rejected) -> bool:
    """Return whether the partner itself said no to the message; nonsense on the line ends no matter.

    401 is no such word: it says that our request was not recognised, and waiting may help (clocks, a change of key).
    """
    status = refusal.context.get("remote_status")
    return isinstance(status, int) and 400 <= status < 500 and status not in (401, 407, 408)


def note_problem(peer: Peer, error: BreakwaterError) -> None:
    """Keep the last thing that went wrong with a peer, for its page."""
    Peer.objects.filter(pk=peer.pk).update(problem={**error.problem(), "at": timezone.now().isoformat()})


def acquaintance(peer: Peer) -> Acquaintance:
    """Return what was told between the peer and us; it is made when it is first needed."""
    return Acquaintance.objects.get_or_create(peer=peer)[0]


def reason_of(text: Any, *, needed: bool = False) -> str:
    """Return a reason as it may be stored and shown; `Invalid` when one is needed and there is none."""
    reason = "".join(each if each.isprintable() else " " for each in str(text or ""))[:500].strip()
    if needed and not reason:
        raise Invalid(
            say("Say why; the partner is told."), errors=[{"field": "reason", "detail": say("must not be empty")}]
        )
    return reason
