"""The store's own authority, and signing with the certificates that it issues; on pages, by commands, by the API."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.core.management import CommandError, call_command

from appstore.packages import signing
from appstore.packages.models import Package
from appstore.trust import authority, services, signings
from appstore.trust.models import Anchor, Crl, SignerCertificate, Signing
from core.accounts.access import SYSTEM, Actor
from core.errors import Conflict, Invalid, Missing
from core.operations import services as operations
from tests.appstore import making
from tests.appstore.trust import pki


@pytest.fixture
def certificate(organisation: Any) -> SignerCertificate:
    """A certificate of `acme` whose key lies in the store."""
    authority.create(actor=SYSTEM)
    return authority.issue(organisation, actor=SYSTEM)


def csr(key: Any) -> str:
    """A certificate request that claims to be somebody else."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody Else")])
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_is_for_signing_code_and_nothing_else(certificate: SignerCertificate, organisation: Any) -> None:
    found = x509.load_pem_x509_certificate(certificate.pem.encode())
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.key_encipherment) == (True, False, False)
    uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CODE_SIGNING]
    assert found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == organisation.name
    assert b"PRIVATE" not in bytes(certificate.sealed or b"")


def test_a_second_authority_is_not_made(certificate: SignerCertificate) -> None:
    with pytest.raises(Conflict):
        authority.create(actor=SYSTEM)


def test_whoever_asks_by_a_request_keeps_the_key_and_does_not_choose_the_name(
    certificate: SignerCertificate, organisation: Any
) -> None:
    row = authority.issue(organisation, actor=SYSTEM, csr=csr(ec.generate_private_key(ec.SECP256R1())))
    assert (row.sealed, row.usable) == (None, False)
    assert "Somebody Else" not in row.pem
    assert "Acme Edge" in row.subject
    for bad in ("nonsense", csr(rsa.generate_private_key(65537, 2048))):
        with pytest.raises(Invalid):
            authority.issue(organisation, actor=SYSTEM, csr=bad)


def test_only_who_runs_the_store_issues(certificate: SignerCertificate, stranger: Any, settings: Any) -> None:
    settings.OPERATOR = "acme"
    with pytest.raises(Missing):
        authority.issue(stranger.memberships.get().organisation, actor=Actor(stranger))


def test_a_package_is_signed_by_a_worker_and_becomes_a_new_trusted_one(
    checked: Any, certificate: SignerCertificate, api: Any, organisation: Any
) -> None:
    source = Package.objects.get(pk=checked(making.edgegallery())["id"])
    response = api.post(f"/api/v1/packages/{source.pk}/sign", {"certificate": str(certificate.pk)}, format="json")
    assert response.status_code == 202, response.content
    operations.run_due()
    made = Signing.objects.get().result
    assert made is not None
    assert (made.filename, made.state, made.signature["covers"]) == ("hello-signed.csar", "checked", "manifest")
    assert str(services.standing(made, organisation).state) == "trusted"
    source.refresh_from_db()
    assert source.signature["state"] == "absent"
    # Twice is once: the wish remembers its result.
    signings.sign(_Work(Signing.objects.get()))  # type: ignore[arg-type]
    assert Package.objects.count() == 2


class _Work:
    """An operation that comes again."""

    def __init__(self, wish: Signing) -> None:
        self.payload = {"signing": str(wish.pk)}

    def progress(self, percent: int, note: str) -> None:
        """Say nothing."""


def test_what_is_revoked_is_trusted_no_more_and_signs_no_more(
    checked: Any, certificate: SignerCertificate, organisation: Any, actor: Any
) -> None:
    source = Package.objects.get(pk=checked(making.edgegallery())["id"])
    signings.request(source, certificate, actor=actor)
    operations.run_due()
    made = Signing.objects.get().result
    assert made is not None
    before = Crl.objects.get().number
    authority.revoke(certificate, actor=actor, reason="key-compromise")
    row = SignerCertificate.objects.get(pk=certificate.pk)
    assert (row.sealed, Crl.objects.get().entries) == (None, 1)
    assert int(Crl.objects.get().number) == int(before) + 1
    found = services.judgement(made, organisation)
    assert str(found.standing.state) == "unknown"
    assert "was revoked" in found.standing.reason
    with pytest.raises(Conflict):
        signings.request(source, row, actor=actor)


@pytest.mark.django_db
def test_the_revocation_list_verifies_with_the_certificate_of_the_authority(
    certificate: SignerCertificate, api: Any
) -> None:
    pem = api.get("/api/v1/trust/authority").json()["pem"]
    text = api.get("/api/v1/trust/authority/crl").content
    found = x509.load_pem_x509_crl(text)
    assert found.is_signature_valid(x509.load_pem_x509_certificate(pem.encode()).public_key())  # type: ignore[arg-type]


@pytest.mark.django_db
def test_the_command_makes_issues_revokes_and_signs(organisation: Any, tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("store_ca", "create", stdout=out)
    assert "BEGIN CERTIFICATE" in out.getvalue()
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    call_command("store_ca", "issue", "acme", "--out", str(pem), "--key-out", str(key), stdout=out)
    assert key.stat().st_mode & 0o777 == 0o600
    file = tmp_path / "hello.csar"
    file.write_bytes(making.edgegallery())
    call_command("sign_package", str(file), "--key", str(key), "--cert", str(pem), stdout=out)
    target = tmp_path / "hello-signed.csar"
    assert file.read_bytes() == making.edgegallery()
    anchor = bytes(Anchor.objects.get().der)
    trust = pki.judging.TrustList("1", (pki.judging.Anchor("1", "Store", anchor),))
    assert pki.state_of(tmp_path, target.read_bytes(), trust) == ("trusted", set())
    row = SignerCertificate.objects.get()
    call_command("store_ca", "revoke", row.serial, "--reason", "superseded", stdout=out)
    call_command("store_ca", "crl", "--out", str(tmp_path / "crl.pem"), stdout=out)
    assert "X509 CRL" in (tmp_path / "crl.pem").read_text()
    with pytest.raises(CommandError, match="no organisation"):
        call_command("store_ca", "issue", "nobody", stdout=out)


# Signing itself.


def test_signing_again_takes_the_place_of_the_signature_that_was_there(tmp_path: Path) -> None:
    once = pki.signed(tmp_path)
    twice = pki.signed(tmp_path, once)
    assert pki.files(twice)["hello.mf"].count(b"BEGIN CMS") == 1
    assert pki.state_of(tmp_path, twice) == ("trusted", set())


def test_a_package_in_a_wrapper_folder_can_be_signed(tmp_path: Path) -> None:
    assert pki.state_of(tmp_path, pki.signed(tmp_path, making.edgegallery(wrapper="app/"))) == ("trusted", set())


def test_every_member_is_listed_also_images(tmp_path: Path) -> None:
    files = {**pki.files(making.edgegallery()), "Image/extra.bin": b"x"}
    listed = pki.files(pki.signed(tmp_path, making.zip_bytes(files)))["hello.mf"].decode()
    assert all(f"Source: {name}\n" in listed for name in files if name != "hello.mf")


@pytest.mark.parametrize(
    ("package", "word"),
    [(making.chart_bytes(), "Only a CSAR"), (b"", "empty"), (making.zip_bytes({"a.txt": "x"}), "Only a CSAR")],
)
def test_what_is_no_csar_is_not_signed(package: bytes, word: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(package)
    with pytest.raises(Invalid, match=word):
        signing.sign_csar(source, tmp_path / "out", key=pki.SIGNER.key, certificate=pki.SIGNER.certificate)
    assert not [each for each in tmp_path.iterdir() if "out" in each.name]


def test_a_key_that_is_weak_or_of_another_certificate_signs_nothing(tmp_path: Path) -> None:
    short = pki.party("Short", key=rsa.generate_private_key(65537, 2048))
    for key, found in ((pki.STRANGER.key, pki.SIGNER), (short.key, short)):
        with pytest.raises(Invalid):
            signing.sign_csar(tmp_path / "none", tmp_path / "out", key=key, certificate=found.certificate)
