"""The signed list of the certificates that a lab has taken back: how it is written, read and followed.

JSON in a DSSE envelope, signed by every key that the lab ever signed certificates with, as far as they are kept. A
reader holds the list it took last and takes another only when that is newer and has lost nothing: a revocation is
for ever. What a list says stays in force after `expires`; that only tells that a newer one should have come. Needs
neither database nor network, so it works anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from appstore.certification.certificates import Verified, moment
from core import dsse
from core.errors import Conflict, Invalid
from core.words import say

#: The payload type of the envelope, and the format that it holds.
PAYLOAD_TYPE: Final = "application/vnd.breakwater.revocations.v1+json"
FORMAT: Final = 1
#: A list of more bytes, or more revocations, is not made.
LONGEST: Final = 3 << 20
_MOST_ENTRIES: Final = 10_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate that counts no more: which, about which package, since when and why."""

    certificate: str
    #: SHA-256 of its payload, by which it is known.
    digest: str
    #: The key that signed it: only a list that this key has signed, too, can take it back.
    lab_key: str
    sha256: str
    revoked: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A whole list of one lab."""

    lab: str
    serial: int
    issued: str
    expires: str
    entries: tuple[Entry, ...] = ()

    def payload(self) -> bytes:
        """Return the bytes that are signed."""
        said = {"format": FORMAT, **asdict(self)}
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def stale(self, now: datetime) -> bool:
        """Return whether a newer list should have come by now."""
        return _moment(self.expires) <= now


@dataclass(frozen=True, slots=True)
class Opened:
    """A list with the keys of labs, of those that were asked about, that have signed it."""

    list: RevocationList
    signers: frozenset[str]

    def entry_of(self, digest: str, lab_key: str) -> Entry | None:
        """Return what is said of the certificate with that digest; nothing counts that its own key has not signed."""
        if lab_key not in self.signers:
            return None
        return next((each for each in self.list.entries if (each.digest, each.lab_key) == (digest, lab_key)), None)


def sign(wanted: RevocationList, *keys: dsse.PrivateKey) -> dict[str, Any]:
    """Return the envelope, signed by each key."""
    return dsse.sign(PAYLOAD_TYPE, wanted.payload(), *keys)


def open_list(envelope: Mapping[str, Any], keys: Iterable[dsse.PublicKey]) -> Opened:
    """Return the list in an envelope that at least one of `keys` has signed; `Invalid` says what is wrong with it."""
    payload, signers, problem = b"", set(), Invalid(say("There is no key to verify the list of revocations with"))
    for key in keys:
        try:
            payload, signer = dsse.verify(envelope, PAYLOAD_TYPE, [key])
            signers.add(signer)
        except Invalid as refused:
            problem = refused
    if not signers:
        raise problem
    return Opened(parse(payload), frozenset(signers))


def parse(payload: bytes) -> RevocationList:
    """Read a list whose signature was verified; `Invalid` when it is none, or of a format that is not known here."""
    try:
        said = json.loads(payload)
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise Invalid(
                say("The list of revocations is of a format that is not known here; a newer version reads it")
            )
        rows, serial = said["entries"], said["serial"]
        if not isinstance(rows, list) or len(rows) > _MOST_ENTRIES:
            raise Invalid(say("The list of revocations has no usable entries"))
        if not isinstance(serial, int) or isinstance(serial, bool) or not 0 < serial < 1 << 53:
            raise Invalid(say("The list of revocations has no serial"))
        for name in ("issued", "expires"):
            _moment(said[name])
        return RevocationList(
            lab=str(said["lab"])[:200],
            serial=serial,
            issued=said["issued"],
            expires=said["expires"],
            entries=tuple(_entry(each) for each in rows),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise Invalid(say("The envelope holds no list of revocations")) from problem


def insist_on_newer(held: RevocationList | None, offered: RevocationList) -> None:
    """Pass when `offered` may take the place of `held`; `Conflict` says why not. The very same list is fine."""
    if held is None:
        return
    if offered.serial < held.serial:
        raise Conflict(
            say(
                "The list of revocations {offered_serial} is older than {held_serial}, which is held here",
                offered_serial=offered.serial,
                held_serial=held.serial,
            ),
            reason="older",
            held=held.serial,
        )
    if offered.serial == held.serial and offered.payload() != held.payload():
        raise Conflict(
            say("There are two lists of revocations of the serial {serial}", serial=held.serial), reason="two-of-one"
        )
    lost = {(each.digest, each.lab_key) for each in held.entries} - {
        (each.digest, each.lab_key) for each in offered.entries
    }
    if lost:
        raise Conflict(
            say(
                "The list of revocations {offered_serial} has lost {lost_count} of what {held_serial} took back",
                offered_serial=offered.serial,
                lost_count=len(lost),
                held_serial=held.serial,
            ),
            reason="shrunk",
        )


def newest(lists: Iterable[Opened]) -> Opened:
    """Return the newest of several lists of one lab, given in any order; `Conflict` when they contradict each other."""
    ordered = sorted(lists, key=lambda each: each.list.serial)
    for older, newer in pairwise(ordered):
        insist_on_newer(older.list, newer.list)
    return ordered[-1]


def check(certificate: Verified, opened: Opened) -> None:
    """Pass unless the list takes back a certificate that holds otherwise; `Invalid` says since when and why.

    Also when the list is of another lab: then it says nothing, and whoever asked for it must not take that for a pass.
    """
    if certificate.lab_key not in opened.signers:
        raise Invalid(
            say(
                "The list of revocations is not signed with the key of the certificate ({lab_key}), "
                "so it says nothing about it",
                lab_key=certificate.lab_key,
            )
        )
    entry = opened.entry_of(certificate.digest, certificate.lab_key)
    if entry is not None:
        raise Invalid(
            say(
                "The certificate was revoked on {revoked}: {reason}",
                revoked=moment(_moment(entry.revoked)),
                reason=entry.reason,
            )
        )


def _entry(raw: Any) -> Entry:
    entry = Entry(**{name: str(raw[name])[:600] for name in Entry.__dataclass_fields__ if name in raw})
    _moment(entry.revoked)
    if not all(_DIGEST.fullmatch(each) for each in (entry.digest, entry.lab_key, entry.sha256)):
        raise ValueError("no SHA-256")
    return entry


def _moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at.astimezone(UTC)
