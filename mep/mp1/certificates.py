"""Client certificates of app instances (RFC 8705): issued or named over Mm5, and from then on needed.

An app instance has one at a time. What is kept is its x5t#S256; private keys that are made here are given out once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from django.db import transaction

from core.errors import Conflict, Invalid, Missing
from mep.mp1 import mtls, tls
from mep.mp1.models import App, Counter

_SMALLEST_RSA = 2048
_LONGEST_CSR = 16384


@dataclass(frozen=True, slots=True)
class Issued:
    """A client certificate with its chain; the key only when it was made here."""

    certificate: str
    thumbprint: str
    not_after: str
    private_key: str = field(default="", repr=False)


def issue(app_instance_id: str, csr: str = "") -> Issued:
    """Return a client certificate of the node's CA for the app, which needs it from now on; replaces the one before.

    The key is the one of the `csr` (PKCS#10, PEM), of which nothing else is taken, or is made here.
    """
    _asked_for()
    private = ""
    if csr:
        public = _public_key(csr)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    _known(app_instance_id)
    made = tls.issue_client(public, app_instance_id)
    shown = mtls.thumbprint(made.public_bytes(serialization.Encoding.DER))
    _pin(app_instance_id, shown)
    chain = made.public_bytes(serialization.Encoding.PEM).decode() + tls.ca_pem()
    return Issued(chain, shown, made.not_valid_after_utc.isoformat(), private)


def require(app_instance_id: str, thumbprint: str) -> None:
    """Let the app be known by the certificate with that x5t#S256 only."""
    _asked_for()
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", thumbprint):
        raise Invalid("x5t#S256 must be 43 letters of base64url: the SHA-256 of the certificate's DER")
    _pin(app_instance_id, thumbprint)


def lift(app_instance_id: str) -> None:
    """Let the app do without a certificate again."""
    _pin(app_instance_id, "")


@transaction.atomic
def _pin(app_instance_id: str, thumbprint: str) -> None:
    app = _known(app_instance_id)
    app.certificate = thumbprint
    app.save(update_fields=["certificate"])
    # What was admitted with the old one is asked again with the next request, in every process.
    Counter.bump("apps")


def _asked_for() -> None:
    if mtls.mode() is mtls.Mode.OFF:
        raise Conflict("This MEP does not ask for client certificates; MEP_MTLS=optional lets it")


def _known(app_instance_id: str) -> App:
    app = App.objects.filter(pk=app_instance_id).first()
    if app is None:
        raise Missing(f"There is no app instance {app_instance_id}")
    return app


def _public_key(csr: str) -> CertificatePublicKeyTypes:
    if len(csr) > _LONGEST_CSR:
        raise Invalid(f"csr is longer than {_LONGEST_CSR} characters")
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        fine, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("csr is not a certificate request (PKCS#10) in PEM") from None
    if not fine:
        raise Invalid("csr is not signed with its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key
    raise Invalid(f"csr must hold a key that is P-256, P-384, Ed25519, Ed448, or RSA of {_SMALLEST_RSA} bits or more")


def described(issued: Issued) -> dict[str, Any]:
    """Return it as Mm5 gives it out."""
    found = {"certificate": issued.certificate, mtls.METHOD: issued.thumbprint, "notAfter": issued.not_after}
    return {**found, "privateKey": issued.private_key} if issued.private_key else found
