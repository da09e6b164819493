"""Who this store is to others, and who they say they are: documents that are signed by the key they speak of."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appstore.federation import reaching, wire
from appstore.federation.models_peers import Rotation
from appstore.keys import services as keys
from appstore.keys.models import SigningKey
from core import dsse
from core.accounts import services as accounts
from core.accounts.access import Actor
from core.errors import Invalid, Rejected
from core.words import say

KIND: Final = "urn:breakwater:federation:identity:1"
PAYLOAD: Final = "application/vnd.breakwater.identity+json"
ROTATION: Final = "application/vnd.breakwater.rotation+json"
VERSIONS: Final = ("1",)
#: What a store says that it can beside the first release; others pass over what they do not know.
SIGNED_ANSWERS: Final = "signed-answers"
CAPABILITIES: Final = (SIGNED_ANSWERS,)
#: Bytes of an identity document, with its envelope.
LONGEST: Final = 32 * 1024
LONGEST_NAME: Final = 120
_INVITATION: Final = "bwp1_"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a store says of itself. That it holds the key is proven; name and address are its own words."""

    store_id: str
    name: str
    url: str
    public_pem: str
    signs_answers: bool = True


def store_id() -> str:
    """Return the id of this store: the SHA-256 of its public key."""
    return keys.current(keys.STORE).pk


def ours() -> Identity:
    """Return what we say of ourselves."""
    key = keys.current(keys.STORE)
    return Identity(key.pk, settings.STORE_NAME[:LONGEST_NAME], settings.PUBLIC_URL, key.public_pem)


def envelope() -> dict[str, Any]:
    """Return our public identity document, signed by the key that it names."""
    mine = ours()
    said = {
        "type": KIND,
        "id": mine.store_id,
        "name": mine.name,
        "url": mine.url,
        "publicKey": mine.public_pem,
        "versions": list(VERSIONS),
        "capabilities": list(CAPABILITIES),
    }
    return dsse.sign(PAYLOAD, _packed(said), keys.signer(keys.STORE))


def read(document: Any) -> Identity:
    """Read the identity document of a store; `Invalid` unless it is signed by the very key that it names."""
    said = _opened_unverified(document, PAYLOAD)
    pem = said.get("publicKey")
    if not isinstance(pem, str) or len(pem) > 2000:
        raise Invalid(say("The identity document has no public key."))
    key = dsse.load_public(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid(say("Keys of stores are ECDSA P-256."))
    dsse.verify(document, PAYLOAD, [key])
    name, url, versions = said.get("name"), said.get("url"), said.get("versions")
    if said.get("type") != KIND or said.get("id") != dsse.key_id(key):
        raise Invalid(say("The identity document does not name the key that signed it."))
    if not isinstance(versions, list) or not set(map(str, versions[:20])) & set(VERSIONS):
        raise Invalid(
            say("That store speaks no version of the protocol that we know ({versions}).", versions=", ".join(VERSIONS))
        )
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(say("The identity document has no usable name."))
    if not isinstance(url, str):
        raise Invalid(say("The identity document has no address."))
    able = said.get("capabilities", [])
    signs = isinstance(able, list) and SIGNED_ANSWERS in able[:50]
    return Identity(dsse.key_id(key), name.strip(), origin(url), _written(key), signs)


def origin(url: str) -> str:
    """Return the address of a store in its one form; `Invalid` with a path, since requests are signed with theirs."""
    if reaching.split_url(url).path.strip("/"):
        raise Invalid(say("A partner store stands at the root of its address; leave the path away."), field="url")
    return reaching.normal_url(url)


def fetch(url: str, *, transport: httpx.BaseTransport | None = None) -> Identity:
    """Ask the store at `url` who it is.

    `Invalid` when we may not go there, `Rejected` when the answer is no identity of a store at that address.
    """
    url = origin(url)
    with wire.plain("That store", url, transport=transport) as client:
        answer = client.get(f"{wire.ROOT}/identity", most=LONGEST, seconds=15.0)
    try:
        found = read(answer.json())
    except Invalid as problem:
        raise Rejected(say("At {url} no partner store answers. {detail}", url=url, detail=problem.detail)) from problem
    if found.url != url:
        raise Rejected(
            say("The store at {url} says that its address is {found_url}; use that one.", url=url, found_url=found.url)
        )
    return found


def fingerprint(key_id: str) -> str:
    """Write the id of a store for people: sixteen groups of four."""
    return " ".join(key_id[at : at + 4] for at in range(0, len(key_id), 4))


def same_fingerprint(typed: str, key_id: str) -> bool:
    """Return whether somebody typed the whole fingerprint; blanks, colons, hyphens and case do not matter."""
    return "".join(each for each in typed.lower() if each not in " \t\r\n:-") == key_id


def invitation() -> str:
    """Return one line that another administrator can paste: where we are and what our fingerprint is."""
    mine = ours()
    packed = _packed({"url": mine.url, "id": mine.store_id})
    return _INVITATION + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_invitation(text: str) -> tuple[str, str]:
    """Return the address and the id of an invitation; the id is empty when a mere address was typed."""
    text = text.strip()
    if not text.startswith(_INVITATION):
        return origin(text), ""
    try:
        if len(text) > 2000:
            raise ValueError
        body = text.removeprefix(_INVITATION)
        said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        url, key_id = said["url"], said["id"]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise Invalid(say("That invitation is damaged; have it sent again."), field="url") from None
    if not isinstance(url, str) or not isinstance(key_id, str) or len(key_id) != 64:
        raise Invalid(say("That invitation is damaged; have it sent again."), field="url")
    return origin(url), key_id


@transaction.atomic
def rotate(*, actor: Actor) -> Rotation:
    """Change the key of this store; the old one signs a statement that the new one is ours, which partners are sent."""
    actor.require("federation.manage", accounts.operator())
    old = keys.current(keys.STORE)
    signer = keys.private(old)
    new = keys.rotate(keys.STORE, actor=actor)
    said = {"from": old.pk, "to": new.pk, "publicKey": new.public_pem, "at": timezone.now().isoformat()}
    # By both: the old key vouches for the new one, and the new one is ours to take.
    envelope = dsse.sign(ROTATION, _packed(said), signer, keys.private(new))
    return Rotation.objects.create(old_id=old.pk, new_id=new.pk, envelope=envelope)


def read_rotation(document: Any, old: dsse.PublicKey, *, sender: str = "") -> tuple[str, str]:
    """Return id and public key of the successor that the old key vouches for; `Invalid` without its signature.

    The holder of the new key must agree, or a store could take the key of another one for its own: by a signature of
    that key, too, or, as in older releases, by sending the statement (`sender` is the key that signed the request).
    """
    said = _opened_unverified(document, ROTATION)
    dsse.verify(document, ROTATION, [old])
    pem = said.get("publicKey")
    if not isinstance(pem, str) or len(pem) > 2000:
        raise Invalid(say("The statement has no public key."))
    key = dsse.load_public(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid(say("Keys of stores are ECDSA P-256."))
    if said.get("from") != dsse.key_id(old) or said.get("to") != dsse.key_id(key) or said["from"] == said["to"]:
        raise Invalid(say("The statement speaks of other keys than it holds."))
    if sender != dsse.key_id(key):
        dsse.verify(document, ROTATION, [key])
    return dsse.key_id(key), _written(key)


def predecessor(document: Any) -> str:
    """Return which key a rotation statement is about, before anything is verified."""
    return str(_opened_unverified(document, ROTATION).get("from", ""))[:64]


def successor(document: Any) -> str:
    """Return the new key (PEM) that a rotation statement names, before anything is verified."""
    return str(_opened_unverified(document, ROTATION).get("publicKey", ""))[:2000]


def is_ours(key_id: str) -> bool:
    """Return whether this was or is a key of this very store."""
    return SigningKey.objects.filter(purpose=keys.STORE, pk=key_id).exists()


def _opened_unverified(document: Any, kind: str) -> dict[str, Any]:
    """Return the payload of an envelope, to find the key by which it is then verified."""
    try:
        if not isinstance(document, Mapping) or document["payloadType"] != kind or len(document["payload"]) > LONGEST:
            raise ValueError
        said = json.loads(base64.b64decode(document["payload"], validate=True))
    except (KeyError, ValueError, TypeError, binascii.Error, RecursionError):
        raise Invalid(say("That is no signed document of a store.")) from None
    if not isinstance(said, dict):
        raise Invalid(say("That is no signed document of a store."))
    return said


def _written(key: ec.EllipticCurvePublicKey) -> str:
    """Return a key as PEM in our own writing: around it a stranger may have written anything."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, kind).decode()


def _packed(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
