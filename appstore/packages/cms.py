"""Cryptographic Message Syntax (RFC 5652): what a block of signed data proves, checked with plain primitives.

Knows nothing of manifests, packages or trust, and asks no network. Whatever is wrong is `Refused` with the reason; what
holds but is not written as strictly as DER and the RFC have it is told by `looseness`, because bytes that nobody
signed could be changed there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, core, tsp, x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from core.words import say

#: A longer block is not looked at: a manifest's signature takes some hundred bytes, a long chain some thousand.
LONGEST = 1 << 20
DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha1": hashes.SHA1,
}
#: What may be trusted; all else is read and told as weak.
STRONG = ("sha256", "sha384", "sha512")
SMALLEST_RSA, SMALLEST_EC = 2048, 256
MOST_SIGNERS = 8
MOST_CERTIFICATES = 32
#: What a parser raises on hostile bytes.
UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NameError,
    NotImplementedError,
    RecursionError,
)
_BEGIN = re.compile(r"^-----BEGIN (CMS|PKCS7|CERTIFICATE)-----$")
_UNFIT = "the signature does not fit to the content and the signer's key"


class Refused(Exception):
    """The signature does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """What may have been signed: its digest by any algorithm, and its bytes where they are small enough to be held.

    `loose` says in what it differs from what is there (line ends, say); empty when it is the very bytes.
    """

    name: str
    digest: Callable[[str], bytes]
    whole: bytes | None = None
    loose: str = ""

    @classmethod
    def of(cls, name: str, whole: bytes, loose: str = "") -> Content:
        """Return the content that is held in memory."""
        return cls(name, lambda algorithm: hashlib.new(algorithm, whole).digest(), whole, loose)


@dataclass(frozen=True, slots=True)
class Signer:
    """One signer of a block: what it says of itself, and its certificate."""

    info: Any
    certificate: x509.Certificate

    @property
    def digest(self) -> str:
        """The name of the digest algorithm; `Refused` when it is not known."""
        name = str(self.info["digest_algorithm"]["algorithm"].native)
        if name not in DIGESTS:
            raise Refused(say("the digest {name} is not known", name=name[:40]))
        return name

    @property
    def has_attributes(self) -> bool:
        """Whether attributes are signed instead of the content itself."""
        return bool(self.info["signed_attrs"].native)

    @property
    def signature(self) -> bytes:
        """The bytes of the signature."""
        return bytes(self.info["signature"].native)

    def attribute(self, name: str) -> Any:
        """Return the one value of a signed attribute; `Refused` unless it is there once (RFC 5652, 11)."""
        found = [a for a in self.info["signed_attrs"] if a["type"].native == name]
        if len(found) != 1 or len(found[0]["values"]) != 1:
            raise Refused(say("the signed attributes have no single {what}", what=name.replace("_", " ")))
        return found[0]["values"][0].native

    def has(self, name: str) -> bool:
        """Return whether there is a signed attribute of that name."""
        return self.has_attributes and any(a["type"].native == name for a in self.info["signed_attrs"])


@dataclass(frozen=True, slots=True)
class Block:
    """A block of signed data that could be read."""

    der: bytes
    data: Any
    signers: tuple[Signer, ...]
    certificates: tuple[x509.Certificate, ...]
    crls: tuple[Any, ...]

    @property
    def carried(self) -> bytes | None:
        """The content inside the block; None for a detached signature."""
        inside = self.data["encap_content_info"]["content"]
        if isinstance(inside, core.Void) or inside.native is None:
            return None
        return inside.native if isinstance(inside.native, bytes) else bytes(inside.contents)

    @property
    def content_type(self) -> str:
        """The name of the type of the content."""
        return str(self.data["encap_content_info"]["content_type"].native)


def unarmoured(block: str) -> tuple[bytes, str]:
    """Return the DER of a block in base64 or PEM, and what is loose about the text of it; `Refused` when it is neither."""
    lines = [line.strip() for line in block.strip().splitlines()]
    text = "".join(line for line in lines if line and not line.startswith("-----"))
    if len(text) > LONGEST:
        raise Refused(say("the CMS block is far too long"))
    try:
        der = base64.b64decode(text, validate=True)
    except binascii.Error as problem:
        raise Refused(say("the CMS block is not base64")) from problem
    plain = block.replace("\r\n", "\n").removesuffix("\n").split("\n")
    framed = _BEGIN.match(plain[0])
    inner = plain[1:-1] if framed and plain[-1] == f"-----END {framed[1]}-----" else plain
    even = all(line and line == line.strip() and len(line) == len(inner[0]) for line in inner[:-1])
    tidy = bool(inner) and even and 0 < len(inner[-1]) <= len(inner[0]) and "".join(inner) == text
    if not tidy or base64.b64encode(der).decode() != text:
        return der, say("the text of the CMS block is not written as any tool writes it")
    return der, ""


def read(der: bytes) -> Block:
    """Read signed data and find each signer's certificate; `Refused` when a signer is not there or not identified."""
    if len(der) > LONGEST:
        raise Refused(say("the CMS block is far too long"))
    info = cms.ContentInfo.load(der, strict=True)
    if info["content_type"].native != "signed_data":
        raise Refused(say("the CMS block holds no signed data"))
    data = info["content"]
    choices = list(data["certificates"] or [])
    if len(choices) > MOST_CERTIFICATES:
        raise Refused(
            say("the CMS block carries more than {most_certificates} certificates", most_certificates=MOST_CERTIFICATES)
        )
    certificates = tuple(choice.chosen for choice in choices if choice.name == "certificate")
    infos = list(data["signer_infos"])
    if not infos:
        raise Refused(say("there must be a signer, and there is none"))
    if len(infos) > MOST_SIGNERS:
        raise Refused(say("there are more than {most_signers} signers", most_signers=MOST_SIGNERS))
    signers = tuple(Signer(info, _certificate_of(info, certificates)) for info in infos)
    crls = tuple(choice.chosen for choice in (data["crls"] or []) if choice.name == "certificate_list")
    return Block(der, data, signers, certificates, crls)


def _certificate_of(info: Any, certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    sid = info["sid"]
    if sid.name == "issuer_and_serial_number":
        issuer, serial = sid.chosen["issuer"], sid.chosen["serial_number"].native
        fits = [c for c in certificates if c.serial_number == serial and c.issuer == issuer]
    else:
        fits = [c for c in certificates if c.key_identifier == sid.chosen.native]
    if len(fits) != 1:
        raise Refused(say("the certificate of the signer is not in the CMS block"))
    return fits[0]


def check(signer: Signer, block: Block, content: Content) -> None:
    """Pass when the signer signed that content; `Refused` with the reason when not.

    RFC 5652, 5.4 and 11: content type and message digest must be among the signed attributes, and the signature is over
    the attributes as a SET. All places that name an algorithm must name the same one.
    """
    name = signer.digest
    _one_algorithm(signer, name)
    if signer.has_attributes:
        if signer.attribute("content_type") != block.content_type:
            raise Refused(say("the signed content type is another"))
        if signer.attribute("message_digest") != content.digest(name):
            raise Refused(say("the signed digest is not that of the content"))
        _names_its_certificate(signer)
        _verify(signer, name, signer.info["signed_attrs"].untag().dump(), None)
    elif block.content_type != "data":
        raise Refused(say("signed attributes are missing"))  # RFC 5652, 5.3
    else:
        _verify(signer, name, content.whole, content.digest(name))


def _one_algorithm(signer: Signer, digest: str) -> None:
    """Refuse a signer whose algorithm names contradict each other, also where they are signed (RFC 6211)."""
    algorithm = signer.info["signature_algorithm"]
    kind = algorithm["algorithm"].native
    if kind == "rsassa_pss":
        parameters = algorithm["parameters"]
        named = {parameters["hash_algorithm"]["algorithm"].native}
        mask = parameters["mask_gen_algorithm"]
        if mask["algorithm"].native != "mgf1":
            raise Refused(say("the mask of RSA-PSS is not known"))
        named.add(mask["parameters"]["algorithm"].native)
    elif kind == "ed25519":
        # RFC 8419, 3.1: with signed attributes the message digest is SHA-512.
        named = {"sha512"} if signer.has_attributes else {digest}
    elif kind == "rsassa_pkcs1v15":
        named = {digest}  # RFC 3370, 3.2: names the digest nowhere else
    else:
        named = {algorithm.hash_algo}
    if named != {digest}:
        raise Refused(say("two different digests are named"))
    if signer.has("cms_algorithm_protection"):
        told = signer.attribute("cms_algorithm_protection")
        if told["digest_algorithm"]["algorithm"] != digest:
            raise Refused(say("the signed attributes name another digest"))
        signature = told.get("signature_algorithm")
        if signature is not None and signature["algorithm"] != kind:
            raise Refused(say("the signed attributes name another signature algorithm"))


def _names_its_certificate(signer: Signer) -> None:
    """RFC 5035, 4: a signer that names its certificate by its hash means no other."""
    for attribute, usual in (("signing_certificate_v2", "sha256"), ("signing_certificate", "sha1")):
        if not signer.has(attribute):
            continue
        first = signer.attribute(attribute)["certs"][0]
        algorithm = (first.get("hash_algorithm") or {}).get("algorithm", usual)
        if algorithm not in DIGESTS:
            raise Refused(say("the signed attributes name the certificate by a digest that is not known"))
        if hashlib.new(algorithm, signer.certificate.dump()).digest() != first["cert_hash"]:
            raise Refused(say("the signed attributes name another certificate"))


def _verify(signer: Signer, digest: str, signed: bytes | None, prehashed: bytes | None) -> None:
    """Verify over `signed`; where those bytes are too many to be held, over their digest."""
    algorithm: Any = DIGESTS[digest]()
    if signed is None:
        assert prehashed is not None
        signed, algorithm = prehashed, utils.Prehashed(algorithm)
    kind = signer.info["signature_algorithm"].signature_algo
    try:
        key = serialization.load_der_public_key(signer.certificate.public_key.dump())
        if isinstance(key, rsa.RSAPublicKey) and kind == "rsassa_pkcs1v15":
            key.verify(signer.signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, rsa.RSAPublicKey) and kind == "rsassa_pss":
            length = signer.info["signature_algorithm"]["parameters"]["salt_length"].native
            key.verify(signer.signature, signed, padding.PSS(padding.MGF1(DIGESTS[digest]()), length), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and kind == "ecdsa":
            key.verify(signer.signature, signed, ec.ECDSA(algorithm))
        elif (
            isinstance(key, ed25519.Ed25519PublicKey)
            and kind == "ed25519"
            and not isinstance(algorithm, utils.Prehashed)
        ):
            key.verify(signer.signature, signed)
        else:
            raise Refused(say("the signer's key and the signature algorithm do not fit together"))
    except (InvalidSignature, UnsupportedAlgorithm) as problem:
        raise Refused(_UNFIT) from problem


# What is said about a signer.


def weaknesses(signer: Signer) -> list[str]:
    """Return why this signer may never be trusted, whoever vouches for it; empty when nothing is known against it."""
    found = []
    if signer.digest not in STRONG:
        found.append(say("{digest} is broken", digest=signer.digest))
    found += certificate_weaknesses(signer.certificate)
    found += usage_problem(signer.certificate)
    return found


def certificate_weaknesses(certificate: x509.Certificate) -> list[str]:
    """Return what makes a certificate too weak for any trust: its key, or the digest that it was signed with."""
    found = []
    if certificate.signature_algo not in ("ed25519", "ed448") and certificate.hash_algo not in STRONG:
        name = {"sha1": "SHA-1", "md5": "MD5"}.get(certificate.hash_algo, certificate.hash_algo)
        found.append(say("the certificate is signed with {name}", name=name))
    key = certificate.public_key
    if key.algorithm in ("rsa", "rsassa_pss") and key.bit_size < SMALLEST_RSA:
        found.append(say("an RSA key of {bit_size} bits is too short", bit_size=key.bit_size))
    elif key.algorithm == "ec" and key.bit_size < SMALLEST_EC:
        found.append(say("an elliptic curve of {bit_size} bits is too small", bit_size=key.bit_size))
    elif key.algorithm not in ("rsa", "rsassa_pss", "ec", "ed25519"):
        found.append(say("keys of the kind {algorithm} are not taken", algorithm=key.algorithm))
    return found


def key_size(certificate: x509.Certificate) -> int:
    """Return the bits of the certificate's key."""
    key = certificate.public_key
    return 256 if key.algorithm == "ed25519" else int(key.bit_size)


#: Uses of a key that signing a package is one of: code, mail (most CMS tools), documents, anything.
_SIGNING_USES = {"code_signing", "email_protection", "any_extended_key_usage", "1.3.6.1.5.5.7.3.36"}


def usage_problem(certificate: x509.Certificate) -> list[str]:
    """RFC 5280, 4.2.1.3 and 4.2.1.12: a certificate that names its uses is for these alone."""
    usage = certificate.key_usage_value
    if usage is not None and not usage.native & {"digital_signature", "non_repudiation"}:
        return ["its certificate is not for signing (key usage)"]
    extended = certificate.extended_key_usage_value
    if extended is not None and not set(extended.native) & _SIGNING_USES:
        return [say("its certificate is for other uses than signing code")]
    return []


def looseness(block: Block) -> list[str]:
    """Return where the block has room for bytes that nobody signed; empty for what ordinary tools write."""
    found = []
    if not is_der(block.der):
        found.append(say("the CMS block is not in DER"))
    used = {signer.digest for signer in block.signers}
    named = [each["algorithm"].native for each in block.data["digest_algorithms"]]
    plain = [
        *block.data["digest_algorithms"],
        *(signer.info["digest_algorithm"] for signer in block.signers),
        *(s.info["signature_algorithm"] for s in block.signers if s.info["signature_algorithm"].signature_algo != "rsassa_pss"),
    ]  # fmt: skip
    if set(named) != used or len(named) != len(used) or not all(_without_parameters(each) for each in plain):
        found.append(say("the CMS block names algorithms in an unusual way"))
    others = [c for c in (block.data["certificates"] or []) if c.name != "certificate"]
    others += [c for c in (block.data["crls"] or []) if c.name != "certificate_list"]
    if others:
        found.append(say("the CMS block carries certificates of another kind"))
    by_key = any(signer.info["sid"].name != "issuer_and_serial_number" for signer in block.signers)
    wanted = "v3" if by_key or block.content_type != "data" else "v1"  # RFC 5652, 5.1
    versions = {"issuer_and_serial_number": "v1", "subject_key_identifier": "v3"}
    right = all(s.info["version"].native == versions[s.info["sid"].name] for s in block.signers)
    if not right or (not others and block.data["version"].native != wanted):
        found.append(say("the CMS block has another version than it should have"))
    for signer in block.signers:
        sid = signer.info["sid"]
        # Names are compared without regard to case (RFC 5280, 7.1), and nobody signed this copy of it.
        if sid.name == "issuer_and_serial_number" and sid.chosen["issuer"].dump() != signer.certificate.issuer.dump():
            found.append(say("the signer's issuer is written in another way than in its certificate"))
        unsigned = [a["type"].native for a in signer.info["unsigned_attrs"] or []]
        if unsigned not in ([], ["signature_time_stamp_token"]):
            found.append(say("there are attributes that nobody signed"))
    return found


def is_der(data: bytes) -> bool:
    """Return whether the encoding is DER as far as one value can be written in several ways (X.690, 10 and 11)."""
    spans = [(0, len(data))]
    while spans:
        at, end = spans.pop()
        while at < end:
            tag = data[at]
            at += 1
            if tag & 0x1F == 0x1F or at >= end:
                return False  # long tags occur in none of our structures
            length = data[at]
            at += 1
            if length >= 0x80:
                count = length & 0x7F
                more = data[at : at + count]
                at += count
                length = int.from_bytes(more, "big")
                if not 0 < count <= 4 or len(more) != count or more[0] == 0 or length < 0x80:
                    return False
            stop = at + length
            if stop > end:
                return False
            if tag & 0x20:
                if tag < 0x40 and tag not in (0x30, 0x31):
                    return False  # a string in pieces
                spans.append((at, stop))
            elif not _shortest(tag, data[at:stop]):
                return False
            at = stop
    return True


def _shortest(tag: int, value: bytes) -> bool:
    """Whether a boolean, an integer, an enumeration or a string of bits is written in the one way that DER has for it."""
    if tag == 1:
        return value in (b"\x00", b"\xff")
    if tag == 3:
        # Keys and signatures are whole bytes; only short strings of flags may end within one.
        return bool(value) and (value[0] == 0 or (value[0] < 8 and len(value) < 8))
    if tag not in (2, 10) or len(value) == 1:
        return True
    return bool(value) and not ((value[0] == 0 and value[1] < 0x80) or (value[0] == 0xFF and value[1] >= 0x80))


def _without_parameters(algorithm: Any) -> bool:
    parameters = algorithm["parameters"]
    return isinstance(parameters, core.Null | core.Void)


# Timestamps.


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a timestamp token (RFC 3161) proves of a signature; whom its authority is worth is not decided here.

    `problem` says why it proves nothing; then the rest is empty.
    """

    at: datetime | None = None
    certificate: x509.Certificate | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    problem: str = ""


def timestamp_of(signer: Signer) -> Timestamp | None:
    """Return the timestamp of the signature; None when it carries none."""
    tokens = [
        value
        for attribute in signer.info["unsigned_attrs"] or []
        if attribute["type"].native == "signature_time_stamp_token"
        for value in attribute["values"]
    ]
    if not tokens:
        return None
    try:
        if len(tokens) != 1:
            raise Refused(say("there are several"))
        return _timestamp(tokens[0].dump(), signer.signature)
    except Refused as why:
        return Timestamp(problem=str(why))
    except UNREADABLE:
        return Timestamp(problem="it cannot be read")


def _timestamp(token: bytes, stamped: bytes) -> Timestamp:
    block = read(token)
    if block.content_type != "tst_info" or len(block.signers) != 1:
        raise Refused(say("it is no timestamp token"))
    if looseness(block):
        raise Refused(say("it is not written in DER"))
    carried, signer = block.carried, block.signers[0]
    if carried is None:
        raise Refused(say("it is empty"))
    check(signer, block, Content.of("timestamp", carried))
    info = tsp.TSTInfo.load(carried, strict=True)
    imprint = info["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    if algorithm not in STRONG or signer.digest not in STRONG:
        raise Refused(say("it is made with a broken digest"))
    if hashlib.new(algorithm, stamped).digest() != imprint["hashed_message"].native:
        raise Refused(say("it is of another signature"))
    extended = signer.certificate.extended_key_usage_value
    # RFC 3161, 2.3: the one use, and critical.
    if (
        extended is None
        or extended.native != ["time_stamping"]
        or not _critical(signer.certificate, "extended_key_usage")
    ):
        raise Refused(say("its certificate is not for timestamps"))
    weak = certificate_weaknesses(signer.certificate)
    if weak:
        raise Refused(weak[0])
    return Timestamp(info["gen_time"].native.astimezone(UTC), signer.certificate, block.certificates)


def _critical(certificate: x509.Certificate, name: str) -> bool:
    return any(
        e["extn_id"].native == name and e["critical"].native for e in certificate["tbs_certificate"]["extensions"]
    )


def printable_name(name: x509.Name) -> str:
    """Return a distinguished name for people; a hostile one cannot break the line it stands in."""
    return "".join(c for c in name.human_friendly if c.isprintable())[:200]


def with_certificates(der: bytes, more: Iterable[bytes]) -> bytes:
    """Return the block with these certificates (DER) among those it carries: a signer's may lie in a file beside it."""
    info = cms.ContentInfo.load(der, strict=True)
    if info["content_type"].native != "signed_data":
        raise Refused(say("the CMS block holds no signed data"))
    data = info["content"]
    present = [choice.chosen.dump() for choice in data["certificates"] or [] if choice.name == "certificate"]
    fresh = [x509.Certificate.load(each, strict=True) for each in more if each not in present]
    if not fresh:
        return der
    kept = [*(data["certificates"] or []), *(cms.CertificateChoices("certificate", each) for each in fresh)]
    data["certificates"] = cms.CertificateSet(kept)
    return bytes(info.dump(force=True))


def short_name(name: x509.Name) -> str:
    """Return what people call the holder: `Acme Apps (Acme)`, common name and organisation."""
    told = name.native
    common, organisation = (str(told.get(key) or "") for key in ("common_name", "organization_name"))
    text = (
        f"{common} ({organisation})" if common and organisation and common != organisation else common or organisation
    )
    return "".join(c for c in text if c.isprintable())[:120] or printable_name(name)
