"""Verbs of sessions: open one, or say which step is missing; end one, or all."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Membership, User
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing, Unauthenticated
from core.sign_in import devices, factors, policy
from core.sign_in.models import Session
from core.sign_in.sessions import FACTS

_HALF = "sign_in_half"
#: Seconds between the password and the second factor.
PATIENCE = 600
#: How fresh a sign-in must be to change the ways in.
RECENT = timedelta(minutes=30)


def admit(request: HttpRequest, user: User, *, how: str, strong: bool = False) -> str:
    """Let somebody in who showed one thing: a password, an identity, a passkey.

    Returns "" when the session is open. Otherwise nobody is in yet, and the answer says what is missing: `second`
    for the second factor that they have, `enrol` for one that their organisation wants and they do not have.
    """
    if not user.is_active:
        raise Unauthenticated(_("This account is closed."))
    missing = ""
    if not strong:
        missing = "second" if factors.has(user) else "enrol" if policy.wants_more_of(user) else ""
    if missing:
        # Whoever was in before is out: two people in one session would be a trap.
        request.session.flush()
        request.session[_HALF] = {"user": str(user.pk), "how": how, "at": time.time(), "step": missing}
        request.session.set_expiry(PATIENCE)
        return missing
    _open(request, user, how=how, strong=strong)
    return ""


def halfway(request: HttpRequest, step: str = "") -> User:
    """Return who has shown the first thing and not yet the second; `Unauthenticated` when nobody has, or too long ago."""
    half = request.session.get(_HALF)
    user = None
    if half and time.time() - half["at"] < PATIENCE and step in ("", half["step"]):
        user = User.objects.filter(pk=half["user"], is_active=True).first()
    if user is None:
        raise Unauthenticated(_("Begin the sign-in again."))
    return user


def complete(request: HttpRequest, *, by: str) -> User:
    """Open the session of somebody who was half in and has shown the second thing now."""
    user = halfway(request)
    how = f"{request.session[_HALF]['how']} + {by}"
    _open(request, user, how=how, strong=True)
    return user


def _open(request: HttpRequest, user: User, *, how: str, strong: bool) -> None:
    request.session.pop(_HALF, None)
    login(request, user)
    request.session.set_expiry(None)
    address = address_of(request)
    request.session[FACTS] = {
        "how": how[:80],
        "strong": strong,
        "device": devices.words(request.headers.get("User-Agent", "")),
        "address": address,
        "at": timezone.now().isoformat(),
    }
    audit.record(Actor(user), "session.open", user, address=address, how=how)


def strengthen(request: HttpRequest) -> None:
    """Write down that the second thing was shown in this session, after it was open."""
    facts = request.session.get(FACTS) or {"at": timezone.now().isoformat()}
    request.session[FACTS] = {**facts, "strong": True}


def address_of(request: HttpRequest) -> str:
    """Return where a request comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))[:45]


def managed(actor: Actor, ref: Any) -> Session:
    """Return a session that `actor` may end: their own, or one of a member whose accounts they manage; else `Missing`."""
    row = Session.objects.open().select_related("user").filter(ref=ref).first()
    if row is None or not (actor is SYSTEM or _may_end(actor, row.user_id)):
        raise Missing(_("There is no such session, or it is not yours to end."))
    return row


def _may_end(actor: Actor, owner: UUID | None) -> bool:
    if actor.user is None or owner is None:
        return False
    theirs = actor.organisations("accounts.manage")
    return owner == actor.user.pk or Membership.objects.filter(user_id=owner, organisation_id__in=theirs).exists()


@transaction.atomic
def revoke(session: Session, *, actor: Actor) -> None:
    """End a session: its next request is a stranger's."""
    facts = {"device": session.device, "address": session.address, "user": str(session.user)}
    audit.record(actor, "session.revoke", session.user, organisation=_organisation(actor, session.user), **facts)
    Session.objects.filter(pk=session.pk).delete()


@transaction.atomic
def revoke_all(user: User, *, actor: Actor, but: str | None = None) -> int:
    """End every session of somebody, but the one with the key `but`; returns how many."""
    ended, _rows = Session.objects.filter(user=user).exclude(session_key=but or "").delete()
    if ended:
        audit.record(actor, "session.revoke-all", user, organisation=_organisation(actor, user), sessions=ended)
    return ended


def _organisation(actor: Actor, user: User | None) -> Any:
    """Return in which tenant's audit trail it belongs that an administrator ended a member's session."""
    if actor.user is None or user is None or actor.user.pk == user.pk:
        return None
    theirs = actor.organisations("accounts.manage")
    return (
        Membership.objects.filter(user=user, organisation_id__in=theirs)
        .values_list("organisation_id", flat=True)
        .first()
    )


@transaction.atomic
def change_password(request: HttpRequest, *, actor: Actor, old: str, new: str) -> None:
    """Set a new password and end all other sessions; `Invalid` names the field that is wrong.

    Who has come by invitation and an identity provider has no password yet and gives none as the old one.
    """
    user = actor.user
    if user is None or actor.token is not None:
        raise Denied(_("A password is changed by its owner, signed in."))
    if user.has_usable_password():
        accounts.check_password(user, old, address=address_of(request), field="old")
    try:
        validate_password(new, user)
    except ValidationError as problem:
        raise Invalid(" ".join(problem.messages), field="new") from None
    if user.has_usable_password() and user.check_password(new):
        raise Invalid(_("The new password is the old one."), field="new")
    user.set_password(new)
    user.save(update_fields=["password"])
    update_session_auth_hash(request, user)
    # The key has just changed with the password.
    revoke_all(user, actor=actor, but=request.session.session_key)
    audit.record(actor, "user.password", user)


def drop_expired() -> int:
    """Delete sessions that have ended; returns how many."""
    gone, _rows = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return gone


def require_recent(request: HttpRequest) -> None:
    """Pass when the sign-in is fresh; `Conflict` otherwise: who finds an open screen must not add a way in of their own."""
    facts = request.session.get(FACTS)
    if facts and timezone.now() - datetime.fromisoformat(facts["at"]) > RECENT:
        raise Conflict(
            _("Your sign-in is older than %d minutes. Sign out and in again, then do this.") % (RECENT.seconds // 60)
        )
