"""Our own root of trust: the first one, the next one, and the keys of the roles below it.

The root key lies in the vault until the operator makes a root whose keys lie elsewhere (`manage.py feed_root`): then this
store alone can make no further root, and whoever steals its database cannot either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction
from django.utils import timezone
from securesystemslib.signer import SSlibKey

from appstore.federation import trustroot
from appstore.federation.models_feed import FeedRoot
from appstore.keys import services as keys
from appstore.keys.models import SigningKey
from core import dsse
from core.accounts.access import SYSTEM, Actor
from core.audit import services as audit
from core.errors import Conflict, Invalid
from core.words import say

#: The purpose of the key of each role; `offers` signs what audiences are told.
PURPOSES: Final = {
    trustroot.ROOT: "tuf-root",
    trustroot.TARGETS: "tuf-targets",
    trustroot.SNAPSHOT: "tuf-snapshot",
    trustroot.TIMESTAMP: "tuf-timestamp",
}
OFFERS: Final = "tuf-offers"


def present() -> FeedRoot:
    """Return the present root; the first one is made when it is first needed."""
    found = FeedRoot.objects.order_by("-version").first()
    return found or _first()


@transaction.atomic
def _first() -> FeedRoot:
    metadata = trustroot.make_root(_role_keys(), version=1, threshold=1, now=timezone.now())
    trustroot.add_signature(metadata, keys.signer(PURPOSES[trustroot.ROOT]))
    content = trustroot.as_bytes(metadata).decode()
    return FeedRoot.objects.get_or_create(version=1, defaults={"content": content})[0]


def _role_keys() -> dict[str, list[SSlibKey]]:
    return {role: [_public(keys.current(purpose).public_pem)] for role, purpose in PURPOSES.items()}


def _public(pem: str) -> SSlibKey:
    key = dsse.load_public(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid(say("Keys of roots are ECDSA P-256"), field="key")
    return trustroot.public_of(key)


def signing_key(role: str) -> ec.EllipticCurvePrivateKey:
    """Return the key of ours with which partners expect `role` to be signed, by the present root.

    That may be a retired one, until a root that names the new one is signed.
    """
    named = trustroot.read_root(present().content.encode()).signed.roles[role].keyids
    rows = SigningKey.objects.filter(purpose=PURPOSES[role]).order_by("-created_at")
    for row in rows:
        if _public(row.public_pem).keyid in named:
            return keys.private(row)
    raise Conflict(say("The present root names no key of ours for the role {role}.", role=role), role=role)


def prepare(
    *, root_keys: Sequence[str] = (), threshold: int = 1, actor: Actor = SYSTEM, now: datetime | None = None
) -> bytes:
    """Return the next root, signed with whatever key of ours counts, to be signed by others and then accepted.

    `root_keys` are public keys in PEM that replace the root keys; without any the present ones stay. The other roles get
    the present keys of this store, which is how a rotated key comes into force.
    """
    old = trustroot.read_root(present().content.encode())
    wanted = _role_keys()
    if root_keys:
        wanted[trustroot.ROOT] = [_public(pem) for pem in root_keys]
    else:
        role = old.signed.roles[trustroot.ROOT]
        wanted[trustroot.ROOT] = [old.signed.keys[keyid] for keyid in role.keyids]  # type: ignore[misc]
        threshold = role.threshold
    new = trustroot.make_root(wanted, version=old.signed.version + 1, threshold=threshold, now=now or timezone.now())
    counting = {*old.signed.roles[trustroot.ROOT].keyids, *new.signed.roles[trustroot.ROOT].keyids}
    for row in SigningKey.objects.filter(purpose=PURPOSES[trustroot.ROOT]):
        if _public(row.public_pem).keyid in counting:
            trustroot.add_signature(new, keys.private(row))
    return trustroot.as_bytes(new)


def signed(data: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the root with one more signature; needs no database, so it works on a machine without a network."""
    metadata = trustroot.read_root(data)
    trustroot.add_signature(metadata, key)
    return trustroot.as_bytes(metadata)


@transaction.atomic
def accept(data: bytes, *, actor: Actor) -> FeedRoot:
    """Make a prepared root the present one; `Conflict` unless enough keys of the old and of the new one signed it."""
    old = present()
    trustroot.check_successor(old.content.encode(), data)
    made = FeedRoot.objects.create(version=old.version + 1, content=data.decode())
    audit.record(actor, "feed.root", None, version=made.version)
    return made


def rotate(*, actor: Actor) -> FeedRoot:
    """Give every role a new key and make the next root, if our own root key suffices; else `Conflict`: see `prepare`."""
    with transaction.atomic():
        for purpose in (*(PURPOSES[role] for role in trustroot.ROLES if role != trustroot.ROOT), OFFERS):
            keys.rotate(purpose, actor=actor)
        return accept(prepare(actor=actor), actor=actor)
