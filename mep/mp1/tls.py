"""The node's own certificate authority and the server certificate of Mp1.

`MEP_VAR/tls/`: `ca.pem` (give it to apps), `ca.key` and `server.key` (0600), `server.pem` (certificate and CA).
ECDSA P-256. The CA is made once, for ten years; the server certificate lives 90 days and is renewed at two thirds.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from mep.mp1 import mtls
from mep.mp1.links import ALWAYS

CA_DAYS, SERVER_DAYS, CLIENT_DAYS = 3650, 90, 365


@dataclass(frozen=True, slots=True)
class Files:
    """Where key and certificates lie."""

    folder: Path

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def chain(self) -> Path:
        return self.folder / "server.pem"


def ca_pem() -> str:
    """Return the CA certificate that apps verify Mp1 with; made when this is the first start."""
    return ensure().ca.read_text()


def ensure(now: datetime | None = None) -> Files:
    """Make what is missing, renew what is near its end or lacks a name, and return where it all lies.

    Safe when the agent and Mp1 start at the same time.
    """
    now = now or datetime.now(UTC)
    files = Files(settings.VAR / "tls")
    files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(files.folder / "lock"):
        if not (files.ca.exists() and files.ca_key.exists()):
            _make_ca(files, now)
        if needs_renewal(files, names(), now):
            _make_server(files, names(), now)
    return files


def names() -> list[str]:
    """Return the names and addresses in the server certificate, in a stable order."""
    return list(dict.fromkeys([*ALWAYS, *(name.lower() for name in settings.SERVER_NAMES)]))


def needs_renewal(files: Files, wanted: list[str], now: datetime) -> bool:
    """Return whether the server certificate is missing, too old, of another CA, or lacks a wanted name."""
    try:
        server = x509.load_pem_x509_certificates(files.chain.read_bytes())[0]
        authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
        server.verify_directly_issued_by(authority)
        held = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        key_is_fine = key.public_key() == server.public_key() and files.key.stat().st_mode & 0o077 == 0
    except (OSError, ValueError, TypeError, IndexError, x509.ExtensionNotFound, InvalidSignature):
        return True
    life = server.not_valid_after_utc - server.not_valid_before_utc
    too_old = now >= server.not_valid_after_utc - life / 3 or now < server.not_valid_before_utc
    return too_old or not key_is_fine or any(_general(name) not in held for name in wanted)


def context(files: Files) -> ssl.SSLContext:
    """Return a server context: TLS 1.2 or newer (MEC 009: 1.2 shall, 1.3 should, nothing older).

    Client certificates are asked for when `MEP_MTLS` says so, and always optional for the handshake: who may
    do without is told by the API, in words, and not by a broken connection.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # For 1.2 only what has forward secrecy and authenticates as it encrypts; 1.3 has nothing else.
    made.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.load_cert_chain(files.chain, files.key)
    if mtls.mode() is not mtls.Mode.OFF:
        made.verify_mode = ssl.CERT_OPTIONAL
        made.load_verify_locations(files.ca)
        if settings.CLIENT_CA:
            made.load_verify_locations(settings.CLIENT_CA)
        # A resumed session would not look at the certificate's dates again.
        made.options |= ssl.OP_NO_TICKET
        made.num_tickets = 0
    return made


def issue_client(public: CertificatePublicKeyTypes, common_name: str, now: datetime | None = None) -> x509.Certificate:
    """Return a client certificate of the node's CA for that key; good for `CLIENT_DAYS`."""
    files = ensure(now)
    ca_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), None)
    authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        _builder(subject, authority.subject, public, now or datetime.now(UTC), CLIENT_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]
    )


def _make_ca(files: Files, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Breakwater MEP node CA")])
    usage = _usage(cert_sign=True)
    made = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(files.ca_key, _pem(key), 0o600)
    _write(files.ca, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(files: Files, wanted: list[str], now: datetime) -> None:
    ca_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), None)
    authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Breakwater MEP")])
    made = (
        _builder(subject, authority.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in wanted]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]
    )
    chain = made.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM)
    _write(files.key, _pem(key), 0o600)
    _write(files.chain, chain, 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: CertificatePublicKeyTypes, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write whole or not at all, and never readable by others even for a moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
