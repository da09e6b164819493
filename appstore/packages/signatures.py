"""Verifying CMS signatures (RFC 5652) of manifests: NFV-SOL 004 option 1, and EdgeGallery's form of it.

SOL 004 signs the manifest text before the CMS block, detached. EdgeGallery signs its `Source` blocks
and carries a copy of them inside the signature; the copy must then equal what the manifest says.
Who signed is told; whom to trust is the operator's choice and not decided here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from core.findings import Finding, Level

_LONGEST = 1 << 20
_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha1": hashes.SHA1,
}
_SMALLEST_RSA = 2048
_UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True, slots=True)
class Signature:
    """What is known about the signature of a package.

    `state` is `absent`, `valid` or `invalid`. `weak` says why nobody may ever trust it. `trusted` stays
    false here: a trust list of the operator decides that.
    """

    state: str = "absent"
    signer: str = ""
    issuer: str = ""
    serial: str = ""
    fingerprint: str = ""
    self_signed: bool = False
    algorithm: str = ""
    not_before: str = ""
    not_after: str = ""
    covers: str = ""
    weak: str = ""
    trusted: bool = False
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


class _Refused(Exception):
    """The signature does not hold; the text says why."""


def verify(block: str, contents: dict[str, bytes], place: str) -> tuple[Signature, list[Finding]]:
    """Return what the CMS `block` (base64 or PEM) proves about one of `contents` (name to bytes), with findings.

    Signed attributes, the digest of the content, the signature itself and the fit of the certificate are checked.
    """
    signature = Signature(state="invalid")
    try:
        data = _signed_data(block)
        certificate, signer = _signer(data)
        signature = _about(certificate, signer)
        covers = _proved(certificate, signer, data, contents)
        signature = replace(signature, state="valid", covers=covers)
    except _Refused as why:
        return _refused(signature, str(why), place)
    except (InvalidSignature, UnsupportedAlgorithm):
        return _refused(signature, "the signature does not fit to the content and the signer's key", place)
    except _UNREADABLE:
        return _refused(signature, "the CMS block cannot be read", place)
    return signature, list(_remarks(signature, place))


def absent(place: str) -> tuple[Signature, list[Finding]]:
    """Return what is to be said about a package without any signature."""
    message = "The package is not signed, so anybody could have made it"
    return Signature(), [Finding(Level.WARNING, "signature-missing", place, message, "Sign the manifest")]


def _refused(signature: Signature, why: str, place: str) -> tuple[Signature, list[Finding]]:
    finding = Finding(
        Level.ERROR, "signature-invalid", place, f"The signature is not valid: {why}", "Sign the package again"
    )
    return replace(signature, state="invalid", problem=why), [finding]


def _remarks(signature: Signature, place: str) -> Iterable[Finding]:
    if signature.weak:
        yield Finding(
            Level.WARNING, "signature-weak", place, f"The signature can never be trusted: {signature.weak}",
            "Sign with ECDSA P-256 or RSA of 3072 bits, and SHA-256",
        )  # fmt: skip
    if signature.covers == "sources":
        yield Finding(
            Level.WARNING, "signature-partial", place, "Name, provider and version are not signed, only the digests",
            "Sign the whole manifest, as NFV-SOL 004 has it",
        )  # fmt: skip
    if signature.self_signed:
        yield Finding(
            Level.WARNING, "signer-unknown", place, f"Signed by an unknown: {signature.signer} vouches for itself",
            "Use a certificate that the operator trusts",
        )  # fmt: skip
    if signature.not_after and signature.not_after < datetime.now(UTC).isoformat():
        yield Finding(
            Level.INFO, "signer-expired", place, f"The signer's certificate ran out at {signature.not_after}",
            "Sign with a certificate that is in force",
        )  # fmt: skip


def _signed_data(block: str) -> Any:
    lines = [line.strip() for line in block.strip().splitlines()]
    text = "".join(line for line in lines if line and not line.startswith("-----"))
    if len(text) > _LONGEST:
        raise _Refused("the CMS block is far too long")
    try:
        der = base64.b64decode(text, validate=True)
    except binascii.Error as problem:
        raise _Refused("the CMS block is not base64") from problem
    info = cms.ContentInfo.load(der)
    if info["content_type"].native != "signed_data":
        raise _Refused("the CMS block holds no signed data")
    return info["content"]


def _signer(data: Any) -> tuple[Any, Any]:
    signers = data["signer_infos"]
    if len(signers) != 1:
        raise _Refused(f"there must be one signer, not {len(signers)}")
    signer = signers[0]
    sid = signer["sid"]
    chosen = []
    for choice in data["certificates"] or []:
        if choice.name != "certificate":
            continue
        certificate = choice.chosen
        if sid.name == "issuer_and_serial_number":
            fits = (
                certificate.issuer == sid.chosen["issuer"]
                and certificate.serial_number == sid.chosen["serial_number"].native
            )
        else:
            fits = certificate.key_identifier == sid.chosen.native
        if fits:
            chosen.append(certificate)
    if len(chosen) != 1:
        raise _Refused("the certificate of the signer is not in the CMS block")
    return chosen[0], signer


def _about(certificate: x509.Certificate, signer: Any) -> Signature:
    digest = signer["digest_algorithm"]["algorithm"].native
    key = certificate.public_key
    size = key.bit_size
    kind = key.algorithm
    weak = []
    if digest not in ("sha256", "sha384", "sha512"):
        weak.append(f"{digest} is broken")
    if certificate.hash_algo == "sha1":
        weak.append("the certificate is signed with SHA-1")
    if kind in ("rsa", "rsassa_pss") and size < _SMALLEST_RSA:
        weak.append(f"an RSA key of {size} bits is too short")
    validity = certificate["tbs_certificate"]["validity"]
    return Signature(
        state="invalid",
        signer=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=hashlib.sha256(certificate.dump()).hexdigest(),
        self_signed=certificate.subject == certificate.issuer,
        algorithm=f"{kind}-{size} with {digest}",
        not_before=validity["not_before"].native.isoformat(),
        not_after=validity["not_after"].native.isoformat(),
        weak="; ".join(weak),
    )


def _name(name: x509.Name) -> str:
    text = name.human_friendly
    return "".join(c for c in text if c.isprintable())[:200]


def _proved(certificate: x509.Certificate, signer: Any, data: Any, contents: dict[str, bytes]) -> str:
    """Return which content the signature proves; `InvalidSignature` or `_Refused` when none."""
    candidates = _candidates(data, signer, contents)
    for covers, content in candidates[:-1]:
        try:
            _check(certificate, signer, data, content)
        except InvalidSignature:
            continue
        return covers
    covers, content = candidates[-1]
    _check(certificate, signer, data, content)
    return covers


def _candidates(data: Any, signer: Any, contents: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Return what may have been signed: the carried copy, or the text whose digest the signer gave."""
    inside = data["encap_content_info"]["content"]
    if inside.native is not None:
        carried: bytes = inside.native if isinstance(inside.native, bytes) else inside.contents
        for name, content in contents.items():
            if _words(content) == _words(carried):
                return [(name, carried)]
        raise _Refused("what was signed is not what the manifest says")
    digest = signer["digest_algorithm"]["algorithm"].native
    if digest not in _DIGESTS:
        raise _Refused(f"the digest {digest} is not known")
    told = _attribute(signer, "message_digest") if signer["signed_attrs"].native else None
    found = [
        (name, variant)
        for name, content in contents.items()
        for variant in _variants(content)
        if told is None or hashlib.new(digest, variant).digest() == told
    ]
    if not found:
        raise _Refused("the manifest was changed after it was signed")
    return found


def _words(content: bytes) -> list[bytes]:
    """Lines without their ends and without empty ones: all that gets lost when a signature is pasted in."""
    return [line.strip() for line in content.splitlines() if line.strip()]


def _variants(content: bytes) -> Sequence[bytes]:
    """The same text as signers saw it: line ends of either kind, with and without the last one."""
    lines = content.replace(b"\r\n", b"\n")
    bare = lines.rstrip(b"\n")
    plain = dict.fromkeys([content, lines, bare, bare + b"\n", bare + b"\n\n"])
    return list(dict.fromkeys([*plain, *(text.replace(b"\n", b"\r\n") for text in plain if b"\r" not in text)]))


def _attribute(signer: Any, name: str) -> Any:
    found = [a for a in signer["signed_attrs"] if a["type"].native == name]
    if len(found) != 1 or len(found[0]["values"]) != 1:
        raise _Refused(f"the signed attributes have no single {name.replace('_', ' ')}")
    return found[0]["values"][0].native


def _check(certificate: x509.Certificate, signer: Any, data: Any, content: bytes) -> None:
    name = signer["digest_algorithm"]["algorithm"].native
    if name not in _DIGESTS:
        raise _Refused(f"the digest {name} is not known")
    digest = _DIGESTS[name]()
    signed = content
    if signer["signed_attrs"].native:
        # RFC 5652, 5.4 and 11: both attributes must be there, and the signature is over the attributes as a SET.
        if _attribute(signer, "content_type") != data["encap_content_info"]["content_type"].native:
            raise _Refused("the signed content type is another")
        if _attribute(signer, "message_digest") != hashlib.new(name, content).digest():
            raise _Refused("the signed digest is not that of the content")
        signed = signer["signed_attrs"].untag().dump()
    elif data["encap_content_info"]["content_type"].native != "data":
        raise _Refused("signed attributes are missing")  # RFC 5652, 5.3
    _verify_with_key(certificate, signer, signer["signature"].native, signed, digest)


def _verify_with_key(
    certificate: x509.Certificate, signer: Any, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm
) -> None:
    key = serialization.load_der_public_key(certificate.public_key.dump())
    algorithm = signer["signature_algorithm"]
    kind = algorithm.signature_algo
    if isinstance(key, rsa.RSAPublicKey) and kind == "rsassa_pkcs1v15":
        key.verify(signature, signed, padding.PKCS1v15(), digest)
    elif isinstance(key, rsa.RSAPublicKey) and kind == "rsassa_pss":
        length = algorithm["parameters"]["salt_length"].native
        chosen = _DIGESTS[algorithm["parameters"]["hash_algorithm"]["algorithm"].native]()
        if chosen.name != digest.name:
            raise _Refused("two different digests are named")
        key.verify(signature, signed, padding.PSS(padding.MGF1(chosen), length), chosen)
    elif isinstance(key, ec.EllipticCurvePublicKey) and kind == "ecdsa":
        key.verify(signature, signed, ec.ECDSA(digest))
    elif isinstance(key, ed25519.Ed25519PublicKey) and kind == "ed25519":
        key.verify(signature, signed)
    else:
        raise _Refused("the signer's key and the signature algorithm do not fit together")
