"""Verifying the signatures of packages: NFV-SOL 004 option 1 (in the manifest), option 2 (around it), EdgeGallery's form.

Option 1 signs the manifest text before the CMS block, detached. EdgeGallery signs its `Source` blocks and carries a
copy of them inside the signature; the copy must then equal what the manifest says. Who signed is told; whom to trust
is decided by `appstore.trust` and not here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from appstore.packages import cms
from appstore.packages.cms import Block, Content, Refused, Signer
from core.findings import Finding, Level
from core.words import say

#: So much of certificates and revocation lists is kept with a package, to decide about trust later.
_MOST_KEPT = 64 << 10
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Signature:
    """What is known about the signature of a package.

    `state` is `absent`, `valid` or `invalid`. `weak` says why nobody may ever trust it. `trusted` stays false here: a
    trust list decides that. `covers` is `manifest`, `package` (every byte, option 2) or `sources` (EdgeGallery's form).

    `signers` has an entry for each signer, the first of which is told above, too: the certificate's fingerprint,
    `weak`, `signing_time` (the signer's own claim) and `timestamp` (`at`, `authority`, `fingerprint` or `problem`).
    `certificates` and `crls` are what the signature carries, DER in base64. `listed` counts the members with a right
    digest, `uncovered` names those that no digest covers. `loose` says where bytes could be changed unnoticed.
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
    signers: tuple[dict[str, Any], ...] = ()
    certificates: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()
    loose: str = ""
    listed: int = 0
    uncovered: tuple[str, ...] = ()
    uncovered_count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        told = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def verify(block: str, contents: dict[str, bytes], place: str, *, loose: str = "") -> tuple[Signature, list[Finding]]:
    """Return what the CMS `block` (base64 or PEM) proves about one of `contents` (name to bytes), with findings.

    Signed attributes, the digest of the content, the signature itself and the fit of the certificate are checked, for
    each signer: one that does not hold makes the whole signature invalid.
    """

    def candidates(read: Block, signer: Signer) -> list[Content]:
        carried = read.carried
        return _detached(signer, contents) if carried is None else _carried(carried, contents)

    def opened() -> tuple[bytes, str]:
        der, told = cms.unarmoured(block)
        return der, told or loose

    return _verify(opened, candidates, place)


def verify_whole(
    der: bytes, digest: Callable[[str], bytes], place: str, *, name: str = "package", loose: str = ""
) -> tuple[Signature, list[Finding]]:
    """Return what the detached CMS `der` proves about a file that is known by its digests only (SOL 004, option 2)."""

    def candidates(read: Block, signer: Signer) -> list[Content]:
        if read.carried is not None:
            raise Refused(say("it carries a content of its own instead of being about the file beside it"))
        return [Content(name, digest)]

    return _verify(lambda: (der, loose), candidates, place)


def absent(place: str) -> tuple[Signature, list[Finding]]:
    """Return what is to be said about a package without any signature."""
    message = say("The package is not signed, so anybody could have made it")
    return Signature(), [Finding(Level.WARNING, "signature-missing", place, message, say("Sign the manifest"))]


def broken(why: str, place: str) -> tuple[Signature, list[Finding]]:
    """Return what is to be said about a package whose signature cannot even be looked at."""
    return _refused(Signature(state="invalid"), why, place)


def _verify(
    opened: Callable[[], tuple[bytes, str]], candidates: Callable[[Block, Signer], list[Content]], place: str
) -> tuple[Signature, list[Finding]]:
    signature = Signature(state="invalid")
    try:
        der, loose = opened()
        block = cms.read(der)
        signature = _about(block)
        proved = _proved(block, candidates)
        reasons = [*cms.looseness(block), *([loose] if loose else []), *([proved.loose] if proved.loose else [])]
        signature = replace(signature, state="valid", covers=proved.name, loose="; ".join(dict.fromkeys(reasons)))
    except Refused as why:
        return _refused(signature, str(why), place)
    except cms.UNREADABLE:
        return _refused(signature, say("the CMS block cannot be read"), place)
    return signature, list(_remarks(signature, place))


def _refused(signature: Signature, why: str, place: str) -> tuple[Signature, list[Finding]]:
    finding = Finding(
        Level.ERROR,
        "signature-invalid",
        place,
        say("The signature is not valid: {why}", why=why),
        say("Sign the package again"),
    )
    return replace(signature, state="invalid", problem=why), [finding]


def _remarks(signature: Signature, place: str) -> Iterable[Finding]:
    if signature.weak:
        yield Finding(
            Level.WARNING, "signature-weak", place, say("The signature can never be trusted: {weak}", weak=signature.weak),
            say("Sign with ECDSA P-256 or RSA of 3072 bits, and SHA-256"),
        )  # fmt: skip
    if signature.loose and signature.covers != "sources":
        yield Finding(
            Level.WARNING, "signature-loose", place, say("The signature is not written strictly: {loose}", loose=signature.loose),
            say("Sign with an ordinary tool, in DER"),
        )  # fmt: skip
    if signature.covers == "sources":
        yield Finding(
            Level.WARNING, "signature-partial", place, say("Name, provider and version are not signed, only the digests"),
            say("Sign the whole manifest, as NFV-SOL 004 has it"),
        )  # fmt: skip
    if signature.self_signed:
        yield Finding(
            Level.WARNING,
            "signer-unknown",
            place,
            say("Signed by an unknown: {signer} vouches for itself", signer=signature.signer),
            say("Use a certificate that the operator trusts"),
        )
    if signature.not_after and signature.not_after < datetime.now(UTC).isoformat():
        yield Finding(
            Level.INFO,
            "signer-expired",
            place,
            say("The signer's certificate ran out at {not_after}", not_after=signature.not_after),
            say("Sign with a certificate that is in force"),
        )


# Which content it is.


def _proved(block: Block, candidates: Callable[[Block, Signer], list[Content]]) -> Content:
    """Return the content that every signer signed; `Refused` when there is none."""
    first, *others = block.signers
    proved = _first_that_fits(first, block, candidates(block, first))
    for other in others:
        cms.check(other, block, proved)
    return proved


def _first_that_fits(signer: Signer, block: Block, found: list[Content]) -> Content:
    for content in found[:-1]:
        try:
            cms.check(signer, block, content)
        except Refused:
            continue
        return content
    cms.check(signer, block, found[-1])
    return found[-1]


def _detached(signer: Signer, contents: dict[str, bytes]) -> list[Content]:
    """Return the texts whose digest the signer gave; all of them when it gave none."""
    told = signer.attribute("message_digest") if signer.has_attributes else None
    found = [
        content
        for name, text in contents.items()
        for content in _variants(name, text)
        if told is None or content.digest(signer.digest) == told
    ]
    if not found:
        raise Refused(say("the manifest was changed after it was signed"))
    return found


def _carried(carried: bytes, contents: dict[str, bytes]) -> list[Content]:
    for name, text in contents.items():
        if any(variant.whole == carried and not variant.loose for variant in _variants(name, text)):
            return [Content.of(name, carried)]
    for name, text in contents.items():
        if _words(text) == _words(carried):
            return [Content.of(name, carried, say("the manifest differs from the signed copy in its white space"))]
    raise Refused(say("what was signed is not what the manifest says"))


def _words(content: bytes) -> list[bytes]:
    """Lines without their ends and without empty ones: all that gets lost when a signature is pasted in."""
    return [line.strip() for line in content.splitlines() if line.strip()]


def _variants(name: str, text: bytes) -> Iterator[Content]:
    """The same text as signers saw it: as it is, with line ends of the other kind, and with other ends of the whole."""
    seen = {text}
    yield Content.of(name, text)
    lines = text.replace(b"\r\n", b"\n")
    # Tools that take it for text sign it with CRLF (RFC 8551, 3.1.1): that is the same text only when all lines are alike.
    for other in (lines, lines.replace(b"\n", b"\r\n")):
        alike = b"\r" not in text or lines.replace(b"\n", b"\r\n") == text
        if other not in seen and alike:
            seen.add(other)
            yield Content.of(name, other)
    bare = lines.rstrip(b"\n")
    for end in (b"", b"\n", b"\n\n"):
        for other in (bare + end, (bare + end).replace(b"\n", b"\r\n")):
            if other not in seen and b"\r" not in lines:
                seen.add(other)
                yield Content.of(name, other, say("empty lines before the signature are not as they were signed"))


# What is told.


def _about(block: Block) -> Signature:
    first = block.signers[0]
    certificate = first.certificate
    key = certificate.public_key
    validity = certificate["tbs_certificate"]["validity"]
    told = [_told(signer) for signer in block.signers]
    certificates, crls = _kept(block)
    return Signature(
        state="invalid",
        signer=told[0]["signer"],
        issuer=cms.printable_name(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=told[0]["fingerprint"],
        self_signed=certificate.subject == certificate.issuer,
        algorithm=f"{key.algorithm}-{cms.key_size(certificate)} with {first.digest}",
        not_before=validity["not_before"].native.isoformat(),
        not_after=validity["not_after"].native.isoformat(),
        weak=told[0]["weak"],
        signers=tuple(told),
        certificates=certificates,
        crls=crls,
    )


def _told(signer: Signer) -> dict[str, Any]:
    stamp = cms.timestamp_of(signer)
    told: dict[str, Any] = {}
    if stamp is not None and (stamp.at is None or stamp.certificate is None):
        told = {"problem": stamp.problem}
    elif stamp is not None and stamp.at is not None and stamp.certificate is not None:
        told = {
            "at": stamp.at.isoformat(),
            "authority": cms.printable_name(stamp.certificate.subject),
            "fingerprint": fingerprint(stamp.certificate.dump()),
            "certificates": [base64.b64encode(c.dump()).decode() for c in stamp.certificates],
        }
    claimed = ""
    if signer.has("signing_time"):
        at = signer.attribute("signing_time")
        claimed = at.isoformat() if isinstance(at, datetime) else ""
    return {
        "signer": cms.printable_name(signer.certificate.subject),
        "fingerprint": fingerprint(signer.certificate.dump()),
        "weak": "; ".join(cms.weaknesses(signer)),
        "signing_time": claimed,
        "timestamp": told,
    }


def _kept(block: Block) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the certificates and revocation lists that the block carries, for later decisions."""
    kept = [[each.dump() for each in found] for found in (block.certificates, block.crls)]
    if sum(len(der) for found in kept for der in found) > _MOST_KEPT:
        raise Refused(
            say("it carries more than {most_kept} bytes of certificates and revocation lists", most_kept=_MOST_KEPT)
        )
    certificates, crls = (tuple(base64.b64encode(der).decode() for der in found) for found in kept)
    return certificates, crls


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate in lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def covering(signature: Signature, listed: int, uncovered: Iterable[str]) -> Signature:
    """Return the signature with the members that it covers and those that it does not."""
    names = list(uncovered)
    return replace(signature, listed=listed, uncovered=tuple(names[:_MOST_NAMED]), uncovered_count=len(names))
