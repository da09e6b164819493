"""Verbs of second factors: authenticator applications, recovery codes, and help by an administrator.

The secret of an application is sealed; recovery codes are kept as digests and shown once. A code is taken once.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.accounts.models import Membership, User
from core.audit import services as audit
from core.errors import Conflict, Denied, Invalid, Missing
from core.sign_in import totp
from core.sign_in.models import Passkey, RecoveryCode, Session, Totp
from core.vault import Vault

RECOVERY_CODES = 10
_PROPOSED = "sign_in_proposed"
#: Without letters and digits that look alike on paper.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def has(user: User) -> bool:
    """Return whether somebody has a second factor of any kind."""
    return Totp.objects.filter(user=user).exists() or Passkey.objects.filter(user=user).exists()


def propose(session: Any, user: User) -> str:
    """Return the secret that waits in this session to be taken by an application; the same until it was."""
    sealed = session.get(_PROPOSED, "")
    if sealed:
        with suppress(Invalid, ValueError):
            return _vault().open(bytes.fromhex(sealed), _purpose(user)).decode()
    secret = totp.new_secret()
    session[_PROPOSED] = _vault().seal(secret.encode(), _purpose(user)).hex()
    return secret


def forget_proposal(session: Any) -> None:
    """Forget the secret that waited, since an application has it now."""
    session.pop(_PROPOSED, None)


@transaction.atomic
def enrol(user: User, *, secret: str, code: str, address: str = "") -> list[str]:
    """Take an authenticator application that shows the right code; returns recovery codes when there were none.

    `Conflict` when there is one already: it is removed first, so that nobody replaces it unseen.
    """
    if Totp.objects.filter(user=user).exists():
        raise Conflict(_("There is an authenticator application already; remove it first."))
    accounts.throttle(_name(user), address, anywhere=True)
    step = totp.step_of(secret, _plain(code), time.time())
    if step is None:
        raise Invalid(_("That is not the code of this moment. Is the clock of the device right?"), field="code")
    accounts.forgive(_name(user), address, anywhere=True)
    Totp.objects.create(user=user, sealed_secret=_vault().seal(secret.encode(), _purpose(user)), last_step=step)
    audit.record(Actor(user), "factor.add", user, kind="authenticator application")
    return [] if RecoveryCode.objects.filter(user=user).exists() else renew_recovery_codes(user)


def verify(user: User, code: str, *, address: str) -> str:
    """Pass when `code` is the present one of the application, or a recovery code; returns which, for the record.

    Misses count from everywhere together: whoever gets here knows the password already.
    """
    accounts.throttle(_name(user), address, anywhere=True)
    plain = _plain(code)
    by = _by_application(user, plain) or _by_recovery_code(user, plain)
    if not by:
        accounts.missed(_name(user), address)
        raise Invalid(_("That code is wrong, or was used already."), field="code")
    accounts.forgive(_name(user), address, anywhere=True)
    return by


def _by_application(user: User, code: str) -> str:
    row = Totp.objects.filter(user=user).first()
    if row is None:
        return ""
    secret = _vault().open(bytes(row.sealed_secret), _purpose(user)).decode()
    step = totp.step_of(secret, code, time.time())
    # The condition is in the statement: of two requests with the same code one wins.
    taken = step is not None and Totp.objects.filter(pk=row.pk, last_step__lt=step).update(last_step=step)
    return "code" if taken else ""


@transaction.atomic
def _by_recovery_code(user: User, code: str) -> str:
    used, _rows = RecoveryCode.objects.filter(user=user, sha256=_digest(code)).delete()
    if not used:
        return ""
    left = RecoveryCode.objects.filter(user=user).count()
    audit.record(Actor(user), "factor.recovery-code", user, left=left)
    return "recovery code"


@transaction.atomic
def renew_recovery_codes(user: User) -> list[str]:
    """Make new recovery codes and return them, this once; the old ones open nothing any more."""
    codes = ["".join(secrets.choice(_ALPHABET) for _each in range(12)) for _code in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, sha256=_digest(each)) for each in codes)
    audit.record(Actor(user), "factor.recovery-codes", user, codes=len(codes))
    return [f"{each[:4]}-{each[4:8]}-{each[8:]}" for each in codes]


@transaction.atomic
def remove_application(user: User, *, actor: Actor) -> None:
    """Forget the authenticator application."""
    gone, _rows = Totp.objects.filter(user=user).delete()
    if not gone:
        raise Missing(_("There is no authenticator application."))
    audit.record(actor, "factor.remove", user, kind="authenticator application")
    drop_codes_without_factor(user)


def drop_codes_without_factor(user: User) -> None:
    """Recovery codes stand in for a factor; without one they would be a second password on paper."""
    if not has(user):
        RecoveryCode.objects.filter(user=user).delete()


@transaction.atomic
def recover(user: User, *, actor: Actor, reason: str) -> None:
    """Take all second factors of somebody away who lost them, and end their sessions; they enrol anew.

    Only for who manages the accounts of *every* organisation of that person: otherwise one tenant could open another's
    door. The command `recover_person` does it for who runs the store.
    """
    organisations = set(Membership.objects.filter(user=user).values_list("organisation_id", flat=True))
    theirs = actor.organisations("accounts.manage")
    if actor is not SYSTEM:
        if actor.user is not None and actor.user.pk == user.pk:
            raise Denied(_("Nobody recovers themselves; use a recovery code, or ask another administrator."))
        if not organisations & theirs:
            raise Missing(_("There is no such member."))
        if organisations - theirs:
            raise Denied(
                _(
                    "This person also belongs to an organisation that you do not administer. Who runs the store can help."
                )
            )
    if not reason.strip():
        raise Invalid(_("Say why, and how you know who asked."), field="reason")
    lost = {
        "application": Totp.objects.filter(user=user).delete()[0],
        "passkeys": Passkey.objects.filter(user=user).delete()[0],
        "codes": RecoveryCode.objects.filter(user=user).delete()[0],
    }
    ended, _rows = Session.objects.filter(user=user).delete()
    organisation = next(iter(organisations), None)
    audit.record(
        actor, "factor.recover", user, organisation=organisation, reason=reason.strip()[:300], sessions=ended, **lost
    )


def _name(user: User) -> str:
    # No user name has a colon, so this counts for itself.
    return f"second:{user.pk}"


def _plain(code: str) -> str:
    return "".join(each for each in code.lower() if each.isalnum())[:40]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _purpose(user: User) -> str:
    return f"user:{user.pk}:totp"


def _vault() -> Vault:
    return Vault(settings.VAULT_KEY)
