"""CMS signatures of manifests: what verifies, what does not, and what is said about the signer."""

from __future__ import annotations

import base64
import datetime as dt
import socket
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from appstore.packages import signatures
from appstore.packages.manifest import read_manifest
from core.archives import open_archive
from core.findings import Level
from tests.appstore import making

TEXT = b"metadata:\nvnfd_id: a\n\nSource: a.txt\nAlgorithm: SHA-256\nHash: 00\n"


def certificate(key: Any, name: str = "Acme", days: int = 30) -> x509.Certificate:
    """A self-signed certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    start, end = sorted([now - dt.timedelta(days=1), now + dt.timedelta(days=days)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    return builder.serial_number(7).not_valid_before(start).not_valid_after(end).sign(key, hashes.SHA256())


def sign(content: bytes, key: Any, cert: x509.Certificate, *options: pkcs7.PKCS7Options, **more: Any) -> str:
    """A CMS block as an ordinary tool writes it."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(cert, key, hashes.SHA256(), **more)
    der = builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary, *options])
    return base64.encodebytes(der).decode()


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def long_key() -> rsa.RSAPrivateKey:
    """An RSA key that is long enough."""
    return rsa.generate_private_key(65537, 2048)


DETACHED = pkcs7.PKCS7Options.DetachedSignature


def test_a_detached_signature_over_the_manifest_verifies(key: Any) -> None:
    signature, findings = signatures.verify(sign(TEXT, key, certificate(key), DETACHED), {"manifest": TEXT}, "a.mf")
    assert (signature.state, signature.covers, signature.weak, signature.trusted) == ("valid", "manifest", "", False)
    assert signature.algorithm == "ec-256 with sha256"
    assert [f.code for f in findings] == ["signer-unknown"]


def test_a_signature_that_carries_its_content_verifies(key: Any) -> None:
    signature, _ = signatures.verify(sign(TEXT, key, certificate(key)), {"manifest": TEXT}, "a.mf")
    assert signature.state == "valid"


@pytest.mark.parametrize("options", [(DETACHED,), (), (DETACHED, pkcs7.PKCS7Options.NoAttributes)])
def test_one_changed_byte_is_found(key: Any, options: Any) -> None:
    block = sign(TEXT, key, certificate(key), *options)
    signature, findings = signatures.verify(block, {"manifest": TEXT.replace(b"00", b"01")}, "a.mf")
    assert signature.state == "invalid"
    assert [(f.code, f.level) for f in findings] == [("signature-invalid", Level.ERROR)]


def test_a_carried_copy_that_was_changed_with_the_manifest_is_found(key: Any) -> None:
    der = base64.b64decode(sign(TEXT, key, certificate(key)))
    changed = TEXT.replace(b"00", b"01")
    assert TEXT in der
    block = base64.b64encode(der.replace(TEXT, changed)).decode()
    signature, _ = signatures.verify(block, {"manifest": changed}, "a.mf")
    assert (signature.state, signature.problem) == ("invalid", "the signed digest is not that of the content")


def test_a_signature_of_another_key_is_found(long_key: Any) -> None:
    for pad in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 32)):
        der = bytearray(base64.b64decode(sign(TEXT, long_key, certificate(long_key), DETACHED, rsa_padding=pad)))
        der[-1] ^= 1  # the signature is what a CMS block ends with
        assert signatures.verify(base64.b64encode(der).decode(), {"manifest": TEXT}, "a.mf")[0].state == "invalid"


def test_rsa_in_both_paddings_verifies(long_key: Any) -> None:
    cert = certificate(long_key)
    for pad in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 32)):
        block = sign(TEXT, long_key, cert, DETACHED, rsa_padding=pad)
        assert signatures.verify(block, {"manifest": TEXT}, "a.mf")[0].state == "valid"


def test_line_ends_lost_in_transport_do_not_matter(key: Any) -> None:
    block = sign(TEXT.rstrip(), key, certificate(key), DETACHED)
    assert signatures.verify(block, {"manifest": TEXT + b"\n"}, "a.mf")[0].state == "valid"
    assert signatures.verify(block, {"manifest": TEXT.replace(b"\n", b"\r\n")}, "a.mf")[0].state == "valid"


def test_a_signature_without_attributes_verifies(key: Any) -> None:
    block = sign(TEXT, key, certificate(key), DETACHED, pkcs7.PKCS7Options.NoAttributes)
    assert signatures.verify(block, {"sources": b"other", "manifest": TEXT}, "a.mf")[0].covers == "manifest"


def test_the_certificate_of_another_does_not_help(key: Any) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    block = sign(TEXT, key, certificate(other), DETACHED)
    assert signatures.verify(block, {"manifest": TEXT}, "a.mf")[0].state == "invalid"


def test_a_signer_without_certificate_is_refused(key: Any) -> None:
    block = sign(TEXT, key, certificate(key), DETACHED, pkcs7.PKCS7Options.NoCerts)
    signature, _ = signatures.verify(block, {"manifest": TEXT}, "a.mf")
    assert "certificate" in signature.problem


def test_a_short_key_is_never_trusted(key: Any) -> None:
    with open_archive(making.sample("test2048_1.0.csar")) as archive:
        manifest = read_manifest(archive.read("test2048.mf"), "test2048.mf", [])
    signature, findings = signatures.verify(manifest.cms, {"sources": manifest.sources_text.encode()}, "test2048.mf")
    assert signature.state == "valid"
    assert {"signature-weak", "signer-unknown", "signature-partial", "signer-expired"} == {f.code for f in findings}


def test_edgegallerys_copy_must_say_what_the_manifest_says() -> None:
    with open_archive(making.sample("test2048_1.0.csar")) as archive:
        manifest = read_manifest(archive.read("test2048.mf"), "test2048.mf", [])
    changed = manifest.sources_text.replace("62361825", "62361826")
    signature, _ = signatures.verify(manifest.cms, {"sources": changed.encode()}, "test2048.mf")
    assert (signature.state, signature.problem) == ("invalid", "what was signed is not what the manifest says")


def test_an_entry_cannot_hide_from_the_signature() -> None:
    text = "metadata:\napp_product_name: a\n   Source: evil\nAlgorithm: SHA-256\nHash: 00\nSource: good\nHash: 01\n"
    manifest = read_manifest(text.encode(), "a.mf", [])
    assert [entry.source for entry in manifest.entries] == ["evil", "good"]
    assert "evil" in manifest.sources_text


def test_text_after_the_signature_is_refused(key: Any) -> None:
    block = f"-----BEGIN CMS-----\n{sign(TEXT, key, certificate(key), DETACHED)}-----END CMS-----\n"
    findings: list[Any] = []
    manifest = read_manifest(TEXT + block.encode() + b"Source: evil\nHash: 00\n", "a.mf", findings)
    assert [f.code for f in findings] == ["manifest-after-signature"]
    assert [entry.source for entry in manifest.entries] == ["a.txt"]
    assert signatures.verify(manifest.cms, {"manifest": manifest.signed_text.encode()}, "a.mf")[0].state == "valid"


def test_an_expired_certificate_is_told(key: Any) -> None:
    block = sign(TEXT, key, certificate(key, days=-20), DETACHED)
    _, findings = signatures.verify(block, {"manifest": TEXT}, "a.mf")
    assert "signer-expired" in {f.code for f in findings}


@pytest.mark.parametrize(
    "block", ["", "!!!", "AAAA", base64.b64encode(b"\x30\x80" * 40).decode(), "MAA=", "MIAGCSqGSIb3DQEHAqCA"]
)
def test_garbage_is_invalid_and_not_an_error(block: str) -> None:
    signature, findings = signatures.verify(block, {"manifest": TEXT}, "a.mf")
    assert signature.state == "invalid"
    assert [f.code for f in findings] == ["signature-invalid"]


def test_no_damage_to_a_signature_makes_it_valid_or_raises(key: Any) -> None:
    der = bytearray(base64.b64decode(sign(TEXT, key, certificate(key), DETACHED)))
    valid = 0
    for at in range(0, len(der), 3):
        changed = bytearray(der)
        changed[at] ^= 0x15
        state = signatures.verify(base64.b64encode(changed).decode(), {"manifest": TEXT}, "a.mf")[0].state
        valid += state == "valid"
    # A few bytes are in nobody's signature: the certificate's own signature, and names that are not compared.
    assert valid < len(der) / 3 / 3


def test_nothing_is_asked_of_the_network(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a signature is verified without a network")

    monkeypatch.setattr(socket, "socket", refuse)
    assert (
        signatures.verify(sign(TEXT, key, certificate(key), DETACHED), {"manifest": TEXT}, "a.mf")[0].state == "valid"
    )
