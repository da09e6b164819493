"""A signed package that was tampered with is refused, wherever it was, and the finding says what was done."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms as asn1
from asn1crypto import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from appstore.packages import cms, signatures, signing
from core.archives import open_archive
from tests.appstore import making
from tests.appstore.trust import pki

README = "Artifacts/Docs/template.md"
CHART = "Artifacts/Deployment/Charts/hello.tgz"
MANIFEST = "hello.mf"
TRUST = pki.trusting(pki.ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A folder for files."""
    return Path(tmp_path_factory.mktemp("tampering"))


@pytest.fixture(scope="module")
def package(folder: Path) -> bytes:
    """A package signed by a publisher whom the trust list knows."""
    return pki.signed(folder)


def manifest_with(package: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The package with another manifest."""
    manifest = pki.files(package)[MANIFEST]
    changed = change(manifest)
    assert changed != manifest
    return pki.rebuilt(package, put={MANIFEST: changed})


def with_block(package: bytes, change: Callable[[Any], None]) -> bytes:
    """The package with another CMS block, changed as a structure."""

    def swap(manifest: bytes) -> bytes:
        body, _, rest = manifest.partition(b"-----BEGIN CMS-----\n")
        der = base64.b64decode(rest.partition(b"-----END")[0])
        info = asn1.ContentInfo.load(der)
        change(info["content"])
        block = base64.encodebytes(info.dump(force=True))
        return body + b"-----BEGIN CMS-----\n" + block + b"-----END CMS-----\n"

    return manifest_with(package, swap)


def a_members_bytes(package: bytes) -> bytes:
    return pki.rebuilt(package, put={CHART: making.chart_bytes(templates__evil="x: 1\n")})


def a_member_added(package: bytes) -> bytes:
    return pki.rebuilt(package, put={"Artifacts/Scripts/install.sh": b"#!/bin/sh\n"})


def a_member_removed(package: bytes) -> bytes:
    return pki.rebuilt(package, put={README: None})


def a_member_renamed(package: bytes) -> bytes:
    return pki.rebuilt(package, put={README: None, "Artifacts/Docs/other.md": pki.files(package)[README]})


def a_hash_in_the_manifest(package: bytes) -> bytes:
    # With its file: the digest is right again, and only the signature can tell.
    body = b"# something else\n"
    old, new = (hashlib.sha256(each).hexdigest().encode() for each in (pki.files(package)[README], body))
    changed = manifest_with(package, lambda manifest: manifest.replace(old, new))
    return pki.rebuilt(changed, put={README: body})


def a_line_of_metadata(package: bytes) -> bytes:
    return manifest_with(package, lambda manifest: manifest.replace(b"app_provider_id: Acme", b"app_provider_id: Evil"))


def the_signatures_bytes(package: bytes) -> bytes:
    def change(data: Any) -> None:
        value = bytearray(data["signer_infos"][0]["signature"].native)
        value[-1] ^= 1
        data["signer_infos"][0]["signature"] = bytes(value)

    return with_block(package, change)


def the_signed_digest(package: bytes) -> bytes:
    # The digest among the signed attributes is made to fit to a changed manifest; the signature over them then does not.
    changed = a_line_of_metadata(package)
    body = pki.files(changed)[MANIFEST].partition(b"-----BEGIN")[0]

    def change(data: Any) -> None:
        for attribute in data["signer_infos"][0]["signed_attrs"]:
            if attribute["type"].native == "message_digest":
                attribute["values"] = [hashlib.sha256(body).digest()]

    return with_block(changed, change)


def the_signers_certificate(package: bytes) -> bytes:
    # Another certificate of the same name and number, for another key.
    other = pki.party(
        "Acme Apps", pki.MIDDLE, organisation="Acme", serial=pki.SIGNER.certificate.serial_number, ca=False
    )

    def change(data: Any) -> None:
        kept = [c for c in data["certificates"] if c.chosen.dump() != pki.SIGNER.der]
        data["certificates"] = asn1.CertificateSet(
            [*kept, asn1.CertificateChoices("certificate", x509.Certificate.load(other.der))]
        )

    return with_block(package, change)


def text_after_the_signature(package: bytes) -> bytes:
    return manifest_with(package, lambda manifest: manifest + b"Source: evil.sh\nAlgorithm: SHA-256\nHash: 00\n")


def a_member_twice(package: bytes) -> bytes:
    out = io.BytesIO(package)
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(README, b"# the other reader sees this\n")
    return out.getvalue()


def the_digest_algorithm(package: bytes) -> bytes:
    # The signer's digest is said to be another one than the signature's: the classic confusion.
    return with_block(
        package, lambda data: data["signer_infos"][0].__setitem__("digest_algorithm", {"algorithm": "sha512"})
    )


def an_empty_signature(package: bytes) -> bytes:
    def change(manifest: bytes) -> bytes:
        return manifest.partition(b"-----BEGIN")[0] + b"-----BEGIN CMS-----\n-----END CMS-----\n"

    return manifest_with(package, change)


def a_lie_in_a_local_header(package: bytes) -> bytes:
    changed = bytearray(package)
    at = changed.find(b"PK\x03\x04")
    length = struct.unpack_from("<H", changed, at + 26)[0]
    changed[at + 30 + length - 1] ^= 1
    return bytes(changed)


PLACES = [
    (a_members_bytes, "manifest-hash-mismatch"),
    (a_member_added, "manifest-unlisted"),
    (a_member_removed, "manifest-source-missing"),
    (a_member_renamed, "manifest-unlisted"),
    (a_hash_in_the_manifest, "signature-invalid"),
    (a_line_of_metadata, "signature-invalid"),
    (the_signatures_bytes, "signature-invalid"),
    (the_signed_digest, "signature-invalid"),
    (the_signers_certificate, "signature-invalid"),
    (text_after_the_signature, "manifest-after-signature"),
    (a_member_twice, "duplicate-member"),
    (the_digest_algorithm, "signature-invalid"),
    (an_empty_signature, "signature-invalid"),
    (a_lie_in_a_local_header, "header-mismatch"),
]


def test_the_package_as_it_was_signed_is_trusted(package: bytes, folder: Path) -> None:
    assert pki.state_of(folder, package, TRUST) == ("trusted", set())
    assert pki.state_of(folder, pki.rebuilt(package), TRUST) == ("trusted", set())


@pytest.mark.parametrize(("tamper", "code"), PLACES, ids=[place.__name__ for place, _ in PLACES])
def test_tampering_is_refused_with_the_right_finding(tamper: Any, code: str, package: bytes, folder: Path) -> None:
    state, errors = pki.state_of(folder, tamper(package), TRUST)
    assert state != "trusted"
    assert code in errors


def test_two_names_of_a_digest_that_contradict_each_other_are_told(package: bytes, folder: Path) -> None:
    reading = pki.read(folder, the_digest_algorithm(package))
    # The digest of the content does not fit either; without the first check that would be the reason, or none at all.
    assert reading.signature.problem == "the manifest was changed after it was signed"  # type: ignore[union-attr]
    text = pki.files(package)[MANIFEST].partition(b"-----BEGIN")[0]
    der = base64.b64decode(
        pki.files(package)[MANIFEST].partition(b"-----BEGIN CMS-----\n")[2].partition(b"-----END")[0]
    )
    info = asn1.ContentInfo.load(der)
    info["content"]["signer_infos"][0]["signature_algorithm"] = {"algorithm": "sha512_ecdsa"}
    signature, _ = signatures.verify(base64.b64encode(info.dump(force=True)).decode(), {"manifest": text}, MANIFEST)
    assert signature.problem == "two different digests are named"


def test_a_signature_cut_off_the_manifest_leaves_an_unsigned_package(package: bytes, folder: Path) -> None:
    bare = manifest_with(package, lambda manifest: manifest.partition(b"-----BEGIN")[0])
    assert pki.state_of(folder, bare, TRUST)[0] == "unsigned"


def test_signing_a_changed_package_with_ones_own_key_makes_an_unknown(package: bytes, folder: Path) -> None:
    forged = pki.signed(folder, a_member_added(package), signer=pki.STRANGER, chain=())
    assert pki.state_of(folder, forged, TRUST) == ("unknown", set())


def test_signature_files_of_single_files_are_no_strangers(package: bytes, folder: Path) -> None:
    beside = pki.rebuilt(package, put={f"{README}.cms": b"MIIB", "Artifacts/Docs/template.cert": b"MIIB"})
    assert pki.state_of(folder, beside, TRUST)[0] == "trusted"
    assert "manifest-unlisted" in pki.state_of(folder, pki.rebuilt(package, put={"evil.cert": b"MIIB"}), TRUST)[1]


def test_edgegallerys_signature_holds_and_is_flagged_weak(folder: Path) -> None:
    reading = pki.read(folder, making.sample("test2048_1.0.csar").read_bytes())
    assert reading.signature.state == "valid"  # type: ignore[union-attr]
    assert "RSA key of 1024 bits" in reading.signature.weak  # type: ignore[union-attr]
    der = base64.b64decode(reading.signature.certificates[0])  # type: ignore[union-attr]
    anchor = pki.judging.Anchor("1", "EdgeGallery", der)
    found = pki.judging.assess(reading.signature.as_dict(), pki.judging.TrustList("1", (anchor,)), pki.NOW)  # type: ignore[union-attr]
    assert found.standing.state == "unknown"


# Any single byte.


@given(data=st.data())
@settings(max_examples=60)
def test_no_single_changed_byte_of_the_manifest_is_ever_trusted(data: Any, package: bytes, folder: Path) -> None:
    manifest = bytearray(pki.files(package)[MANIFEST])
    at = data.draw(st.integers(0, len(manifest) - 1))
    value = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b" \n\r\tA=")))
    if manifest[at] == value:
        return
    manifest[at] = value
    state, _ = pki.state_of(folder, pki.rebuilt(package, put={MANIFEST: bytes(manifest)}), TRUST)
    assert state != "trusted"


@given(data=st.data())
@settings(max_examples=60)
def test_no_single_changed_byte_of_the_block_is_ever_trusted(data: Any, package: bytes, folder: Path) -> None:
    body, _, rest = pki.files(package)[MANIFEST].partition(b"-----BEGIN CMS-----\n")
    der = bytearray(base64.b64decode(rest.partition(b"-----END")[0]))
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] ^= data.draw(st.integers(1, 255))
    lines = base64.b64encode(der)
    block = b"\n".join(lines[n : n + 64] for n in range(0, len(lines), 64))
    manifest = body + b"-----BEGIN CMS-----\n" + block + b"\n-----END CMS-----\n"
    state, _ = pki.state_of(folder, pki.rebuilt(package, put={MANIFEST: manifest}), TRUST)
    assert state != "trusted"


@given(data=st.data())
@settings(max_examples=60)
def test_a_changed_byte_of_the_file_is_refused_or_changes_nothing_that_was_signed(
    data: Any, package: bytes, folder: Path
) -> None:
    # Times and hints of the zip are nobody's content; every name and every byte of a member is.
    changed = bytearray(package)
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    state, _ = pki.state_of(folder, bytes(changed), TRUST)
    if state != "trusted":
        return
    path = folder / "changed.csar"
    path.write_bytes(bytes(changed))
    with open_archive(path) as archive:
        seen = {name: archive.read(name, at_most=1 << 24) for name in archive.names()}
    assert seen == pki.files(package)


# Option 2: every byte of the inner file is signed.


def test_a_package_in_a_zip_beside_its_signature_is_trusted(folder: Path) -> None:
    assert pki.state_of(folder, pki.signed_beside(making.edgegallery()), TRUST)[0] == "trusted"


def test_the_certificate_may_lie_in_a_file_of_its_own(folder: Path) -> None:
    package = making.edgegallery()
    block = signing.sign_text(package, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate])
    info = asn1.ContentInfo.load(base64.b64decode(b"".join(block.splitlines()[1:-1])))
    kept = [c for c in info["content"]["certificates"] if c.chosen.dump() == pki.MIDDLE.der]
    info["content"]["certificates"] = asn1.CertificateSet(kept)
    outer = pki.enclosed(package, info.dump(force=True), app__cert=pki.SIGNER.pem.encode())
    assert pki.state_of(folder, outer, TRUST)[0] == "trusted"
    other = pki.enclosed(package, info.dump(force=True), app__cert=pki.STRANGER.pem.encode())
    assert pki.state_of(folder, other, TRUST) == ("broken", {"signature-invalid"})


@given(data=st.data())
@settings(max_examples=25)
def test_no_single_changed_byte_inside_is_ever_trusted(data: Any, folder: Path) -> None:
    package = making.edgegallery()
    block = signing.sign_text(package, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate])
    changed = bytearray(package)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    assert pki.state_of(folder, pki.enclosed(bytes(changed), block), TRUST)[0] != "trusted"


def test_one_file_too_many_around_it_makes_it_no_package(folder: Path) -> None:
    outer = pki.enclosed(making.edgegallery(), b"MIIB", readme__txt=b"hello")
    assert pki.state_of(folder, outer, TRUST) == ("refused", {"format-unknown"})


def test_a_deflated_package_inside_is_read_from_disk(folder: Path) -> None:
    package = making.edgegallery()
    block = signing.sign_text(package, pki.SIGNER.key, pki.SIGNER.certificate, [pki.MIDDLE.certificate])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.csar", package)
        archive.writestr("app.p7s", block)
    reading = pki.read(folder, out.getvalue())
    assert reading.signature.covers == "package"  # type: ignore[union-attr]
    assert reading.chart == CHART  # type: ignore[union-attr]


def test_the_file_beside_may_hold_the_whole_chain(folder: Path) -> None:
    package = making.edgegallery()
    block = signing.sign_text(package, pki.SIGNER.key, pki.SIGNER.certificate)
    info = asn1.ContentInfo.load(base64.b64decode(b"".join(block.splitlines()[1:-1])))
    info["content"]["certificates"] = asn1.CertificateSet([])
    chain = (pki.SIGNER.pem + pki.MIDDLE.pem).encode()
    assert pki.state_of(folder, pki.enclosed(package, info.dump(force=True), app__pem=chain), TRUST)[0] == "trusted"


# Ed25519, which the tools at hand do not sign with: made by hand as RFC 8419 has it.


def by_ed25519(digest: str) -> tuple[bytes, bytes]:
    """A text and the DER of its signature by an Ed25519 key that the root certifies."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    signer = pki.party("Acme Ed", pki.ROOT, ca=False, key=ed25519.Ed25519PrivateKey.generate())
    text, certificate = b"metadata:\n", x509.Certificate.load(signer.der)
    attributes = asn1.CMSAttributes(
        [
            asn1.CMSAttribute({"type": "content_type", "values": ["data"]}),
            asn1.CMSAttribute({"type": "message_digest", "values": [hashlib.new(digest, text).digest()]}),
        ]
    )
    info = asn1.SignerInfo(
        {
            "version": "v1",
            "sid": asn1.SignerIdentifier(
                {"issuer_and_serial_number": {"issuer": certificate.issuer, "serial_number": certificate.serial_number}}
            ),
            "digest_algorithm": {"algorithm": digest},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "ed25519"},
            "signature": signer.key.sign(attributes.dump()),
        }
    )
    data = asn1.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": digest}],
            "encap_content_info": {"content_type": "data"},
            "certificates": [asn1.CertificateChoices("certificate", certificate)],
            "signer_infos": [info],
        }
    )
    return text, asn1.ContentInfo({"content_type": "signed_data", "content": data}).dump()


@pytest.mark.parametrize(("digest", "state"), [("sha512", "valid"), ("sha256", "invalid")])
def test_ed25519_verifies_with_the_digest_that_its_standard_names(digest: str, state: str) -> None:
    text, der = by_ed25519(digest)
    signature, _ = signatures.verify(base64.b64encode(der).decode(), {"manifest": text}, "a.mf")
    assert signature.state == state, signature.problem
    assert signatures.verify(base64.b64encode(der).decode(), {"manifest": text + b"x"}, "a.mf")[0].state == "invalid"


@pytest.mark.parametrize(
    ("der", "strict"),
    [
        ("300302010a", True),
        ("30800201050000", False),  # indefinite length
        ("30810302010a", False),  # a length in more bytes than it needs
        ("300402020001", False),  # an integer in more bytes than it needs
        ("3003010101", False),  # true in another way
        ("240504030a0b0c", False),  # a string in pieces
        ("030204f0", True),  # flags
        ("03090100000000000000fe", False),  # a signature that ends within a byte
        ("3003020105ff", False),  # something after the end
        ("300502010a", False),  # something missing
    ],
)
def test_only_what_is_written_in_the_one_way_is_der(der: str, strict: bool) -> None:
    assert cms.is_der(bytes.fromhex(der)) is strict
