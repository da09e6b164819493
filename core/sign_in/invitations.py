"""Verbs of invitations: a link gives one person one role, once, until it ends or is withdrawn.

The link is shown to whoever invites, and sent by e-mail where an address was given. Only the digest of its secret is
kept, so sending it again makes a new link and the old one opens nothing any more.
"""

from __future__ import annotations

import hashlib
import secrets
import smtplib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core.accounts import services as accounts
from core.accounts.access import Actor, System
from core.accounts.models import Membership, Organisation, Role, User
from core.audit import services as audit
from core.audit.models import Entry
from core.errors import Conflict, Invalid, Missing, Throttled
from core.sign_in.models import Invitation

#: Invitations of one organisation that may wait at once, and e-mails about them in a day: the addresses are anybody's.
MOST, MOST_SENT = 200, 200


@dataclass(frozen=True, slots=True)
class Made:
    """An invitation with its link, which is told this once; `sent` says whether an e-mail went out, `problem` why not."""

    invitation: Invitation
    link: str
    sent: bool = False
    problem: str = ""


def invite(organisation: Organisation, *, role: str, email: str = "", actor: Actor) -> Made:
    """Invite somebody to a role in the organisation."""
    actor.require("accounts.manage", organisation)
    email = email.strip()
    if role not in Role.values:
        raise Invalid(_("%s is not a role.") % role[:40], field="role")
    if email:
        try:
            validate_email(email)
        except ValidationError:
            raise Invalid(_("That is no e-mail address."), field="email") from None
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        _may_send(organisation, email)
        waiting = Invitation.objects.waiting().filter(organisation=organisation)
        if email and waiting.filter(email__iexact=email, role=role).exists():
            raise Conflict(
                _("An invitation to this role waits for that address already; send it again."), field="email"
            )
        if waiting.count() >= MOST:
            raise Conflict(_("%d invitations wait already; withdraw some first.") % MOST)
        row = Invitation.objects.create(
            organisation=organisation,
            role=role,
            email=email,
            sha256=_digest(secret),
            invited_by=actor.user,
            expires_at=_end(),
        )
        audit.record(actor, "invitation.make", row, role=role, email=email)
    return _told(row, secret)


def send_again(row: Invitation, *, actor: Actor) -> Made:
    """Make a new link for an invitation that nobody has accepted, with a new end; the old link opens nothing any more."""
    actor.require("accounts.manage", row.organisation)
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        _may_send(row.organisation, row.email)
        fresh = Invitation.objects.filter(pk=row.pk, accepted_at=None, withdrawn_at=None)
        if not fresh.update(sha256=_digest(secret), expires_at=_end()):
            raise Conflict(_("This invitation was accepted or withdrawn."))
        audit.record(actor, "invitation.renew", row, role=row.role, email=row.email)
    row.refresh_from_db()
    return _told(row, secret)


@transaction.atomic
def withdraw(row: Invitation, *, actor: Actor) -> None:
    """Make a link open nothing any more; `Conflict` when somebody has come by it."""
    actor.require("accounts.manage", row.organisation)
    if not Invitation.objects.filter(pk=row.pk, accepted_at=None, withdrawn_at=None).update(
        withdrawn_at=timezone.now()
    ):
        raise Conflict(_("This invitation was accepted or withdrawn already."))
    audit.record(actor, "invitation.withdraw", row, role=row.role, email=row.email)


def find(secret: str) -> Invitation:
    """Return the invitation of a link; `Missing` when it opens nothing, whatever the reason."""
    row = (
        Invitation.objects.waiting().select_related("organisation", "invited_by").filter(sha256=_digest(secret)).first()
    )
    if row is None:
        raise Missing(_("This invitation is unknown, was used, or has ended. Ask who sent it for a new one."))
    return row


@transaction.atomic
def accept(secret: str, user: User) -> Membership:
    """Give `user` the role of the invitation; a link is taken once."""
    row = find(secret)
    # The condition is in the statement: of two people with one link one comes in.
    if not Invitation.objects.waiting().filter(pk=row.pk).update(accepted_at=timezone.now(), accepted_by=user):
        raise Missing(_("This invitation was used just now."))
    made = accounts.grant(user, row.organisation, row.role, actor=System("invitation"))
    facts = {"role": row.role, "invited_by": str(row.invited_by) if row.invited_by else ""}
    audit.record(Actor(user), "invitation.accept", row, **facts)
    return made


@transaction.atomic
def accept_as_new(secret: str, *, username: str, password: str) -> User:
    """Make an account for whoever holds the link, and give it the role."""
    row = find(secret)
    user = accounts.create_user(username=username, password=password, email=row.email, actor=System("invitation"))
    accept(secret, user)
    return user


def _may_send(organisation: Organisation, email: str) -> None:
    """Pass when an e-mail may go out; each is in the audit trail, also of invitations that were withdrawn."""
    if not email:
        return
    told = Entry.objects.filter(organisation_id=organisation.pk, action__in=["invitation.make", "invitation.renew"])
    if told.filter(at__gt=timezone.now() - timedelta(days=1)).exclude(facts__email="").count() >= MOST_SENT:
        raise Throttled(
            _("%d invitations were sent today; go on tomorrow, or hand over links.") % MOST_SENT, retry_after=3600
        )


def _told(row: Invitation, secret: str) -> Made:
    link = f"{settings.PUBLIC_URL}/invitations/{secret}"
    if not row.email:
        return Made(row, link)
    text = _(
        "%(who)s invites you to %(organisation)s at %(store)s as %(role)s.\n\n%(link)s\n\n"
        "The link works once, until %(end)s. If you do not know what this is about, do nothing."
    ) % {
        "who": row.invited_by or settings.STORE_NAME, "organisation": " ".join(row.organisation.name.split()),
        "store": settings.STORE_NAME, "role": row.role, "link": link, "end": f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
    }  # fmt: skip
    # What people typed goes into one line of the header, never into two.
    subject = " ".join((_("Invitation to %s") % row.organisation.name).split())
    try:
        send_mail(subject, text, None, [row.email])
    except (OSError, smtplib.SMTPException) as problem:
        return Made(row, link, problem=type(problem).__name__)
    return Made(row, link, sent=True)


def _end() -> Any:
    return timezone.now() + timedelta(days=settings.INVITATION_DAYS)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
