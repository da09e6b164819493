"""Verbs of the store's signing keys: have one, change it, sign with it."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from appstore.keys.models import SigningKey
from core import dsse
from core.accounts import services as accounts
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict
from core.vault import Vault
from core.words import say

#: Who this store is to other stores: agreements, feeds and requests are signed with it.
STORE: Final = "store"
#: Certificates of certification runs are signed with it.
LAB: Final = "lab"
#: The recall list that edges fetch is signed with it.
RECALL: Final = "recall"
#: The roles of The Update Framework, and the offers that are delegated (`appstore.federation.roots`).
TUF: Final = ("tuf-root", "tuf-targets", "tuf-snapshot", "tuf-timestamp", "tuf-offers")
PURPOSES = (STORE, LAB, RECALL, *TUF)


def current(purpose: str) -> SigningKey:
    """Return the key with which is signed now; it is made when it is first needed.

    `ValueError` for a purpose that nobody knows: a slip must not make a key.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"there is no signing key for {purpose!r}")
    known = SigningKey.objects.filter(purpose=purpose, retired_at=None).first()
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return _make(purpose)
    except IntegrityError:  # another process was quicker
        return SigningKey.objects.get(purpose=purpose, retired_at=None)


def private(key: SigningKey) -> ec.EllipticCurvePrivateKey:
    """Return the private half, to sign with; it is never shown, logged or stored anywhere."""
    der = _vault().open(bytes(key.sealed), _about(key.purpose))
    loaded = serialization.load_der_private_key(der, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded


def signer(purpose: str) -> ec.EllipticCurvePrivateKey:
    """Return the private half of the present key for `purpose`."""
    return private(current(purpose))


def known(purpose: str) -> list[dsse.PublicKey]:
    """Return every public key of ours for `purpose`, the retired ones too: what they signed stays verifiable."""
    return [
        dsse.load_public(pem) for pem in SigningKey.objects.filter(purpose=purpose).values_list("public_pem", flat=True)
    ]


@transaction.atomic
def rotate(purpose: str, *, actor: Actor) -> SigningKey:
    """Retire the present key and sign with a new one from now on; for those who manage trust at the store's operator.

    `Conflict` when somebody else does the same at this moment.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"there is no signing key for {purpose!r}")
    if actor is not SYSTEM:
        actor.require("trust.manage", accounts.operator())
    SigningKey.objects.filter(purpose=purpose, retired_at=None).update(retired_at=timezone.now())
    try:
        with transaction.atomic():
            made = _make(purpose)
    except IntegrityError:
        raise Conflict(say("The key is being changed by somebody else; look again before another try.")) from None
    audit.record(actor, "key.rotate", made, purpose=purpose)
    return made


def _make(purpose: str) -> SigningKey:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningKey.objects.create(
        id=dsse.key_id(public), purpose=purpose, public_pem=pem.decode(), sealed=_vault().seal(der, _about(purpose))
    )


def _vault() -> Vault:
    return Vault(settings.VAULT_KEY)


def _about(purpose: str) -> str:
    return f"signing-key:{purpose}"
