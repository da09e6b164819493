"""Verbs of accounts: organisations, people, roles, tokens, signing in."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.accounts.access import Actor, unknown_scopes
from core.accounts.models import ApiToken, LoginAttempt, Membership, Organisation, Role, User
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing, Throttled, Unauthenticated
from core.words import say

TOKEN_PREFIX = "bwk_"  # noqa: S105  (a mark that secret scanners find, no secret)

#: Organisations that one person may administer and still found another.
MOST_LED = 20

#: Topics above this one hear that somebody got a role (`core.sign_in.policy`); called in the same transaction.
when_granted: list[Callable[[User], None]] = []


@transaction.atomic
def found_organisation(*, slug: str, name: str, actor: Actor) -> Organisation:
    """Make an organisation; whoever founds it becomes its administrator. `Conflict` when the slug is taken.

    `Denied` to a token that is bound to an organisation, or may not manage accounts.
    """
    token = actor.token
    if token is not None and (token.organisation_id or (token.scopes and "accounts.manage" not in token.scopes)):
        raise Denied(say("This needs a token with the scope 'accounts.manage' that is bound to no organisation."))
    if actor.user is not None:
        led = Membership.objects.filter(user=actor.user, role=Role.ADMIN)
        if led.count() >= MOST_LED:
            raise Conflict(say("You administer {most_led} organisations already; leave one first.", most_led=MOST_LED))
    if not name.isprintable():
        # It stands in e-mails and lists: one line, nothing that moves or turns text.
        raise Invalid(say("The name must be one line of printable letters"), field="name")
    organisation = Organisation(slug=slug, name=name)
    _clean(organisation)
    try:
        with transaction.atomic():
            organisation.save(force_insert=True)
    except IntegrityError:
        raise Conflict(say("The short name {slug} is taken; choose another.", slug=repr(slug)), field="slug") from None
    if actor.user is not None:
        Membership.objects.create(user=actor.user, organisation=organisation, role=Role.ADMIN)
    audit.record(actor, "organisation.found", organisation, organisation=organisation, slug=slug)
    return organisation


def operator() -> Organisation:
    """Return the organisation that runs this store: it owns what concerns the store as a whole.

    That is partner stores, the trust list of the store, certification profiles that everybody sees. `Missing` on an
    installation without organisations, and when the setting `OPERATOR` names none.
    """
    named = settings.OPERATOR
    found = (
        Organisation.objects.filter(slug=named).first()
        if named
        else Organisation.objects.order_by("created_at", "slug").first()
    )
    if found is None:
        raise Missing(
            say("There is no organisation {named}; set OPERATOR", named=repr(named))
            if named
            else say("There is no organisation yet")
        )
    return found


@transaction.atomic
def create_user(*, username: str, password: str, actor: Actor, email: str = "") -> User:
    """Make a person who can sign in; `Conflict` when the name is taken, `Invalid` for a weak password."""
    user = User(username=username, email=email)
    try:
        validate_password(password, user)
    except ValidationError as problem:
        raise Invalid(" ".join(problem.messages), field="password") from None
    user.set_password(password)
    if User.objects.filter(username=username).exists():
        raise Conflict(say("The user name {username} is taken.", username=repr(username)), field="username")
    _clean(user)
    user.save(force_insert=True)
    audit.record(actor, "user.create", user, username=username)
    return user


@transaction.atomic
def grant(user: User, organisation: Organisation, role: str, *, actor: Actor) -> Membership:
    """Give `user` a role in `organisation`; giving it twice is giving it once."""
    actor.require("accounts.manage", organisation)
    if role not in Role.values:
        raise Invalid(
            say("{role} is not a role; use one of {values}", role=repr(role), values=", ".join(Role.values)),
            field="role",
        )
    membership, fresh = Membership.objects.get_or_create(user=user, organisation=organisation, role=role)
    if fresh:
        audit.record(actor, "membership.grant", membership, organisation=organisation, user=user.username, role=role)
        for hear in when_granted:
            hear(user)
    return membership


def give_role(organisation: Organisation, *, username: str, role: str, actor: Actor) -> Membership:
    """Give a role to somebody whose accounts `actor` manages already, in this organisation or in another one.

    Everybody else is invited and accepts: whoever manages a member's accounts sees and ends their sessions, so nobody
    becomes a member unasked. `Missing` alike for strangers and for names that nobody has.
    """
    actor.require("accounts.manage", organisation)
    theirs = Membership.objects.filter(organisation_id__in=actor.organisations("accounts.manage"))
    user = User.objects.filter(username=username, pk__in=theirs.values("user")).first()
    if user is None:
        raise Missing(
            say("There is no member of that name whose accounts you manage; invite them instead."), field="username"
        )
    return grant(user, organisation, role, actor=actor)


@transaction.atomic
def withdraw_role(membership: Membership, *, actor: Actor) -> None:
    """Take a role away; `Conflict` for the last administrator of an organisation."""
    organisation = membership.organisation
    actor.require("accounts.manage", organisation)
    admins = Membership.objects.select_for_update().filter(organisation=organisation, role=Role.ADMIN)
    if membership.role == Role.ADMIN and len(admins) == 1:
        raise Conflict(say("An organisation keeps at least one administrator; give the role to somebody else first."))
    facts = {"user": membership.user.username, "role": membership.role}
    audit.record(actor, "membership.withdraw", membership, organisation=organisation, **facts)
    membership.delete()


@transaction.atomic
def remove_member(user: User, organisation: Organisation, *, actor: Actor) -> None:
    """Take all roles in an organisation away, with the tokens bound to it; `Conflict` for its last administrator."""
    actor.require("accounts.manage", organisation)
    rows = list(Membership.objects.filter(user=user, organisation=organisation).select_related("user", "organisation"))
    if not rows:
        raise Missing(say("There is no such member."))
    for row in rows:
        withdraw_role(row, actor=actor)
    tokens = ApiToken.objects.filter(user=user, organisation=organisation, revoked_at=None)
    ended = tokens.update(revoked_at=timezone.now())
    audit.record(actor, "member.remove", user, organisation=organisation, user=user.username, tokens=ended)


@transaction.atomic
def set_roles(user: User, organisation: Organisation, roles: list[str], *, actor: Actor) -> None:
    """Let a member have exactly these roles; new ones are given first, so that nobody is without any in between."""
    actor.require("accounts.manage", organisation)
    rows = Membership.objects.filter(user=user, organisation=organisation).select_related("user", "organisation")
    present = {row.role: row for row in rows}
    if not present:
        raise Missing(say("There is no such member."))
    if not roles:
        raise Invalid(say("Choose a role; who should have none any more is removed."), field="roles")
    for role in sorted(set(roles) - set(present)):
        grant(user, organisation, role, actor=actor)
    for role in sorted(set(present) - set(roles)):
        withdraw_role(present[role], actor=actor)


@transaction.atomic
def issue_token(
    user: User,
    *,
    name: str,
    actor: Actor,
    scopes: list[str] | None = None,
    organisation: Organisation | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make an API token; returns the row and the token itself, which is never shown again.

    A token never holds more than the one that made it: a token made with a token stays inside its scopes, ends with it
    and is revoked with it.
    """
    wrong = unknown_scopes(scopes or [])
    if wrong:
        raise Invalid(say("Unknown scopes: {wrong}", wrong=", ".join(wrong)), field="scopes")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid(say("The end of a token must lie in the future"), field="expires_at")
    if actor.token is not None:
        beyond = set(scopes or []) - set(actor.token.scopes)
        if actor.token.scopes and beyond:
            raise Denied(
                say("The token that asks does not hold {beyond} itself.", beyond=", ".join(sorted(beyond))),
                field="scopes",
            )
        scopes = scopes or actor.token.scopes
        organisation = actor.token.organisation or organisation
        ends = actor.token.expires_at
        if ends is not None and expires_at is not None and expires_at > ends:
            raise Denied(say("The token that asks ends before that itself."), field="expires_at")
        expires_at = expires_at or ends
    if organisation is not None and organisation.id not in actor.roles:
        raise Invalid(say("You are no member of that organisation"), field="organisation")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        user=user,
        name=name.strip(),
        hint=secret[:10],
        sha256=_digest(secret),
        scopes=scopes or [],
        organisation=organisation,
        expires_at=expires_at,
        made_with=actor.token,
    )
    _clean(token)
    token.save()
    audit.record(actor, "token.issue", token, organisation=organisation, name=token.name, scopes=token.scopes)
    return token, secret


@transaction.atomic
def revoke_token(token: ApiToken, *, actor: Actor) -> ApiToken:
    """Close the door for a token and for all that were made with it, at once; twice is once.

    A token revokes itself and what is not stronger than it: `Denied` otherwise.
    """
    by = actor.token
    if by is not None and by.pk != token.pk and not _within(token, by):
        raise Denied(say("This token may not revoke one that may do more than it does."))
    made = [token]
    # Whoever found a token may have made another one with it, to outlive the day that it is noticed.
    while made:
        for each in made:
            if each.revoked_at is None:
                each.revoked_at = timezone.now()
                each.save(update_fields=["revoked_at"])
                audit.record(actor, "token.revoke", each, organisation=each.organisation, name=each.name)
        made = list(ApiToken.objects.filter(made_with__in=made).select_related("organisation"))
    return token


def _within(token: ApiToken, by: ApiToken) -> bool:
    """Return whether a token may do nothing that `by` may not."""
    bound = by.organisation_id is None or token.organisation_id == by.organisation_id
    return bound and (not by.scopes or (bool(token.scopes) and set(token.scopes) <= set(by.scopes)))


def token_actor(secret: str) -> Actor:
    """Return who stands behind a bearer token; `Unauthenticated` when it opens nothing."""
    token = ApiToken.objects.alive().select_related("user", "organisation").filter(sha256=_digest(secret)).first()
    if token is None:
        raise Unauthenticated(say("This API token is unknown, has ended or was revoked."))
    now = timezone.now()
    # "Last used" is for people: once a minute is enough, and reads stay reads.
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Actor(token.user, token)


def sign_in(request: Any, *, username: str, password: str, address: str) -> User:
    """Return the person behind a name and password; `core.sign_in.services.admit` lets them in, or asks for more.

    `Unauthenticated` when they do not fit together, and `Throttled` after too many misses for that name from
    that address, or from the address at all. A right password during the pause is refused too.
    """
    throttle(username, address)
    user = authenticate(request, username=username, password=password)
    if user is None:
        missed(username, address)
        raise Unauthenticated(say("The user name and the password do not fit together."))
    forgive(username, address)
    return user  # type: ignore[return-value]


def check_password(user: User, password: str, *, address: str, field: str) -> None:
    """Pass when it is the password of `user`; `Invalid` names `field` otherwise. Misses count as at the door."""
    throttle(user.username, address)
    if not user.check_password(password):
        missed(user.username, address)
        raise Invalid(say("That is not your password."), field=field)
    forgive(user.username, address)


def throttle(name: str, address: str, *, anywhere: bool = False) -> None:
    """Pass unless there were too many misses lately; `Throttled` says when to come back.

    Misses count by name and address, and by address; with `anywhere` by name from all addresses together. Who passes
    counts as a miss until `forgive` is called: of many guesses at once no more than the limit are looked at.
    """
    since = timezone.now() - timedelta(seconds=settings.LOGIN_WINDOW)
    with transaction.atomic():
        misses = LoginAttempt.objects.filter(at__gt=since)
        here = misses.filter(address=address[:45])
        named = (misses if anywhere else here).filter(name=name[:150])
        if named.count() >= settings.LOGIN_LIMIT or here.count() >= settings.LOGIN_LIMIT * 4:
            raise Throttled(
                say(
                    "Too many failed sign-ins; try again in {login_window} minutes.",
                    login_window=settings.LOGIN_WINDOW // 60,
                ),
                retry_after=settings.LOGIN_WINDOW,
            )
        LoginAttempt.objects.create(name=name[:150], address=address[:45])


def missed(name: str, address: str) -> None:
    """Write a failed sign-in down in the audit trail; `throttle` has counted it."""
    since = timezone.now() - timedelta(seconds=settings.LOGIN_WINDOW)
    LoginAttempt.objects.filter(at__lt=since).delete()
    audit.record(Actor(None), "session.refuse", None, name=name[:150], address=address)


def forgive(name: str, address: str, *, anywhere: bool = False) -> None:
    """Forget the misses of a name, since it was its owner."""
    rows = LoginAttempt.objects.filter(name=name[:150])
    (rows if anywhere else rows.filter(address=address[:45])).delete()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _clean(row: Any) -> None:
    try:
        row.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as problem:
        errors = [{"field": field, "detail": " ".join(messages)} for field, messages in problem.message_dict.items()]
        raise Invalid("; ".join(f"{item['field']}: {item['detail']}" for item in errors), errors=errors) from None
