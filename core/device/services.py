"""Verbs of the device flow: begin, look at, approve or refuse, redeem."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.accounts import services as accounts
from core.accounts.access import Actor, unknown_scopes
from core.accounts.models import ApiToken, Organisation
from core.audit import services as audit
from core.device.models import Grant, Miss
from core.errors import BreakwaterError, Conflict, Denied, Invalid, Missing, Throttled
from core.words import say

#: No vowels, so that no words come out, and nothing that looks like something else (RFC 8628, 6.1): 20^8 codes.
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
#: Requests of one address that may wait at a time, and wrong codes of one person in `LOGIN_WINDOW`.
MOST_WAITING, MOST_MISSES = 20, 10
_SLOWER = 5


class Refusal(Invalid):
    """No token, for the reason `error` of RFC 8628, 3.5 or RFC 6749, 5.2."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail, error=error)
        self.error = error


def begin(*, client_id: str, client_name: str, address: str, scopes: list[str]) -> tuple[Grant, str]:
    """Let a program ask for a sign-in; returns the grant and its device code, which is not kept."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", client_id):
        raise Refusal("invalid_client", say("client_id must be 1 to 60 letters, digits, dots and dashes."))
    wrong = unknown_scopes(scopes)
    if wrong:
        raise Refusal("invalid_scope", say("Unknown scopes: {wrong}", wrong=", ".join(wrong)[:200]))
    now = timezone.now()
    Grant.objects.filter(expires_at__lt=now - timedelta(hours=1)).delete()
    if Grant.objects.waiting().filter(address=address[:45]).count() >= MOST_WAITING:
        raise Throttled(say("Too many sign-ins from your address wait for an approval."), retry_after=60)
    secret = secrets.token_urlsafe(32)
    # What a program says of itself is shown to people: one line, nothing that moves or turns text.
    name = "".join(letter for letter in client_name if letter.isprintable()).strip()[:80]
    while True:
        try:
            with transaction.atomic():
                made = Grant.objects.create(
                    device_sha256=_digest(secret),
                    user_code="".join(secrets.choice(LETTERS) for _ in range(8)),
                    client_id=client_id,
                    client_name=name or client_id,
                    address=address[:45],
                    scopes=scopes,
                    expires_at=now + timedelta(minutes=settings.DEVICE_CODE_MINUTES),
                )
        except IntegrityError:
            continue  # that code waits already
        return made, secret


def look_up(code: str, *, actor: Actor) -> Grant:
    """Return the request that waits with this code; `Throttled` for somebody who guesses."""
    user = actor.user
    assert user is not None
    since = timezone.now() - timedelta(seconds=settings.LOGIN_WINDOW)
    if Miss.objects.filter(user=user, at__gt=since).count() >= MOST_MISSES:
        raise Throttled(say("Too many wrong codes; wait a while and begin anew."), retry_after=settings.LOGIN_WINDOW)
    plain = "".join(letter for letter in code.upper() if letter in LETTERS)
    found = Grant.objects.waiting().filter(user_code=plain).first() if len(plain) == 8 else None
    if found is None:
        Miss.objects.filter(at__lt=since).delete()
        Miss.objects.create(user=user)
        raise Missing(
            say("Nobody waits with this code; it may have ended. Begin anew on your machine."), field="user_code"
        )
    return found


@transaction.atomic
def approve(grant: Grant, *, actor: Actor, organisation: Organisation | None = None) -> None:
    """Let the program in as `actor`, bound to `organisation` if one is given; its next question is answered by a token."""
    _only_people(actor)
    if organisation is not None and organisation.pk not in actor.roles:
        raise Invalid(say("You are no member of that organisation"), field="organisation")
    _settle(grant, Grant.State.APPROVED, user=actor.user, organisation=organisation)
    facts = {"program": grant.client_name, "address": grant.address}
    audit.record(actor, "device.approve", grant, organisation=organisation, **facts)


@transaction.atomic
def refuse(grant: Grant, *, actor: Actor) -> None:
    """Keep the program out."""
    _only_people(actor)
    _settle(grant, Grant.State.REFUSED)
    audit.record(actor, "device.refuse", grant, program=grant.client_name, address=grant.address)


def redeem(secret: str, client_id: str) -> tuple[ApiToken, str]:
    """Return the token of an approved request, once; `Refusal` says why there is none, or none yet."""
    problem: Refusal | None = None
    with transaction.atomic():
        grant = (
            Grant.objects.select_for_update(of=("self",))
            .select_related("user", "organisation")
            .filter(device_sha256=_digest(secret), client_id=client_id)
            .first()
        )
        if grant is None or grant.state == Grant.State.SPENT:
            raise Refusal("invalid_grant", say("This device code is unknown or was used already."))
        if grant.state == Grant.State.REFUSED:
            raise Refusal("access_denied", say("The sign-in was refused."))
        now = timezone.now()
        if grant.expires_at <= now:
            raise Refusal("expired_token", say("The device code has ended; begin anew."))
        if grant.state == Grant.State.APPROVED:
            return _handed_out(grant)
        # Not raised in here: what was noted about this question must stay.
        problem = _not_yet(grant)
    raise problem


def _not_yet(grant: Grant) -> Refusal:
    """Note the question, and ask whoever asks too often to slow down."""
    now = timezone.now()
    early = grant.polled_at is not None and (now - grant.polled_at).total_seconds() < grant.interval
    grant.polled_at = now
    if early:
        grant.interval = min(grant.interval + _SLOWER, 60)
    grant.save(update_fields=["polled_at", "interval"])
    if early:
        return Refusal("slow_down", say("Ask every {interval} seconds.", interval=grant.interval))
    return Refusal("authorization_pending", say("Nobody has approved this yet."))


def _handed_out(grant: Grant) -> tuple[ApiToken, str]:
    user = grant.user
    if user is None or not user.is_active:
        raise Refusal("access_denied", say("Whoever approved this may not sign in any more."))
    grant.state = Grant.State.SPENT
    grant.save(update_fields=["state"])
    days = settings.DEVICE_TOKEN_DAYS
    try:
        return accounts.issue_token(
            user,
            name=grant.client_name,
            actor=Actor(user),
            scopes=grant.scopes,
            organisation=grant.organisation,
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
    except BreakwaterError as error:
        # No member of that organisation any more, say.
        raise Refusal("access_denied", error.detail) from None


def _settle(grant: Grant, state: str, **facts: object) -> None:
    """Decide, unless it was decided or has ended meanwhile."""
    if not Grant.objects.waiting().filter(pk=grant.pk).update(state=state, **facts):
        raise Conflict(say("This sign-in was decided already, or its code has ended."))
    grant.state = state


def _only_people(actor: Actor) -> None:
    # A token that could approve others would outlive its own revocation.
    if actor.token is not None or actor.user is None:
        raise Denied(say("Only a person who is signed in can let a program in."))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
