"""A whole partner store in memory, with keys of its own, that can be made to lie in any way; and ways to ask it."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone

from appstore.federation import feed, terms, trustroot, walk
from appstore.federation.models import Agreement, Peer
from appstore.keys import services as keys
from core import dsse

AUDIENCE = "a" * 32


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def release(name: str = "hello", **members: Any) -> feed.Release:
    """What a feed says of one release."""
    return {
        "name": name, "provider": "Acme", "version": "1.0", "state": "published", "owner": "acme",
        "sha256": hashlib.sha256(name.encode()).hexdigest(), "size": 1000, "published": "2026-01-02T03:04:05+00:00",
        "signature": "unsigned", **members,
    }  # fmt: skip


def ref(number: int = 1) -> str:
    return str(uuid.UUID(int=number))


class Forge:
    """A partner store: `say` changes what it offers, `files` is what it serves by path."""

    def __init__(self, us: str = "0" * 64, audience: str = AUDIENCE) -> None:
        self.store = new_key()
        self.keys = {role: new_key() for role in (*trustroot.ROLES, "offers")}
        self.us, self.audience = us, audience
        self.now = datetime.now(UTC)
        self.files: dict[str, bytes] = {}
        self.index: dict[str, feed.Release] = {}
        self.diffs: dict[tuple[int, int], feed.Patch] = {}
        self.serial = 0
        self.ticket_number = 1
        #: Whether the delegations are signed once only, as a real store does.
        self.steady, self.top = False, b""
        self.versions = dict.fromkeys((*trustroot.ROLES, "audience"), 0)
        self.roots: list[bytes] = []
        self.audiences: dict[str, tuple[int, bytes]] = {}
        self.new_root()

    @property
    def id(self) -> str:
        return dsse.key_id(self.store.public_key())

    @property
    def pem(self) -> str:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.store.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()

    def new_root(self, *, signers: tuple[Any, ...] = (), **changed: Any) -> bytes:
        """Make the next root, with the present keys (changed by role), signed by the old and the new root key."""
        old = self.keys[trustroot.ROOT]
        self.keys |= changed
        public = {role: [trustroot.public_of(self.keys[role])] for role in trustroot.ROLES}
        metadata = trustroot.make_root(public, version=len(self.roots) + 1, threshold=1, now=self.now)
        for key in signers or {id(k): k for k in (old, self.keys[trustroot.ROOT])}.values():
            trustroot.add_signature(metadata, key)
        data = trustroot.as_bytes(metadata)
        self.roots.append(data)
        self.files[f"tuf/{len(self.roots)}.root.json"] = data
        return data

    def ticket(self, **changed: Any) -> bytes:
        said = {
            "format": "breakwater-ticket/1", "store": self.id, "for": self.us, "audience": self.audience,
            "number": self.ticket_number,
            "root": {"version": len(self.roots), "sha256": feed.digest(self.roots[-1])}, **changed,
        }  # fmt: skip
        return feed.packed_json(dsse.sign(walk.TICKET, feed.packed_json(said), self.store))

    def say(self, changes: Mapping[str, feed.Release | None], **options: Any) -> Forge:
        """Offer the next serial: a release by its reference, None for one that goes."""
        after = {**self.index, **changes}
        self.offer({key: value for key, value in after.items() if value is not None}, **options)
        return self

    def offer(self, index: Mapping[str, feed.Release], *, patch: feed.Patch | None = None) -> None:
        patch = feed.difference(self.index, index) if patch is None else patch
        self.serial += 1
        if self.serial > 1:
            self.diffs |= feed.extended(self.diffs, self.serial, patch)
        self.index = dict(index)
        self.publish(feed.index_bytes(self.serial, self.index), {
            span: feed.diff_bytes(span[1], made) for span, made in self.diffs.items()
            if feed.steps(self.serial).get(span[0]) == span[1]
        })  # fmt: skip

    def publish(self, full: bytes, diffs: Mapping[tuple[int, int], bytes], entry: bytes | None = None) -> None:
        """Sign and serve these documents, whatever they are."""
        named = {f"index-{self.serial}.json.gz": full}
        named |= {f"diff-{a}-{b}.json.gz": data for (a, b), data in diffs.items()}
        files = {n: feed.File(f"{self.audience}/{n}", feed.digest(d), len(d)) for n, d in named.items()}
        steps = {a: feed.Step(b, files[f"diff-{a}-{b}.json.gz"]) for a, b in diffs}
        end = (self.now + timedelta(days=90)).isoformat()
        made = feed.Entry(
            self.audience, self.serial, self.now.isoformat(), end, files[f"index-{self.serial}.json.gz"], steps
        )
        named["entry.json.gz"] = made.as_bytes() if entry is None else entry
        self.targets = named
        for name, data in named.items():
            self.files[f"targets/{self.audience}/{feed.digest(data)}.{name}"] = data
        self.sign()

    def sign(self, *, now: datetime | None = None, lifetime: timedelta | None = None, only: str = "") -> None:
        """Sign everything anew, or only the timestamp."""
        now = now or self.now
        if not only:
            self._sign_targets(now)
        self.versions["timestamp"] += 1
        self.files["tuf/timestamp.json"] = trustroot.make_timestamp(
            (self.versions["snapshot"], self.files[f"tuf/{self.versions['snapshot']}.snapshot.json"]),
            version=self.versions["timestamp"], now=now, key=self.keys["timestamp"], lifetime=lifetime,
        )  # fmt: skip
        self.files["feed"] = self.ticket()

    def _sign_targets(self, now: datetime) -> None:
        # A store signs anew to which keys it delegates only when that changes.
        kept = self.steady and self.versions["targets"] > 0
        for role in ("audience", "snapshot") if kept else ("targets", "audience", "snapshot"):
            self.versions[role] += 1
        v, offers = self.versions, self.keys["offers"]
        if not kept:
            self.top = trustroot.make_targets(
                {self.audience: trustroot.public_of(offers)}, version=v["targets"], now=now, key=self.keys["targets"]
            )
        top = self.top
        # The entry names the diffs.
        listed = {f"{self.audience}/{n}": (len(d), feed.digest(d)) for n, d in self.targets.items() if "diff" not in n}
        audience = trustroot.make_audience(listed, version=v["audience"], now=now, key=offers)
        role = trustroot.role_of(self.audience)
        # A snapshot never loses a role.
        self.audiences[role] = (v["audience"], audience)
        snapshot = trustroot.make_snapshot(
            {"targets": (v["targets"], top), **self.audiences},
            version=v["snapshot"], now=now, key=self.keys["snapshot"],
        )  # fmt: skip
        self.files[f"tuf/{v['targets']}.targets.json.gz"] = feed.packed(top)
        self.files[f"tuf/{v['audience']}.{role}.json.gz"] = feed.packed(audience)
        self.files[f"tuf/{v['snapshot']}.snapshot.json"] = snapshot

    def party(self) -> walk.Party:
        return walk.Party(us=self.us, them=self.id, key=self.store.public_key())

    def peer(self, organisation: Any, url: str = "http://127.0.0.1:9", **offer: Any) -> Peer:
        """Make our row for this store, and an agreement by which it offers us what `offer` says."""
        now = timezone.now()
        peer = Peer.objects.create(
            organisation=organisation, store_id=self.id, public_pem=self.pem, name="Harbour", url=url, state="active",
            confirmed_at=now, they_confirmed_at=now,
        )  # fmt: skip
        self.us = keys.current(keys.STORE).pk
        if self.serial:
            self.files["feed"] = self.ticket()
        agree(peer, incoming=terms.Offer(**offer))
        return peer


def agree(peer: Peer, *, incoming: terms.Offer | None = None, out: terms.Offer | None = None) -> Agreement:
    """Put an agreement into force; its signatures are not looked at here."""
    us = keys.current(keys.STORE).pk
    version = peer.agreements.count() + 1
    peer.agreements.filter(state="accepted").update(state="superseded")
    said = terms.document(terms.Terms(version, us, peer.store_id, out, incoming, None))
    return Agreement.objects.create(
        peer=peer, version=version, state="accepted", proposed_by_us=True, terms=said, digest=terms.digest(said),
        our_signature={}, their_signature={},
    )  # fmt: skip


@dataclass
class Memory:
    """A link to files in memory; `asked` is every path, `cut` breaks an answer off after so many bytes."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        self.asked.append(path)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        data = self.files.get(path)
        if data is None:
            yield Said(404, {}, b"", self)
            return
        etag = path.removeprefix("blobs/") if path.startswith("blobs/") else hashlib.sha256(data).hexdigest()
        etag = f'"{etag}"'
        if given.get("if-none-match") == etag:
            yield Said(304, {"etag": etag}, b"", self)
            return
        start = re.fullmatch(r"bytes=(\d+)-", given.get("range", ""))
        if start:
            at = int(start[1])
            told = {"etag": etag, "content-range": f"bytes {at}-{len(data) - 1}/{len(data)}"}
            yield Said(206, told, data[at:], self)
            return
        yield Said(200, {"etag": etag}, data, self)


@dataclass
class Said:
    status: int
    headers: Mapping[str, str]
    body: bytes
    link: Any

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), 1 << 16):
            chunk = self.body[start : start + (1 << 16)]
            self.link.sent += len(chunk)
            yield chunk


@pytest.fixture
def forge() -> Forge:
    """A partner that offers one release."""
    return Forge().say({ref(1): release("one"), ref(2): release("two")})
