"""Signing a CSAR as NFV-SOL 004 option 1 has it: every member listed and hashed in the manifest, which is then signed.

The source is read member by member and written anew, never whole in memory; what is there is never changed in place.
"""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from appstore.packages import csar as common
from appstore.packages.documents import read_text
from appstore.packages.manifest import read_manifest
from core.archives import Archive, Limits, open_archive
from core.errors import Invalid
from core.findings import blocking
from core.words import say

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Progress = Callable[[int, str], None]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_STARTS = ("source:", "-----begin")
_SMALLEST_RSA = 3072


def sign_csar(
    source: Path,
    target: Path,
    *,
    key: PrivateKey,
    certificate: x509.Certificate,
    chain: Iterable[x509.Certificate] = (),
    limits: Limits | None = None,
    progress: Progress = lambda percent, note: None,
) -> Path:
    """Write the package at `source` to `target`, signed, and return `target`; it is there whole or not at all.

    A signature that was there is replaced. `Invalid` when it is no CSAR, when its archive has errors (a package that two
    readers see differently is not signed), or when key and certificate do not fit together or are too weak.
    """
    _fit(key, certificate)
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        with open_archive(source, limits) as archive:
            root, place = _manifest_in(archive)
            body = _body(archive, root, place, progress)
            block = sign_text(body, key, certificate, chain)
            _write(archive, part, root + place, body + block, progress)
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return target


def sign_text(
    text: bytes, key: PrivateKey, certificate: x509.Certificate, chain: Iterable[x509.Certificate] = ()
) -> bytes:
    """Return the CMS block (PEM, detached, SHA-256) with which a manifest ends."""
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(text)
    builder = builder.add_signer(
        certificate, key, hashes.SHA256(), rsa_padding=pss if isinstance(key, rsa.RSAPrivateKey) else None
    )
    for each in chain:
        if each != certificate:
            builder = builder.add_certificate(each)
    options = [
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.NoCapabilities,
    ]
    pem = builder.sign(serialization.Encoding.PEM, options)
    return pem.replace(b"-----BEGIN PKCS7-----", b"-----BEGIN CMS-----").replace(
        b"-----END PKCS7-----", b"-----END CMS-----"
    )


def load_key(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """Read a private key in PEM; `Invalid` unless it is an ECDSA or RSA key that we sign with."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError):
        raise Invalid(say("That is no private key in PEM, or it needs another password"), field="key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Invalid(say("Sign with an ECDSA key on P-256 or larger, or RSA of 3072 bits"), field="key")
    return key


def load_certificates(pem: bytes) -> list[x509.Certificate]:
    """Read certificates in PEM, the signer's first; `Invalid` when there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Invalid(say("That is no certificate in PEM"), field="certificate") from None


def _fit(key: PrivateKey, certificate: x509.Certificate) -> None:
    if key.public_key() != certificate.public_key():
        raise Invalid(say("The key does not belong to the certificate"), field="key")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SMALLEST_RSA:
        raise Invalid(
            say(
                "An RSA key of {key_size} bits is too short; take {smallest_rsa}, or ECDSA P-256",
                key_size=key.key_size,
                smallest_rsa=_SMALLEST_RSA,
            ),
            field="key",
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size < 256:
        raise Invalid(say("This elliptic curve is too small; take P-256"), field="key")


def _manifest_in(archive: Archive) -> tuple[str, str]:
    """Return the folder of the package and the place of its manifest in it."""
    problems = blocking(archive.findings)
    if problems:
        raise Invalid(
            say(
                "The archive has errors and is not signed: {place} {message}",
                place=problems[0].place,
                message=problems[0].message,
            ).strip()
        )
    root = common.root_of(archive) if archive.kind == "zip" else None
    if root is None:
        raise Invalid(say("Only a CSAR can be signed: a zip with a manifest or TOSCA-Metadata/TOSCA.meta"))
    csar = common.opened(archive)
    named = csar.meta.get("etsi-entry-manifest", "")
    found = [n[len(root) :] for n in common.manifests(archive, root)]
    if named and named in csar:
        return root, named
    if len(found) != 1:
        raise Invalid(
            say("There must be one manifest (.mf) beside the folders") if found else say("There is no manifest (.mf)")
        )
    return root, found[0]


def _body(archive: Archive, root: str, place: str, progress: Progress) -> bytes:
    """Return the manifest without its signature, in which every member has its digest."""
    outside = [name for name in archive.names() if not name.startswith(root)]
    if outside:
        raise Invalid(say("{outside} lies beside the folder of the package", outside=outside[0]), field="package")
    content = archive.read(root + place, at_most=2 << 20)
    problems: list = []
    read_manifest(content, place, problems)
    doubles = [f for f in problems if f.code == "manifest-duplicate"]
    if doubles:
        raise Invalid(say("The manifest says two things: {message}", message=doubles[0].message))
    lines = read_text(content, place).splitlines()
    # What comes before the first file stays word for word; everything about files is written anew.
    end = next((n for n, line in enumerate(lines) if line.strip().lower().startswith(_STARTS)), len(lines))
    head = [line.rstrip() for line in lines[:end]]
    while head and not head[-1]:
        head.pop()
    members = sorted(name for name in archive.names() if name != root + place)
    for name in members:
        if name != name.strip() or ":" in name[:2]:
            raise Invalid(say("{name} is no name that a manifest can list", name=repr(name)))
    body = [*head, ""]
    for number, name in enumerate(members):
        progress(5 + 45 * number // max(1, len(members)), say("hashing {name}", name=name)[:200])
        body += [f"Source: {name[len(root) :]}", "Algorithm: SHA-256", f"Hash: {archive.sha256(name)}", ""]
    return "\n".join(body).encode()


def _write(archive: Archive, part: Path, manifest: str, content: bytes, progress: Progress) -> None:
    names = archive.names()
    with part.open("xb") as raw, zipfile.ZipFile(raw, "w") as out:
        for number, name in enumerate(names):
            progress(50 + 45 * number // max(1, len(names)), say("writing {name}", name=name)[:200])
            member = archive.member(name)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_STORED if member.method == 0 else zipfile.ZIP_DEFLATED
            info.external_attr, info.create_system = 0o100644 << 16, 3
            with out.open(info, "w", force_zip64=member.size >= 1 << 31) as file:
                for chunk in [content] if name == manifest else archive.chunks(name):
                    file.write(chunk)
