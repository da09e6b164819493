"""Verbs of passkeys (WebAuthn level 3), on `fido2`: register, sign in, prove oneself a second time.

A passkey asks for the person (PIN, finger, face), so it is two factors at once. Challenges live in the session and are
taken once. Browsers allow passkeys under names, not under bare addresses; `usable` says whether ours will do.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from core.accounts.access import Actor
from core.accounts.models import User
from core.audit import services as audit
from core.errors import Conflict, Invalid, Missing, Unauthenticated
from core.sign_in import factors
from core.sign_in.models import Passkey

_STATE = "sign_in_challenge"
MOST = 20


def usable() -> bool:
    """Return whether browsers take passkeys at our address: by https or on this machine, and under a name."""
    parts = urlsplit(settings.PUBLIC_URL)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return parts.scheme == "https" or host == "localhost" or host.endswith(".localhost")
    return False


def begin_registration(session: Any, user: User) -> dict[str, Any]:
    """Return what `navigator.credentials.create` is given; the challenge waits in the session."""
    rows = list(Passkey.objects.filter(user=user))
    if len(rows) >= MOST:
        raise Conflict(_("You have %d passkeys; remove one first.") % MOST)
    entity = PublicKeyCredentialUserEntity(id=user.pk.bytes, name=user.username, display_name=user.username)
    options, state = _server().register_begin(
        entity,
        [_descriptor(row) for row in rows],
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )  # fmt: skip
    session[_STATE] = {"for": "create", **state}
    return dict(options.public_key)


@transaction.atomic
def register(session: Any, user: User, *, name: str, answer: Any) -> tuple[Passkey, list[str]]:
    """Keep what the authenticator made; returns it, and recovery codes when there were none."""
    state = _state(session, "create")
    if not name.strip() or len(name) > 80:
        raise Invalid(_("Give it a name of at most 80 letters, such as the device it is on."), field="name")
    try:
        found = _server().register_complete(state, _document(answer))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise Invalid(_("The passkey cannot be taken: %s") % str(problem)[:120], field="answer") from None
    assert found.credential_data is not None
    try:
        with transaction.atomic():
            made = Passkey.objects.create(
                user=user,
                name=name.strip(),
                credential_id=websafe_encode(found.credential_data.credential_id),
                public_key=bytes(found.credential_data),
                sign_count=found.counter,
            )
    except IntegrityError:
        raise Conflict(_("This passkey is registered already.")) from None
    audit.record(Actor(user), "factor.add", user, kind="passkey", name=made.name)
    codes = [] if user.recovery_codes.exists() else factors.renew_recovery_codes(user)  # type: ignore[attr-defined]
    return made, codes


def begin(session: Any) -> dict[str, Any]:
    """Return what `navigator.credentials.get` is given. It names nobody, so it tells nothing about who has passkeys."""
    options, state = _server().authenticate_begin(user_verification=UserVerificationRequirement.REQUIRED)
    session[_STATE] = {"for": "get", **state}
    return dict(options.public_key)


def verify(session: Any, *, answer: Any, expected: User | None = None) -> User:
    """Return whose passkey signed our challenge; `Unauthenticated` when none did, or it is not `expected`'s."""
    state = _state(session, "get")
    refused = Unauthenticated(_("This passkey opens nothing here."))
    try:
        response = AuthenticationResponse.from_dict(_document(answer))
        row = Passkey.objects.select_related("user").filter(credential_id=websafe_encode(response.raw_id)).first()
        if row is None or not row.user.is_active or (expected is not None and row.user_id != expected.pk):
            raise refused
        _server().authenticate_complete(state, [AttestedCredentialData(bytes(row.public_key))], response)
        count = response.response.authenticator_data.counter
        handle = response.response.user_handle
    except (ValueError, TypeError, KeyError, AttributeError):
        raise refused from None
    if handle is not None and handle != row.user.pk.bytes:
        raise refused
    _count(row, count)
    return row.user


def _count(row: Passkey, count: int) -> None:
    """Remember the counter; one that does not grow is a copied key (WebAuthn, 6.1.1). Many authenticators have none."""
    fresh = Passkey.objects.filter(pk=row.pk)
    if count or row.sign_count:
        fresh = fresh.filter(sign_count__lt=count)
    if not fresh.update(sign_count=count, last_used_at=timezone.now()):
        audit.record(Actor(row.user), "factor.copied", row.user, name=row.name)
        raise Unauthenticated(_("This passkey seems to have been copied; remove it and register another."))


@transaction.atomic
def remove(user: User, pk: Any, *, actor: Actor) -> None:
    """Forget a passkey."""
    row = Passkey.objects.filter(user=user, pk=pk).first()
    if row is None:
        raise Missing(_("There is no such passkey, or it is not yours."))
    audit.record(actor, "factor.remove", user, kind="passkey", name=row.name)
    row.delete()
    factors.drop_codes_without_factor(user)


def _descriptor(row: Passkey) -> PublicKeyCredentialDescriptor:
    identifier = websafe_decode(row.credential_id)
    return PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=identifier)


def _server() -> Fido2Server:
    parts = urlsplit(settings.PUBLIC_URL)
    origin = f"{parts.scheme}://{parts.netloc}"
    if not usable():
        raise Conflict(_("Passkeys need this store to be reached by https under a name; see PUBLIC_URL."))
    entity = PublicKeyCredentialRpEntity(id=parts.hostname, name=settings.STORE_NAME)
    return Fido2Server(entity, verify_origin=lambda said: said == origin)


def _state(session: Any, purpose: str) -> Any:
    # Taken out before it is looked at: a challenge is answered once, rightly or wrongly.
    state = session.pop(_STATE, None)
    if not isinstance(state, dict) or state.pop("for", "") != purpose:
        raise Invalid(_("Begin again: the question was answered already, or is too old."), field="answer")
    return state


def _document(answer: Any) -> Any:
    if isinstance(answer, str):
        try:
            answer = json.loads(answer[:20_000])
        except (ValueError, RecursionError):
            answer = None
    if not isinstance(answer, dict):
        raise ValueError("no answer of an authenticator")
    return answer
