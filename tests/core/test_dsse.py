"""Envelopes: what is signed is verified, and nothing else is."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from core import dsse
from core.errors import Invalid

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ed25519.Ed25519PrivateKey.generate()
PREDICATE = "urn:example:v1"


def pem(key: Any) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_what_was_signed_is_verified(key: Any) -> None:
    envelope = json.loads(json.dumps(dsse.sign("text/plain", b"hello", key)))
    assert dsse.verify(envelope, "text/plain", [key.public_key()]) == (b"hello", dsse.key_id(key.public_key()))


def test_the_encoding_is_that_of_the_specification() -> None:
    # DSSE protocol, test vector.
    assert dsse.encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    envelope = dsse.sign("t", b"payload", KEY)
    raw = base64.b64decode(envelope["signatures"][0]["sig"])
    KEY.public_key().verify(raw, b"DSSEv1 1 t 7 payload", ec.ECDSA(hashes.SHA256()))


@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_byte_is_refused(payload: bytes, place: int, change: int) -> None:
    envelope = dsse.sign("t", payload + b"!", KEY)
    for member in ("payload", "sig"):
        changed = copy.deepcopy(envelope)
        where = changed if member == "payload" else changed["signatures"][0]
        raw = bytearray(base64.b64decode(where[member]))
        raw[place % len(raw)] ^= change
        where[member] = base64.b64encode(raw).decode()
        with pytest.raises(Invalid):
            dsse.verify(changed, "t", [KEY.public_key()])


def test_a_payload_is_not_taken_for_one_of_another_type() -> None:
    envelope = dsse.sign("t", b"x", KEY)
    with pytest.raises(Invalid, match="holds t, not u"):
        dsse.verify(envelope, "u", [KEY.public_key()])
    with pytest.raises(Invalid, match="does not fit"):
        dsse.verify({**envelope, "payloadType": "u"}, "u", [KEY.public_key()])


def test_a_key_that_is_not_trusted_is_named_as_the_reason() -> None:
    envelope = dsse.sign("t", b"x", OTHER)
    with pytest.raises(Invalid, match="not trusted here"):
        dsse.verify(envelope, "t", [KEY.public_key()])
    with pytest.raises(Invalid, match="not trusted here"):
        dsse.verify(envelope, "t", [])


def test_a_key_id_is_only_a_hint() -> None:
    envelope = dsse.sign("t", b"x", OTHER)
    envelope["signatures"][0]["keyid"] = dsse.key_id(KEY.public_key())
    with pytest.raises(Invalid, match="does not fit"):
        dsse.verify(envelope, "t", [KEY.public_key(), OTHER.public_key()])
    del envelope["signatures"][0]["keyid"]
    assert dsse.verify(envelope, "t", [KEY.public_key(), OTHER.public_key()])[1] == dsse.key_id(OTHER.public_key())


def test_one_good_signature_of_several_is_enough() -> None:
    envelope = dsse.sign("t", b"x", OTHER, KEY)
    assert dsse.verify(envelope, "t", [KEY.public_key()])[1] == dsse.key_id(KEY.public_key())


ENVELOPE = dsse.sign("t", b"x", KEY)


@pytest.mark.parametrize(
    "broken",
    [
        [],
        "text",
        None,
        {},
        {**ENVELOPE, "payload": 3},
        {**ENVELOPE, "payload": "%%%"},
        {**ENVELOPE, "payload": "ä"},
        {**ENVELOPE, "signatures": {}},
        {**ENVELOPE, "signatures": []},
        {**ENVELOPE, "signatures": ["x"]},
        {**ENVELOPE, "signatures": [{"sig": 3}]},
        {**ENVELOPE, "signatures": [{"keyid": ["list"], "sig": "eA=="}]},
        {**ENVELOPE, "signatures": [{"keyid": {}, "sig": "eA=="}]},
        {**ENVELOPE, "signatures": [{"sig": "eA=="}]},
        {**ENVELOPE, "signatures": [{"sig": ""}]},
        {**ENVELOPE, "payloadType": ["t"]},
        {**ENVELOPE, "payload": "A" * (dsse.LONGEST + 1)},
    ],
)
def test_what_is_no_envelope_is_refused_in_words(broken: Any) -> None:
    with pytest.raises(Invalid):
        dsse.verify(broken, "t", [KEY.public_key()])


def test_a_statement_comes_back_as_it_was_signed() -> None:
    envelope = dsse.statement({"a": "0" * 64}, PREDICATE, {"level": "basic"}, KEY)
    said, signer = dsse.open_statement(envelope, PREDICATE, [KEY.public_key()])
    assert said["predicate"] == {"level": "basic"}
    assert said["subject"] == [{"name": "a", "digest": {"sha256": "0" * 64}}]
    assert signer == dsse.key_id(KEY.public_key())
    with pytest.raises(Invalid, match="not of the type"):
        dsse.open_statement(envelope, "urn:other", [KEY.public_key()])


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"3", b'"x"', b"{}", b"[" * 100_000, b'{"subject": [{}]}', b'{"subject": [], "predicate": {}}'],
)
def test_a_signed_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    with pytest.raises(Invalid):
        dsse.open_statement(dsse.sign(dsse.IN_TOTO, payload, KEY), PREDICATE, [KEY.public_key()])


def test_only_two_kinds_of_keys_are_taken() -> None:
    for good in (KEY, OTHER):
        assert dsse.key_id(dsse.load_public(pem(good))) == dsse.key_id(good.public_key())
    for bad in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(Invalid, match="P-256"):
            dsse.load_public(pem(bad))
    with pytest.raises(Invalid, match="no public key"):
        dsse.load_public("-----BEGIN NONSENSE-----")
