"""HTTP Message Signatures (RFC 9421) with `ecdsa-p256-sha256` and Content-Digest (RFC 9530), as stores use them. Pure.

Each request between stores covers the method, the path, the query, the receiving store and the digest of the body. The
receiver is named by the id of its key (`Breakwater-Audience`) and not by `@authority`: a name can be moved to another
store or be written by a proxy, a key cannot.

Each answer covers its status, what it says of its body, and the signature of the request, which holds a nonce: it answers
that one request and no other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from core import dsse
from core.errors import Unauthenticated
from core.words import say

#: Seconds that the clocks of two stores may differ.
WINDOW: Final = 300
AUDIENCE: Final = "Breakwater-Audience"
ALGORITHM: Final = "ecdsa-p256-sha256"
#: RFC 9421, 2.3: says what the signature is for, so that it is good for nothing else.
TAG: Final = "breakwater-federation"
_LABEL: Final = "store"
_COVERED: Final = ("@method", "@path", "@query", AUDIENCE.lower())
_LONGEST_HEADER = 2048
#: What an answer covers of itself and of its request, each as far as it is there. Whoever takes one of them away on the
#: line, or slips one in, breaks the signature. A request with a body names its path, since some doors know no sender.
_OF_ANSWER: Final = ("content-digest", "content-type", "content-range")
_OF_REQUEST: Final = ("signature", "content-digest", "content-type", "if-none-match", "range", "if-range")
#: Shortest things that do: an idle partner costs one request, so each byte of this counts.
_ANSWER_LABEL: Final = "a"
_ANSWER_TAG: Final = "answer"
# The subset of structured fields (RFC 9651) that our signatures are written in; anything else is refused.
_INPUT = re.compile(
    r'store=(\((?P<covered>"[a-z@-]+"(?: "[a-z@-]+"){0,15})\)'
    r';created=(?P<created>[0-9]{1,12});keyid="(?P<keyid>[0-9a-f]{64})";nonce="(?P<nonce>[\w-]{16,64})"'
    rf';alg="{ALGORITHM}";tag="{TAG}")',
    re.ASCII,
)
_ANSWER_SIGNATURE = re.compile(rf"{_ANSWER_LABEL}=:([A-Za-z0-9+/]{{86}}==):", re.ASCII)
_SIGNATURE = re.compile(r"store=:([A-Za-z0-9+/]{86}==):", re.ASCII)
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to have signed, before that is verified."""

    key_id: str
    nonce: str
    created: int
    audience: str
    #: SHA-256 that the body must have (hex), empty when the request has none.
    body_sha256: str
    _base: bytes
    _signature: bytes

    def verify(self, key: dsse.PublicKey) -> None:
        """Pass when the request is signed with that key; `Unauthenticated` otherwise."""
        if not isinstance(key, ec.EllipticCurvePublicKey) or dsse.key_id(key) != self.key_id:
            raise Unauthenticated(say("The request is signed with another key than it says."))
        if not _fits(key, self._signature, self._base):
            raise Unauthenticated(say("The signature of the request does not fit: it was changed on the way."))


def sign(
    key: ec.EllipticCurvePrivateKey,
    method: str,
    target: str,
    body: bytes,
    *,
    audience: str,
    now: float,
    nonce: str = "",
) -> dict[str, str]:
    """Return the headers that sign a request; `target` is path and query as they are sent."""
    headers = {AUDIENCE: audience}
    covered = list(_COVERED)
    if body:
        headers["Content-Digest"] = digest_of(body)
        covered.append("content-digest")
    parameters = (
        f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in covered)})"
        f';created={int(now)};keyid="{dsse.key_id(key.public_key())}";nonce="{nonce or secrets.token_urlsafe(18)}"'
        f';alg="{ALGORITHM}";tag="{TAG}"'
    )
    base = _base(covered, parameters, method, target, {name.lower(): value for name, value in headers.items()})
    return {**headers, "Signature-Input": f"{_LABEL}={parameters}", "Signature": f"{_LABEL}=:{_signed(key, base)}:"}


def claimed(method: str, target: str, headers: Mapping[str, str], *, has_body: bool) -> Claim:
    """Read what a request claims about its sender; `headers` knows names without regard to case.

    `Unauthenticated` says which part of the signature is missing or cannot be read.
    """
    given = {name: headers.get(name) or "" for name in ("Signature-Input", "Signature", AUDIENCE, "Content-Digest")}
    if any(len(value) > _LONGEST_HEADER for value in given.values()):
        raise Unauthenticated(say("The signature of the request is too long."))
    if not given["Signature-Input"] or not given["Signature"]:
        raise Unauthenticated(say("Requests between stores are signed (RFC 9421); this one is not."))
    found, raw = _INPUT.fullmatch(given["Signature-Input"]), _SIGNATURE.fullmatch(given["Signature"])
    if found is None or raw is None:
        raise Unauthenticated(say("The signature of the request cannot be read."))
    covered = [name.strip('"') for name in found["covered"].split(" ")]
    wanted = {*_COVERED, "content-digest"} if has_body else set(_COVERED)
    missing = sorted(wanted - set(covered))
    if missing or len(set(covered)) != len(covered) or not set(covered) <= {*_COVERED, "content-digest"}:
        raise Unauthenticated(
            say("The signature must cover {wanted}, and nothing twice.", wanted=", ".join(sorted(wanted)))
        )
    body = ""
    if "content-digest" in covered:
        digest = _DIGEST.fullmatch(given["Content-Digest"])
        if digest is None:
            raise Unauthenticated(say("The request needs a Content-Digest with sha-256 (RFC 9530)."))
        body = _decoded(digest[1]).hex()
    lower = {name.lower(): value for name, value in given.items()}
    return Claim(
        key_id=found["keyid"],
        nonce=found["nonce"],
        created=int(found["created"]),
        audience=given[AUDIENCE],
        body_sha256=body,
        _base=_base(covered, found[1], method, target, lower),
        _signature=_decoded(raw[1]),
    )


def sign_answer(
    key: ec.EllipticCurvePrivateKey, status: int, path: str, answer: Mapping[str, str], request: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers that sign an answer; `answer` and `request` are the headers of both as they are sent."""
    parameters, base = _answer_base(status, path, answer, request)
    return {
        "Signature-Input": f"{_ANSWER_LABEL}={parameters}",
        "Signature": f"{_ANSWER_LABEL}=:{_signed(key, base)}:",
    }


def answers(key: dsse.PublicKey, status: int, path: str, answer: Mapping[str, str], request: Mapping[str, str]) -> bool:
    """Return whether these headers are the answer of the holder of `key` to that request; the body is not looked at."""
    parameters, base = _answer_base(status, path, answer, request)
    raw = _ANSWER_SIGNATURE.fullmatch(answer.get("Signature") or "")
    if raw is None or answer.get("Signature-Input") != f"{_ANSWER_LABEL}={parameters}":
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and _fits(key, base64.b64decode(raw[1]), base)


def digest_of(body: bytes) -> str:
    """Return the Content-Digest of a body (RFC 9530)."""
    return content_digest(hashlib.sha256(body).digest())


def content_digest(sha256: bytes) -> str:
    """Return the Content-Digest of a body whose SHA-256 is known."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def read_digest(header: str) -> bytes | None:
    """Return the SHA-256 of a Content-Digest; None when it is in another form."""
    found = _DIGEST.fullmatch(header)
    return _decoded(found[1]) if found else None


def _answer_base(status: int, path: str, answer: Mapping[str, str], request: Mapping[str, str]) -> tuple[str, bytes]:
    """Return what an answer has to cover, as signature parameters, and its signature base (RFC 9421, 2.4 and 2.5)."""
    lines = [('"@status"', str(status))]
    lines += [(f'"{name}"', answer[name].strip()) for name in _OF_ANSWER if answer.get(name)]
    lines += [(f'"{name}";req', request[name].strip()) for name in _OF_REQUEST if request.get(name)]
    if request.get("content-digest"):
        lines.append(('"@path";req', path))
    # No date and no key id: the nonce in the signature of the request is what makes it fresh, the partner is known.
    parameters = f'({" ".join(name for name, _ in lines)});tag="{_ANSWER_TAG}"'
    text = "\n".join([*(f"{name}: {value}" for name, value in lines), f'"@signature-params": {parameters}'])
    return parameters, text.encode("utf-8", "replace")


def _signed(key: ec.EllipticCurvePrivateKey, base: bytes) -> str:
    # RFC 9421, 3.3.4: r and s as 32 bytes each, not DER.
    r, s = decode_dss_signature(key.sign(base, ec.ECDSA(hashes.SHA256())))
    return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()


def _fits(key: ec.EllipticCurvePublicKey, signature: bytes, base: bytes) -> bool:
    half = len(signature) // 2
    numbers = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    try:
        key.verify(encode_dss_signature(*numbers), base, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _base(covered: list[str], parameters: str, method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return the signature base, RFC 9421, 2.5."""
    path, _, query = target.partition("?")
    # RFC 9421, 2.2.7: the query has its question mark, also when there is none.
    derived = {"@method": method.upper(), "@path": path or "/", "@query": f"?{query}"}
    lines = [f'"{name}": {derived[name] if name in derived else headers[name].strip()}' for name in covered]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("utf-8", "replace")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unauthenticated(say("The signature of the request is not base64.")) from None
