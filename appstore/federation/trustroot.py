"""The Update Framework for feeds: how the metadata of a store are signed, and how a partner's are followed. No network.

Roles have keys of their own. The root is signed by a threshold of keys, which may lie offline; a new root is signed by the
old one's keys and by its own. Below the targets role each audience (a group of partners with equal terms) has a delegated
role for its own folder. A partner pins the first root when it meets us; from then on it needs nobody's word but the chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api import exceptions as tuf
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from appstore.federation.feed import Refused, parsed
from core.errors import Conflict, Invalid
from core.words import say

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
ROLES: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
#: For how long the metadata of a role are good. The timestamp bounds how long somebody in between may hide news.
LIFETIMES: Final = {
    ROOT: timedelta(days=365),
    TARGETS: timedelta(days=90),
    SNAPSHOT: timedelta(days=7),
    TIMESTAMP: timedelta(hours=24),
}
#: Bytes that are taken of the metadata of each role before anything says how long they should be.
LONGEST: Final = {ROOT: 64 << 10, TIMESTAMP: 4 << 10, SNAPSHOT: 256 << 10, TARGETS: 512 << 10}
#: New roots that are followed in one sync.
MOST_ROOTS: Final = 32
_COMPACT = JSONSerializer(compact=True)


def role_of(audience: str) -> str:
    """Return the name of the delegated role of an audience."""
    return f"audience-{audience}"


# How we sign ----------------------------------------------------------------------------------------------------------


def public_of(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> SSlibKey:
    """Return the public key as TUF writes it."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return SSlibKey.from_crypto(public)


def _signer(key: ec.EllipticCurvePrivateKey) -> CryptoSigner:
    return CryptoSigner(key, public_of(key))


def make_root(keys: Mapping[str, Sequence[SSlibKey]], *, version: int, threshold: int, now: datetime) -> Metadata[Root]:
    """Return an unsigned root that gives each role its keys; `threshold` is how many root keys must sign."""
    if not 1 <= threshold <= len(keys[ROOT]):
        raise Invalid(
            say(
                "A threshold of {threshold} does not fit {keys_count} root keys",
                threshold=threshold,
                keys_count=len(keys[ROOT]),
            ),
            field="threshold",
        )
    root = Root(version=version, expires=_until(ROOT, now), consistent_snapshot=True)
    for role in ROLES:
        for key in keys[role]:
            root.add_key(key, role)
    root.roles[ROOT].threshold = threshold
    return Metadata(root)


def add_signature(metadata: Metadata[Any], key: ec.EllipticCurvePrivateKey) -> None:
    """Sign beside the signatures that are there."""
    with _translated("The metadata cannot be signed"):
        metadata.sign(_signer(key), append=True)


def read_root(data: bytes) -> Metadata[Root]:
    """Read a root of our own, signed or not yet."""
    with _translated("That is no root"):
        found = cast(Metadata[Root], Metadata.from_bytes(data))
    if not isinstance(found.signed, Root):
        raise Invalid(say("That is no root"))
    return found


def check_successor(old: bytes, new: bytes) -> None:
    """`Conflict` unless `new` is the next root, signed by enough keys of the old and of itself."""
    before, after = read_root(old), read_root(new)
    if after.signed.version != before.signed.version + 1:
        raise Conflict(
            say(
                "The next root has version {version}, not {signed_version}",
                version=before.signed.version + 1,
                signed_version=after.signed.version,
            )
        )
    for judge, whose in ((before, "the present root"), (after, "the new root itself")):
        result = judge.signed.get_verification_result(ROOT, after.signed_bytes, after.signatures)
        if not result.verified:
            raise Conflict(
                say(
                    "It is not signed by enough keys of {whose}: {signed_count} of {threshold}",
                    whose=whose,
                    signed_count=len(result.signed),
                    threshold=result.threshold,
                )
            )


def make_targets(
    audiences: Mapping[str, SSlibKey], *, version: int, now: datetime, key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return the signed top of the targets: nothing of its own, and one delegation for each audience."""
    roles = {
        role_of(name): DelegatedRole(role_of(name), [public.keyid], 1, True, paths=[f"{name}/*"])
        for name, public in sorted(audiences.items())
    }
    delegations = Delegations({public.keyid: public for public in audiences.values()}, roles)
    return _signed(Targets(version, None, _until(TARGETS, now), {}, delegations if roles else None), key)


def make_audience(
    files: Mapping[str, tuple[int, str]], *, version: int, now: datetime, key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return the signed targets of one audience: length and SHA-256 by path."""
    targets = {path: TargetFile(size, {"sha256": sha256}, path) for path, (size, sha256) in files.items()}
    return _signed(Targets(version, None, _until(TARGETS, now), targets), key)


def make_snapshot(
    contents: Mapping[str, tuple[int, bytes]], *, version: int, now: datetime, key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Return the signed list of versions, lengths and digests of all targets metadata: (version, bytes) by role."""
    meta = {
        f"{role}.json": MetaFile.from_data(number, data, ["sha256"])
        for role, (number, data) in sorted(contents.items())
    }
    return _signed(Snapshot(version, None, _until(SNAPSHOT, now), meta), key)


def make_timestamp(
    snapshot: tuple[int, bytes],
    *,
    version: int,
    now: datetime,
    key: ec.EllipticCurvePrivateKey,
    lifetime: timedelta | None = None,
) -> bytes:
    """Return the signed timestamp that names the present snapshot: (version, bytes)."""
    expires = _whole(now + lifetime) if lifetime else _until(TIMESTAMP, now)
    return _signed(Timestamp(version, None, expires, MetaFile.from_data(*snapshot, ["sha256"])), key)


def _signed(signed: Any, key: ec.EllipticCurvePrivateKey) -> bytes:
    metadata = Metadata(signed)
    metadata.sign(_signer(key))
    return metadata.to_bytes(_COMPACT)


def as_bytes(metadata: Metadata[Any]) -> bytes:
    """Return the metadata as they travel."""
    return metadata.to_bytes(_COMPACT)


def _until(role: str, now: datetime) -> datetime:
    return _whole(now + LIFETIMES[role])


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


# How we follow --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Held:
    """The metadata of a partner that we trust, as they were signed; all texts, so that they can be stored."""

    root: str = ""
    timestamp: str = ""
    snapshot: str = ""
    targets: str = ""
    audience: str = ""
    #: The name of the audience that we belong to, and the number of the ticket that said so.
    name: str = ""
    ticket: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Held:
        """Read what was stored."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Trusted:
    """The metadata of a partner on their way to be trusted: `update_*` in the order root, timestamp, snapshot, targets.

    `held` is what was trusted before, which is how a step back is noticed. Every `update_*` raises `Refused`, whose
    `reason` is `rollback`, `expired` (somebody may be holding news back), `mixed` (parts of different states), `signature`
    or `garbage`. `now` is the moment against which expiry is judged.
    """

    def __init__(self, held: Held, now: datetime) -> None:
        self.held = Held(**held.as_dict())
        with _translated("The root that was pinned cannot be read"):
            self._set = TrustedMetadataSet(held.root.encode(), EnvelopeType.METADATA)
        self._set.reference_time = now
        self._before = held

    @property
    def root_version(self) -> int:
        """The version of the root that we trust now."""
        return int(self._set.root.version)

    def update_root(self, data: bytes) -> None:
        """Take the next root."""
        with _translated("The new root"):
            parsed(data)
            self._set.update_root(data)
        self.held.root = data.decode()

    def still_good(self) -> None:
        """`Refused` when something that we hold has expired: nothing new is no news, but not for ever.

        To be asked instead of `update_snapshot`, when no other snapshot was named.
        """
        with _translated("The root that we hold"):
            if self._set.root.is_expired(self._set.reference_time):
                raise tuf.ExpiredMetadataError("the root has expired")
        self._recall_timestamp()
        held = self.held
        if not (held.timestamp and held.snapshot and held.targets and held.audience):
            raise Refused(say("The partner says that nothing is new, but we never had anything"), reason="mixed")
        with _translated("The timestamp that we hold"):
            self._set._check_final_timestamp()
        self.update_snapshot(held.snapshot.encode())
        self.update_targets(held.targets.encode())
        self.update_audience(held.name, held.audience.encode())

    def update_timestamp(self, data: bytes) -> bool:
        """Take a timestamp; returns whether it names another snapshot than before."""
        self._recall_timestamp()
        before = self._set.timestamp.snapshot_meta.version if TIMESTAMP in self._set else 0
        with _translated("The timestamp"):
            parsed(data)
            try:
                self._set.update_timestamp(data)
            except tuf.EqualVersionNumberError:
                # The same version may only be the same statement: keep ours, and see that it is still good.
                self._set._check_final_timestamp()
            else:
                self.held.timestamp = data.decode()
        return bool(self._set.timestamp.snapshot_meta.version != before or not self.held.snapshot)

    def expected_snapshot(self) -> tuple[int, int]:
        """Return version and length of the snapshot that the timestamp names."""
        meta = self._set.timestamp.snapshot_meta
        return meta.version, min(meta.length or LONGEST[SNAPSHOT], LONGEST[SNAPSHOT])

    def update_snapshot(self, data: bytes) -> None:
        """Take the snapshot that the timestamp names."""
        if self._before.snapshot:
            with _ignored():
                self._set.update_snapshot(self._before.snapshot.encode(), trusted=True)
        with _translated("The snapshot"):
            self._set.timestamp.snapshot_meta.verify_length_and_hashes(data)
            parsed(data)
            self._set.update_snapshot(data)
        self.held.snapshot = data.decode()

    def expected_targets(self, role: str) -> tuple[int, int]:
        """Return version and length of the targets metadata of `role`; `Refused` when the snapshot knows none."""
        meta = self._set.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise Refused(
                say("The snapshot of the partner does not know what is offered to us"), reason="mixed", role=role
            )
        return meta.version, min(meta.length or LONGEST[TARGETS], LONGEST[TARGETS])

    def update_targets(self, data: bytes) -> None:
        """Take the top of the targets."""
        with _translated("The targets"):
            parsed(data)
            self._set.update_targets(data)
        self.held.targets = data.decode()

    def update_audience(self, name: str, data: bytes) -> None:
        """Take the targets of our audience; the top must delegate its folder, and nothing else, to that role."""
        role = role_of(name)
        delegated = (self._set.targets.delegations.roles or {}) if self._set.targets.delegations else {}
        found = delegated.get(role)
        if found is None or found.paths != [f"{name}/*"]:
            raise Refused(say("The partner has not delegated what it offers to us"), reason="mixed", role=role)
        with _translated("The targets of our audience"):
            parsed(data)
            self._set.update_delegated_targets(data, role, TARGETS)
        self.held.audience, self.held.name = data.decode(), name

    def file(self, path: str) -> tuple[int, str]:
        """Return length and SHA-256 of a file of our audience; `Refused` when it is none."""
        targets = cast(Targets, self._set[role_of(self.held.name)]).targets
        known = targets.get(path)
        if known is None or not path.startswith(f"{self.held.name}/"):
            raise Refused(say("The partner signed no such file for us"), reason="mixed", path=path[:100])
        sha256 = known.hashes.get("sha256")
        if not isinstance(sha256, str):
            raise Refused(say("The partner signed a file without its SHA-256"), reason="mixed", path=path[:100])
        return known.length, sha256

    def _recall_timestamp(self) -> None:
        """Load the timestamp that we trusted before. Under a new root with other keys it no longer counts: that is how
        a stolen timestamp key that ran far ahead is got over (TUF 5.3.11)."""
        if self._before.timestamp and TIMESTAMP not in self._set:
            with _ignored():
                self._set.update_timestamp(self._before.timestamp.encode())
            if TIMESTAMP not in self._set:
                self.held.timestamp = self.held.snapshot = self.held.targets = self.held.audience = ""
                self._before = self.held


def pin(data: bytes) -> int:
    """Return the version of a root that stands on its own signatures; `Refused` otherwise."""
    with _translated("The root"):
        parsed(data)
        return int(TrustedMetadataSet(data, EnvelopeType.METADATA).root.version)


def version_of(data: str) -> int:
    """Return the version of metadata that we hold; 0 when there are none."""
    return int(parsed(data.encode())["signed"]["version"]) if data else 0


_REASONS: tuple[tuple[type[Exception], str, str], ...] = (
    (tuf.ExpiredMetadataError, "expired", "has expired: the partner is out of order, or somebody holds news back"),
    (tuf.BadVersionNumberError, "rollback", "is older than what we have seen, or of another version than was named"),
    (
        tuf.LengthOrHashMismatchError,
        "mixed",
        "is not the one that was named: parts of different states were put together",
    ),
    (tuf.UnsignedMetadataError, "signature", "is not signed by enough of the keys that may sign it"),
    (tuf.RepositoryError, "garbage", "is not what it should be"),
    (DeserializationError, "garbage", "cannot be read"),
    (SerializationError, "garbage", "cannot be read"),
    # What the library makes of members of a wrong type; the metadata come from outside.
    (ValueError, "garbage", "cannot be read"),
    (TypeError, "garbage", "cannot be read"),
    (KeyError, "garbage", "cannot be read"),
    (AttributeError, "garbage", "cannot be read"),
    (RecursionError, "garbage", "is nested too deeply"),
    (OverflowError, "garbage", "cannot be read"),
)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate what the library says about metadata into `Refused`."""
    try:
        yield
    except Refused:
        raise
    except tuple(kind for kind, _, _ in _REASONS) as problem:
        reason, words = next((reason, words) for kind, reason, words in _REASONS if isinstance(problem, kind))
        raise Refused(f"{what} {words}.", reason=reason, said=str(problem)[:300]) from None


@contextmanager
def _ignored() -> Iterator[None]:
    """Older metadata that we hold are only there to be compared with; expired ones are loaded all the same."""
    with suppress(tuf.RepositoryError, DeserializationError):
        yield
