"""Who a store says it is, and what of that is proven."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from appstore.federation import identity
from appstore.keys import services as keys
from core import dsse
from core.errors import BreakwaterError, Invalid, Rejected, TimedOut
from tests.appstore.federation.conftest import Store, answer_with

pytestmark = pytest.mark.django_db


def test_our_identity_is_public_and_proves_our_key(client: Any, settings: Any) -> None:
    settings.STORE_NAME = "Quay"
    answer = client.get("/api/v1/federation/identity")
    assert answer.status_code == 200
    found = identity.read(answer.json())
    assert (found.store_id, found.name, found.url) == (keys.current("store").pk, "Quay", settings.PUBLIC_URL)


def test_the_public_document_holds_nothing_private(client: Any) -> None:
    assert "PRIVATE" not in client.get("/api/v1/federation/identity").content.decode()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": "0" * 64}, "does not name the key"),
        ({"type": "other"}, "does not name the key"),
        ({"versions": ["9"]}, "no version"),
        ({"versions": None}, "no version"),
        ({"name": ""}, "name"),
        ({"name": "a\x1b[0m"}, "name"),
        ({"name": "x" * 200}, "name"),
        ({"url": "javascript:alert(1)"}, "address"),
        ({"url": "http://x/path"}, "root"),
        ({"url": 7}, "address"),
        ({"publicKey": "none"}, "public key"),
        ({"publicKey": None}, "public key"),
    ],
)
def test_an_identity_that_is_not_whole_is_refused(harbour: Store, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        identity.read(harbour.identity(**changed))


def test_an_identity_signed_by_another_key_is_refused(harbour: Store, mallory: Store) -> None:
    forged = harbour.identity()
    forged["signatures"] = mallory.identity()["signatures"]
    with pytest.raises(Invalid):
        identity.read(forged)


def test_a_key_of_another_kind_is_no_store(harbour: Store) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    said = {"type": identity.KIND, "id": dsse.key_id(key.public_key()), "publicKey": pem.decode()}
    with pytest.raises(Invalid, match="P-256"):
        identity.read(dsse.sign(identity.PAYLOAD, json.dumps(said).encode(), key))


_MEMBERS = st.sampled_from(["payload", "payloadType", "signatures", "other"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_MEMBERS, inner),
    max_leaves=6,
)


@given(_JSON)
@pytest.mark.long
def test_garbage_is_no_identity(value: Any) -> None:
    with pytest.raises(Invalid):
        identity.read(value)


def test_fingerprints_are_written_in_groups_and_compared_as_typed(harbour: Store) -> None:
    shown = identity.fingerprint(harbour.id)
    assert len(shown.split()) == 16
    assert identity.same_fingerprint(shown.upper().replace(" ", ":"), harbour.id)
    assert not identity.same_fingerprint(shown[:-5], harbour.id)
    assert not identity.same_fingerprint("", harbour.id)


def test_an_invitation_brings_the_address_and_the_fingerprint(settings: Any) -> None:
    assert identity.read_invitation(identity.invitation()) == (settings.PUBLIC_URL, identity.store_id())
    assert identity.read_invitation("https://Store.example/") == ("https://store.example", "")


@pytest.mark.parametrize("text", ["bwp1_", "bwp1_xxxx", "bwp1_e30", "bwp1_" + "A" * 5000, "bwp1_WzFd"])
def test_a_damaged_invitation_is_said_to_be_damaged(text: str) -> None:
    with pytest.raises(Invalid, match="damaged"):
        identity.read_invitation(text)


def test_a_store_is_asked_who_it_is(harbour: Store, serve: Any) -> None:
    harbour.open(serve)
    assert identity.fetch(harbour.url + "/").store_id == harbour.id


def test_a_huge_identity_document_is_cut_off(serve: Any) -> None:
    url = serve(answer_with(200, b" " * (identity.LONGEST + 1)))
    with pytest.raises(Rejected, match="more than"):
        identity.fetch(url)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>hello</html>"), (200, b"{}"), (200, b"[" * 30_000), (404, b""), (302, b""), (500, b"oops")],
)
def test_what_answers_something_else_is_no_store(serve: Any, status: int, body: bytes) -> None:
    url = serve(answer_with(status, body, Location="http://169.254.169.254/latest"))
    with pytest.raises(BreakwaterError):
        identity.fetch(url)


def test_a_store_that_names_another_address_is_refused(harbour: Store, serve: Any) -> None:
    harbour.open(serve)
    real, harbour.url = harbour.url, "https://elsewhere.example"
    with pytest.raises(Rejected, match=r"elsewhere\.example"):
        identity.fetch(real)


def test_a_store_that_says_nothing_is_given_up(serve: Any, settings: Any, monkeypatch: Any) -> None:
    import threading

    from appstore.federation import reaching, wire

    done = threading.Event()
    url = serve(lambda request: done.wait(10) and None)
    silent = wire.PlainClient(name="Silent", url=url, audience="", guard=reaching.Guard(grace=0.2))
    with silent as client, pytest.raises(TimedOut):
        client.get("/api/v1/federation/identity")
    done.set()


def test_a_new_key_of_ours_is_vouched_for_by_the_old_one(organisation: Any, actor: Any) -> None:
    old = keys.current("store")
    rotation = identity.rotate(actor=actor)
    new = keys.current("store")
    assert identity.read_rotation(rotation.envelope, dsse.load_public(old.public_pem)) == (new.pk, new.public_pem)


def test_a_key_is_vouched_for_by_nobody_else(organisation: Any, actor: Any) -> None:
    rotation = identity.rotate(actor=actor)
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Invalid):
        identity.read_rotation(rotation.envelope, stranger)
