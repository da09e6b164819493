"""The keys that sign access tokens: one signs, retired ones verify until their last token has expired."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import transaction
from jwt.algorithms import ECAlgorithm

from mep.mp1.models import Counter, SigningKey, new_id
from mep.mp1.secrets import vault

#: Seconds that clocks may differ and that a token may be under way.
LEEWAY = 30


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs now."""

    kid: str
    private: Any


def signer() -> Signer:
    """Return the signing key; the first one is made here."""
    row = SigningKey.objects.filter(signing=True).first() or rotate()
    pem = vault().open(bytes(row.private), purpose(row.kid))
    return Signer(row.kid, serialization.load_pem_private_key(pem, None))


def purpose(kid: str) -> str:
    """Return the purpose under which a private key is sealed."""
    return f"signing-key:{kid}"


def public_jwk(private: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    """Return what everybody may know of a key."""
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {**public, "kid": kid, "use": "sig", "alg": "ES256"}


@transaction.atomic
def rotate(now: float | None = None) -> SigningKey:
    """Let a fresh key sign from now on; tokens of the old one stay good until they expire."""
    now = time.time() if now is None else now
    SigningKey.objects.filter(signing=True).update(signing=False, verify_until=now + settings.TOKEN_LIFETIME + LEEWAY)
    private = ec.generate_private_key(ec.SECP256R1())
    kid = new_id()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    row = SigningKey.objects.create(
        kid=kid,
        private=vault().seal(pem, purpose(kid)),
        public=public_jwk(private, kid),
        created_at=now,
    )
    Counter.bump("keys")
    return row


def rotate_when_due(now: float | None = None) -> bool:
    """Rotate when the signing key has reached its age, and drop keys that verify nothing any more."""
    now = time.time() if now is None else now
    gone, _ = SigningKey.objects.filter(verify_until__lt=now).delete()
    if gone:
        Counter.bump("keys")
    current = SigningKey.objects.filter(signing=True).first()
    if current is not None and now - current.created_at < settings.KEY_LIFETIME:
        return False
    rotate(now)
    return True


def public_keys() -> dict[str, Any]:
    """Return every key that may verify a token, by its kid."""
    return {row.kid: jwt.PyJWK(row.public).key for row in SigningKey.objects.all()}


def jwks() -> dict[str, Any]:
    """Return the JWK Set (RFC 7517) of the keys that may verify a token."""
    return {"keys": [row.public for row in SigningKey.objects.order_by("-created_at")]}
