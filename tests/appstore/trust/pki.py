"""A small public key infrastructure to test with, and packages that are signed with it."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appstore.packages import enclosing, formats, signing
from appstore.packages.formats import Reading
from appstore.trust import judging, paths
from core.archives import Damaged
from core.findings import blocking
from tests.appstore import making

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Party:
    """A certificate with its key."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> bytes:
        """The key in PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def party(
    name: str,
    by: Party | None = None,
    *,
    key: Any = None,
    ca: bool | None = None,
    organisation: str = "",
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    usages: tuple[Any, ...] = (),
    critical_usages: bool = False,
    key_usage: str = "",
    serial: int = 0,
    algorithm: Any = None,
) -> Party:
    """Make a certificate: by itself, or certified by another."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organisation:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    subject = x509.Name(names)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start or NOW - dt.timedelta(days=10))
        .not_valid_after(end or NOW + dt.timedelta(days=300))
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=critical_usages)
    if key_usage:
        flags = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**{**flags, key_usage: True}), critical=True)
    signer = by.key if by else key
    return Party(key, builder.sign(signer, algorithm or hashes.SHA256()))


ROOT = party("Harbour Root", ca=True)
MIDDLE = party("Harbour Issuing", ROOT, ca=True)
SIGNER = party("Acme Apps", MIDDLE, ca=False, organisation="Acme", usages=(ExtendedKeyUsageOID.CODE_SIGNING,))
STRANGER = party("Mallory", ca=True)


def crl(
    by: Party, *revoked: Party, number: int = 1, at: dt.datetime | None = None, reason: Any = None, **when: Any
) -> bytes:
    """A revocation list in PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.certificate.subject)
        .last_update(when.get("last", NOW - dt.timedelta(hours=1)))
        .next_update(when.get("next", NOW + dt.timedelta(days=7)))
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        entry = entry.revocation_date(at or NOW - dt.timedelta(hours=2))
        if reason:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def trusting(*anchors: Party, lists: tuple[bytes, ...] = (), **more: Any) -> judging.TrustList:
    """A trust list with these anchors."""
    read = tuple(
        paths.revocation_list(x509.load_pem_x509_crl(each).public_bytes(serialization.Encoding.DER)) for each in lists
    )
    tsa = more.pop("tsa", ())
    told = [judging.Anchor(str(n), _name(each), each.der) for n, each in enumerate(anchors)]
    told += [judging.Anchor(f"t{n}", _name(each), each.der, judging.TIMESTAMP) for n, each in enumerate(tsa)]
    return judging.TrustList(more.pop("version", "1"), tuple(told), read, **more)


def _name(party_: Party) -> str:
    return str(party_.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def files(package: bytes) -> dict[str, bytes]:
    """The members of a package by name."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rebuilt(package: bytes, **changes: Any) -> bytes:
    """The package with members changed (`put`: name to bytes, None takes it away)."""
    content: dict[str, Any] = {**files(package), **changes.pop("put", {})}
    return making.zip_bytes({name: body for name, body in content.items() if body is not None})


def signed(
    folder: Path, package: bytes | None = None, signer: Party = SIGNER, chain: tuple[Party, ...] = (MIDDLE,)
) -> bytes:
    """A package signed by option 1."""
    source, target = folder / "source.csar", folder / "signed.csar"
    source.write_bytes(package or making.edgegallery())
    signing.sign_csar(
        source, target, key=signer.key, certificate=signer.certificate, chain=[each.certificate for each in chain]
    )
    return target.read_bytes()


def enclosed(package: bytes, cms: bytes, **more: bytes) -> bytes:
    """A package signed by option 2: the zip around it."""
    content: Mapping[str, bytes] = {
        "app.csar": package,
        "app.cms": cms,
        **{k.replace("__", "."): v for k, v in more.items()},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in content.items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return out.getvalue()


def signed_beside(package: bytes) -> bytes:
    """A package that SIGNER signed by option 2."""
    return enclosed(package, signing.sign_text(package, SIGNER.key, SIGNER.certificate, [MIDDLE.certificate]))


def read(folder: Path, package: bytes) -> Reading | Damaged:
    """Read a package as the check does; `Damaged` when it is no archive or no package at all."""
    path = folder / f"{hashlib.sha256(package).hexdigest()[:16]}.csar"
    path.write_bytes(package)
    try:
        with enclosing.open_package(path) as opened:
            reading = formats.detect(opened.archive).read(opened.archive)
            if opened.enclosure is not None:
                enclosing.judge(opened.enclosure, reading)
            return reading
    except Damaged as problem:
        return problem
    finally:
        path.unlink()


def state_of(folder: Path, package: bytes, trust: judging.TrustList | None = None) -> tuple[str, set[str]]:
    """The standing of a package by a trust list, and the codes of its errors; what has errors counts as `refused`."""
    reading = read(folder, package)
    if isinstance(reading, Damaged):
        return "refused", {reading.finding}
    errors = {finding.code for finding in blocking(reading.findings)}
    found = judging.assess(reading.signature.as_dict(), trust or trusting(ROOT), dt.datetime.now(dt.UTC))
    state = str(found.standing.state)
    return ("refused" if errors and state == "trusted" else state), errors
