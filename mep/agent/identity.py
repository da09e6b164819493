"""Who this node is: a key that never leaves it, a certificate of the centre, and the address of the centre."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import secrets
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import BreakwaterError, Denied, Invalid, Rejected, Unavailable, from_problem
from mep.agent import VERSION

AUDIENCE, TOKEN_LIFE = "breakwater-edge", 100
PAUSE = httpx.Timeout(15.0, connect=5.0)


@dataclass(frozen=True)
class Identity:
    """The node's identity, as kept in one file that only we read."""

    node_id: str
    base_url: str
    sync_url: str
    key_pem: str = field(repr=False)
    chain_pem: str = field(repr=False)
    ca_pem: str = field(repr=False)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The node's certificate."""
        return x509.load_pem_x509_certificates(self.chain_pem.encode())[0]

    @property
    def serial(self) -> str:
        """The certificate's serial number, as the centre looks it up."""
        return f"{self.certificate.serial_number:x}"

    def authorization(self) -> str:
        """Return a fresh `Authorization` header, signed with the node's key (RFC 7519, ES256)."""
        now = int(time.time())
        claims = {
            "iss": self.node_id,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + TOKEN_LIFE,
            "jti": secrets.token_hex(8),
        }
        return "Bearer " + jwt.encode(claims, self.key_pem, algorithm="ES256", headers={"kid": self.serial})

    def renew_at(self) -> datetime:
        """Return when two thirds of the certificate's life are over."""
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begin + (end - begin) * 2 / 3

    def due(self, now: datetime | None = None) -> bool:
        """Return whether a fresh certificate should be asked for."""
        return (now or datetime.now(UTC)) >= self.renew_at()

    def http(self, transport: httpx.BaseTransport | None = None) -> httpx.Client:
        """Return a client of the centre; it signs each request and follows no redirects."""
        return client(self.base_url, self.ca_pem, transport, auth=self._sign)

    def _sign(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = self.authorization()
        return request


@dataclass(frozen=True)
class Join:
    """A join string, taken apart."""

    base_url: str
    spki_sha256: str
    secret: str = field(repr=False)

    @classmethod
    def read(cls, text: str) -> Join:
        """Return what a join string says; `Invalid` when it is none."""
        found = re.fullmatch(r"mec1\.([A-Za-z0-9_-]+)\.([0-9a-f]{64})\.([A-Za-z0-9_-]{20,200})", text.strip())
        if found is None:
            raise Invalid("This is no join string; it begins with mec1. and has four parts")
        host, spki, secret = found.groups()
        try:
            url = base64.urlsafe_b64decode(host + "=" * (-len(host) % 4)).decode()
        except ValueError as problem:
            raise Invalid("The join string names no address") from problem
        return cls(safe_url(url).rstrip("/"), spki, secret)


def safe_url(url: str) -> str:
    """Return `url` when what is sent there stays private: TLS, or this very machine. Else `Invalid`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in ("https", "wss") and host:
        return url
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if parts.scheme in ("http", "ws") and here:
        return url
    raise Invalid(f"{parts.scheme}://{host} is not safe to talk to: use https, or an address of this machine")


def load(folder: Path) -> Identity | None:
    """Return the node's identity; None before it has enrolled."""
    try:
        raw = json.loads((folder / "identity.json").read_text())
    except FileNotFoundError:
        return None
    return Identity(**raw)


def save(folder: Path, identity: Identity) -> None:
    """Keep the identity, whole or not at all, in a file that only we read."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f".identity.{secrets.token_hex(6)}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        fields = ("node_id", "base_url", "sync_url", "key_pem", "chain_pem", "ca_pem")
        json.dump({name: getattr(identity, name) for name in fields}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / "identity.json")


def enrol(join: Join, folder: Path, transport: httpx.BaseTransport | None = None) -> Identity:
    """Become a node of the centre that `join` names, and keep the identity.

    The secret is sent only after the centre's authority was found to be the one that the join string names.
    """
    ca_pem = _pinned_authority(join, transport)
    key, csr_pem = _key_and_request()
    with client(join.base_url, ca_pem, transport) as http:
        body = {"token": join.secret, "csr_pem": csr_pem, "agent_version": VERSION, "arch": os.uname().machine}
        answer = _ask(http, "POST", "/api/v1/enrol", json=body)
    identity = _issued(answer, join.base_url, key, ca_pem)
    save(folder, identity)
    return identity


def renew(identity: Identity, folder: Path, transport: httpx.BaseTransport | None = None) -> Identity:
    """Get a certificate for a new key and keep both; the old pair serves until then."""
    key, csr_pem = _key_and_request()
    with identity.http(transport) as http:
        answer = _ask(http, "POST", "/api/v1/nodes/self/renew", json={"csr_pem": csr_pem})
    fresh = _issued(answer, identity.base_url, key, identity.ca_pem)
    save(folder, fresh)
    return fresh


def client(base_url: str, ca_pem: str, transport: httpx.BaseTransport | None = None, auth: Any = None) -> httpx.Client:
    """Return an HTTP client that trusts the system's authorities and the centre's, and no proxy of the environment."""
    return httpx.Client(
        base_url=safe_url(base_url),
        verify=tls(ca_pem) if base_url.startswith("https") else True,
        timeout=PAUSE,
        trust_env=False,
        transport=transport,
        auth=auth,
    )


def tls(ca_pem: str) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and the centre's own."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem)
    return context


def _pinned_authority(join: Join, transport: httpx.BaseTransport | None) -> str:
    # Nothing secret is sent here, and what comes back is compared with the hash: so TLS need not be verified yet.
    with httpx.Client(
        base_url=join.base_url,
        verify=False,  # noqa: S501
        timeout=PAUSE,
        trust_env=False,
        transport=transport,
    ) as http:
        answer = _ask(http, "GET", "/api/v1/edge/ca")
    pem = str(answer.get("ca", ""))
    try:
        authority = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as problem:
        raise Rejected("The centre sent no certificate authority") from problem
    spki = authority.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if not secrets.compare_digest(hashlib.sha256(spki).hexdigest(), join.spki_sha256):
        raise Denied("This is not the centre that the join string is from: its authority has another key")
    return pem


def _key_and_request() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge node")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), csr.public_bytes(serialization.Encoding.PEM).decode()


def _issued(answer: dict[str, Any], base_url: str, key_pem: str, ca_pem: str) -> Identity:
    """Return the identity in the centre's answer, after checking that it is for our key and from its authority."""
    try:
        identity = Identity(
            node_id=str(answer["node_id"]),
            base_url=base_url,
            sync_url=safe_url(str(answer["sync_url"])),
            key_pem=key_pem,
            chain_pem=str(answer["cert_chain"]),
            ca_pem=ca_pem,
        )
        key = serialization.load_pem_private_key(key_pem.encode(), None)
        identity.certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem.encode()))
        ours = identity.certificate.public_key() == key.public_key()
    except (KeyError, ValueError, TypeError, IndexError, InvalidSignature) as problem:
        raise Rejected("The centre's answer holds no certificate that we can use") from problem
    if not ours:
        raise Rejected("The centre's certificate is for another key than ours")
    return identity


def _ask(http: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    try:
        response = http.request(method, path, **options)
    except httpx.HTTPError as problem:
        raise Unavailable(f"The centre does not answer: {type(problem).__name__}") from problem
    if response.is_success:
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict):
            return body
        raise Rejected("The centre's answer is no JSON object")
    raise refusal(response)


def refusal(response: httpx.Response) -> BreakwaterError:
    """Return the error that the centre's answer stands for."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and problem.get("code"):
        return from_problem(problem)
    if response.status_code >= 500:
        return Unavailable(f"The centre answered {response.status_code}")
    return Rejected(f"The centre answered {response.status_code}")
