"""How a machine comes to its identity, and whom it trusts on the way."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import Denied, Invalid, Rejected, Unavailable
from mep.agent import identity
from mep.agent.identity import Join, safe_url

PEM = serialization.Encoding.PEM


class Centre:
    """A small centre behind a transport; it remembers what it was asked."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._sign(self.key.public_key(), "centre")
        self.asked: list[httpx.Request] = []
        self.answer: Callable[[httpx.Request], httpx.Response] | None = None
        self.leaf_key: Any = None

    @property
    def ca_pem(self) -> str:
        return self.ca.public_bytes(PEM).decode()

    def join(self, url: str = "https://centre.example") -> Join:
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        host = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
        return Join.read(f"mec1.{host}.{hashlib.sha256(spki).hexdigest()}.{'s' * 43}")

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._serve)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.path == "/api/v1/edge/ca":
            return httpx.Response(200, json={"ca": self.ca_pem})
        if self.answer:
            return self.answer(request)
        csr = x509.load_pem_x509_csr(json.loads(request.content)["csr_pem"].encode())
        leaf = self._sign(self.leaf_key or csr.public_key(), "node")
        return httpx.Response(
            201,
            json={
                "node_id": "7b0c1c5e-0000-4000-8000-000000000001",
                "cert_chain": leaf.public_bytes(PEM).decode() + self.ca_pem,
                "ca_bundle": self.ca_pem,
                "sync_url": "wss://centre.example/api/v1/edge/sync",
            },
        )

    def _sign(self, key: Any, name: str, days: int = 90) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=name == "centre", path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with nothing else in it."""
    folder = tmp_path / "identity"
    folder.mkdir()
    return folder


@pytest.fixture
def centre() -> Centre:
    return Centre()


def test_a_machine_joins_and_keeps_its_key_to_itself(centre: Centre, own: Path) -> None:
    made = identity.enrol(centre.join(), own, centre.transport())
    assert identity.load(own) == made
    (file,) = own.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("identity.json", 0o600)
    sent = b"".join(request.content for request in centre.asked)
    assert b"PRIVATE" not in sent
    assert "PRIVATE" not in repr(made)


def test_the_secret_is_not_sent_to_a_centre_with_another_key(centre: Centre, own: Path) -> None:
    join = centre.join()
    impostor = Centre()
    with pytest.raises(Denied, match="another key"):
        identity.enrol(join, own, impostor.transport())
    assert [request.url.path for request in impostor.asked] == ["/api/v1/edge/ca"]
    assert identity.load(own) is None


def test_a_certificate_for_another_key_is_not_taken(centre: Centre, own: Path) -> None:
    centre.leaf_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Rejected, match="another key"):
        identity.enrol(centre.join(), own, centre.transport())
    assert identity.load(own) is None


def test_a_centre_that_says_no_is_told_in_its_words(centre: Centre, own: Path) -> None:
    problem = Denied("This join string was used already; ask for a new one.").problem()
    centre.answer = lambda _: httpx.Response(403, json=problem)
    with pytest.raises(Denied, match="used already"):
        identity.enrol(centre.join(), own, centre.transport())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, text="<html>"), Rejected),
        (httpx.Response(200, json=[1]), Rejected),
        (httpx.Response(201, json={"node_id": 1}), Rejected),
        (httpx.Response(503, text="busy"), Unavailable),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example/"}), Rejected),
    ],
)
def test_nonsense_of_a_centre_is_translated(centre: Centre, own: Path, answer: Any, error: Any) -> None:
    centre.answer = lambda _: answer
    with pytest.raises(error):
        identity.enrol(centre.join(), own, centre.transport())


def test_a_centre_that_is_not_there_may_come(centre: Centre, own: Path) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(Unavailable):
        identity.enrol(centre.join(), own, httpx.MockTransport(away))


@pytest.mark.parametrize(
    "text", ["", "mec1", "mec2.aHR0cHM6Ly9h." + "a" * 64 + "." + "s" * 43, "mec1.!!.x.y", "mec1..." + "s" * 43]
)
def test_what_is_no_join_string_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Join.read(text)


@pytest.mark.parametrize(
    "url", ["http://centre.example", "ws://10.0.0.1", "ftp://127.0.0.1", "http://127.0.0.1.evil.example", "//x", ""]
)
def test_nothing_is_sent_in_the_clear_beyond_this_machine(url: str) -> None:
    with pytest.raises(Invalid):
        safe_url(url)


@pytest.mark.parametrize(
    "url", ["https://centre.example", "wss://c:8443/x", "http://127.0.0.1:8000", "ws://[::1]:9", "http://localhost"]
)
def test_tls_and_this_machine_are_fine(url: str) -> None:
    assert safe_url(url) == url


def test_a_request_is_signed_for_two_minutes_at_most(centre: Centre, own: Path) -> None:
    made = identity.enrol(centre.join(), own, centre.transport())
    kind, _, token = made.authorization().partition(" ")
    claims = jwt.decode(token, made.certificate.public_key(), algorithms=["ES256"], audience="breakwater-edge")
    assert kind == "Bearer"
    assert claims["exp"] - claims["iat"] <= 120
    assert claims["iss"] == made.node_id
    assert jwt.get_unverified_header(token)["kid"] == f"{made.certificate.serial_number:x}"


def test_a_certificate_is_renewed_after_two_thirds_of_its_life_with_a_new_key(centre: Centre, own: Path) -> None:
    made = identity.enrol(centre.join(), own, centre.transport())
    assert not made.due()
    assert not made.due(datetime.now(UTC) + timedelta(days=59))
    assert made.due(datetime.now(UTC) + timedelta(days=61))
    fresh = identity.renew(made, own, centre.transport())
    assert fresh.serial != made.serial
    assert fresh.key_pem != made.key_pem
    assert centre.asked[-1].headers["Authorization"].startswith("Bearer ")
    assert identity.load(own) == fresh
