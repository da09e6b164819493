"""DSSE envelopes (Dead Simple Signing Envelope, v1.0): signed statements that are verified offline.

The signature is over the pre-authentication encoding, so a payload is never taken for one of another type. Keys are
ECDSA P-256 (with SHA-256) or Ed25519; a key's id is the SHA-256 of its public key as SubjectPublicKeyInfo.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.errors import Invalid
from core.words import say

#: in-toto attestation framework v1: the payload type and the type of a statement.
IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
#: An envelope larger than this is not looked at.
LONGEST = 4 << 20
_MOST_SIGNATURES = 16
#: What a signature or the id of a key is written in.
_WRITTEN = re.compile(r"[A-Za-z0-9+/=]{1,200}")

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def key_id(key: PublicKey) -> str:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo, DER) in lower-case hex."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def load_public(pem: str | bytes) -> PublicKey:
    """Read a public key in PEM; `Invalid` unless it is ECDSA P-256 or Ed25519."""
    try:
        key = serialization.load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, TypeError) as problem:
        raise Invalid(say("That is no public key in PEM")) from problem
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise Invalid(say("Only keys of ECDSA P-256 and Ed25519 are taken"))


def sign_bytes(key: PrivateKey, data: bytes) -> bytes:
    """Return the signature of `data` (DER for ECDSA)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def fits(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Return whether `signature` is by that key over `data`."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def encoded(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding, DSSE v1 protocol: `DSSEv1 <length> <type> <length> <payload>`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *keys: PrivateKey) -> dict[str, Any]:
    """Return the envelope as JSON values, signed by each key."""
    data = encoded(payload_type, payload)
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id(key.public_key()), "sig": base64.b64encode(sign_bytes(key, data)).decode()} for key in keys
        ],
    }


def verify(envelope: Mapping[str, Any], payload_type: str, keys: Iterable[PublicKey]) -> tuple[bytes, str]:
    """Return the payload and the id of the key that signed it; the key is one of `keys`.

    `Invalid` says what is wrong: not an envelope, another type, signed by an unknown key, or changed.
    """
    if not isinstance(envelope, Mapping):
        raise Invalid(say("That is no DSSE envelope"))
    kind, encoded_payload, signatures = (envelope.get(name) for name in ("payloadType", "payload", "signatures"))
    if not isinstance(encoded_payload, str) or not isinstance(signatures, list) or len(encoded_payload) > LONGEST:
        raise Invalid(say("That is no DSSE envelope"))
    if kind != payload_type:
        raise Invalid(
            say("The envelope holds {kind}, not {payload_type}", kind=str(kind)[:80], payload_type=payload_type)
        )
    payload = _decoded(encoded_payload)
    known = {key_id(key): key for key in keys}
    data = encoded(payload_type, payload)
    tried = False
    for each in signatures[:_MOST_SIGNATURES]:
        if not isinstance(each, Mapping) or not isinstance(each.get("sig"), str):
            raise Invalid(say("A signature of the envelope cannot be read"))
        # The key id is a hint that nobody signed: without one every key is tried.
        named = each.get("keyid")
        if named is not None and not isinstance(named, str):
            raise Invalid(say("A signature of the envelope cannot be read"))
        chosen = {named: known[named]} if named in known else ({} if named else known)
        for name, key in chosen.items():
            tried = True
            if fits(key, _decoded(each["sig"]), data):
                return payload, name
    if tried:
        raise Invalid(say("The signature does not fit: the statement was changed, or signed with another key"))
    raise Invalid(say("The envelope is signed by a key that is not trusted here"))


def payload_of(envelope: Mapping[str, Any]) -> bytes:
    """Return the payload of an envelope that `verify` or `sign` gave; `Invalid` when it is none."""
    payload = envelope.get("payload")
    if not isinstance(payload, str) or len(payload) > LONGEST:
        raise Invalid(say("That is no DSSE envelope"))
    return _decoded(payload)


def bare(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return an envelope as it may be stored: payload and signatures, and nothing that was written beside them.

    Nobody signed the rest, and it may be what no database can hold. `Invalid` for what is no envelope.
    """
    kind, payload, signatures = (envelope.get(name) for name in ("payloadType", "payload", "signatures"))
    if not isinstance(kind, str) or not isinstance(payload, str) or not isinstance(signatures, list):
        raise Invalid(say("That is no DSSE envelope"))
    kept = [
        {
            name: value
            for name in ("keyid", "sig")
            if isinstance(value := each.get(name), str) and _WRITTEN.fullmatch(value)
        }
        for each in signatures[:_MOST_SIGNATURES]
        if isinstance(each, Mapping)
    ]
    return {"payloadType": kind, "payload": payload, "signatures": [each for each in kept if "sig" in each]}


def statement(
    subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any], *keys: PrivateKey
) -> dict[str, Any]:
    """Return a signed in-toto statement (v1) about `subjects`: name to SHA-256."""
    said = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    return sign(IN_TOTO, json.dumps(said, sort_keys=True, separators=(",", ":")).encode(), *keys)


def open_statement(
    envelope: Mapping[str, Any], predicate_type: str, keys: Iterable[PublicKey]
) -> tuple[dict[str, Any], str]:
    """Return a verified in-toto statement and the id of the key that signed it; `Invalid` as for `verify`."""
    payload, signer = verify(envelope, IN_TOTO, keys)
    try:
        said = json.loads(payload)
        subjects = {str(each["name"]): str(each["digest"]["sha256"]) for each in said["subject"]}
        kind, predicate = said["predicateType"], said["predicate"]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise Invalid(say("The envelope holds no in-toto statement")) from problem
    if said.get("_type") != STATEMENT or kind != predicate_type or not isinstance(predicate, dict) or not subjects:
        raise Invalid(say("The statement is not of the type {predicate_type}", predicate_type=predicate_type))
    return said, signer


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Invalid(say("The envelope is not base64")) from problem
