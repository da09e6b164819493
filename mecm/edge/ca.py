"""The centre's authority for edge nodes: ECDSA P-256, made at first use, its key in a file only we read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from core import privately
from core.errors import Invalid
from core.words import say

LEAF_LIFE = timedelta(days=90)
ROOT_LIFE = timedelta(days=3650)
#: Clocks of edge machines may be behind ours by this much.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Request:
    """A certificate request whose sender has proved to hold the key."""

    key: ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Issued:
    """A certificate that we signed."""

    serial: str
    pem: str
    not_after: datetime


def read_csr(pem: str) -> Request:
    """Return the request in `pem`; `Invalid` unless it holds a P-256 key and is signed with it.

    Everything else in it is ignored: names come from us.
    """
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        key = csr.public_key()
        proved = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as problem:
        raise Invalid(say("csr_pem is no certificate request in PEM that we can read")) from problem
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Invalid(say("csr_pem must be for an ECDSA key on the curve P-256"))
    if not proved:
        raise Invalid(say("csr_pem is not signed by the key that it is for"))
    return Request(key)


class Authority:
    """Signs the certificates of nodes."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @property
    def pem(self) -> str:
        """The authority's certificate; public."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def spki_sha256(self) -> str:
        """The hash that join strings carry: SHA-256 of the key as SubjectPublicKeyInfo (RFC 5280, 4.1.2.7)."""
        spki = self._certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(spki).hexdigest()

    def sign(self, request: Request, *, node_id: str, life: timedelta = LEAF_LIFE) -> Issued:
        """Return a client certificate for the node `urn:mec:node:<id>`."""
        now = datetime.now(UTC).replace(microsecond=0)
        serial = x509.random_serial_number()
        usage = dict.fromkeys(_USAGES, False)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)]))
            .issuer_name(self._certificate.subject)
            .public_key(request.key)
            .serial_number(serial)
            .not_valid_before(now - SKEW)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**usage, "digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:mec:node:{node_id}")]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return Issued(f"{serial:x}", pem, now + life)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def authority() -> Authority:
    """Return the authority of this installation."""
    return _authority(Path(settings.CA_DIR))


@cache
def _authority(folder: Path) -> Authority:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "edge-ca.pem"
    if not path.exists():
        _make(path)
    pem = path.read_bytes()
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Invalid(say("The file of the edge authority holds no ECDSA key"))
    return Authority(key, x509.load_pem_x509_certificate(pem))


def _make(path: Path) -> None:
    """Write key and certificate into one file, whole or not at all; of two starters the first wins."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Breakwater edge authority")])
    now = datetime.now(UTC).replace(microsecond=0)
    usage = dict.fromkeys(_USAGES, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**usage, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    body = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    privately.put_once(path, body)
