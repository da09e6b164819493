"""The signed list of recalled packages: how it is written, read and followed. Centre, edge and partners read this page.

The list is JSON in a DSSE envelope. A reader holds the one it took last and takes another only when that is newer and
loses nothing: an entry goes only by a lift that the same signature covers. What the list says stays in force after
`expires`; that only tells that a newer one should have come. Django-free.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from core import dsse
from core.errors import Conflict, Invalid, TooLarge
from core.words import say

#: The payload type of the envelope, and the format that it holds.
PAYLOAD_TYPE = "application/vnd.breakwater.recalls.v1+json"
FORMAT = 1
#: What a recall asks of whoever runs the package.
STOP, WARN = "stop", "warn"
ACTIONS = (STOP, WARN)
SEVERITIES = ("critical", "high", "medium", "low")
#: A list that unpacks to more is not read.
LONGEST = 3 << 20
_MOST_ENTRIES = 20_000
_MOST_KEYS = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One package that is recalled: which, why, how bad, and what is to be done about it."""

    id: str
    sha256: str
    #: The release of this store that is meant; empty: every package with these bytes, whoever has it.
    package: str = ""
    #: The package's chart, by which an agent knows an application that was deployed without naming its package.
    chart: str = ""
    app: str = ""
    name: str = ""
    provider: str = ""
    version: str = ""
    reason: str = ""
    severity: str = "high"
    advice: str = ""
    action: str = STOP
    recalled: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What the entry is known by: its recall and its package."""
        return self.id, self.sha256, self.package


@dataclass(frozen=True, slots=True)
class Lift:
    """An entry that holds no more, and why."""

    id: str
    sha256: str
    package: str = ""
    reason: str = ""
    lifted: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """The entry that it ends."""
        return self.id, self.sha256, self.package


@dataclass(frozen=True, slots=True)
class RecallList:
    """A whole list. `keys` are the public keys (PEM) that will sign the lists after this one."""

    store: str
    serial: int
    issued: str
    expires: str
    entries: tuple[Entry, ...] = ()
    lifted: tuple[Lift, ...] = ()
    keys: tuple[str, ...] = field(default=(), repr=False)

    def payload(self) -> bytes:
        """Return the bytes that are signed."""
        said = {"format": FORMAT, **asdict(self)}
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def stale(self, now: datetime) -> bool:
        """Return whether a newer list should have come by now."""
        try:
            return datetime.fromisoformat(self.expires) < now
        except ValueError:
            return True


def sign(wanted: RecallList, *keys: dsse.PrivateKey) -> dict[str, Any]:
    """Return the envelope, signed by each key."""
    return dsse.sign(PAYLOAD_TYPE, wanted.payload(), *keys)


def open_list(envelope: Mapping[str, Any], keys: Iterable[dsse.PublicKey]) -> RecallList:
    """Return the list in an envelope that one of `keys` has signed; `Invalid` says what is wrong with it."""
    payload, _ = dsse.verify(envelope, PAYLOAD_TYPE, keys)
    return parse(payload)


def parse(payload: bytes) -> RecallList:
    """Read a list whose signature was verified; `Invalid` when it is none, or of a format that we do not know."""
    try:
        said = json.loads(payload)
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise Invalid(say("The recall list is of a format that is not known here; a newer version reads it"))
        entries = tuple(_entry(each) for each in _bounded(said["entries"]))
        lifted = tuple(_lift(each) for each in _bounded(said["lifted"]))
        keys = said["keys"]
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
            raise Invalid(say("The recall list names its keys wrongly"))
        serial = said["serial"]
        if not isinstance(serial, int) or isinstance(serial, bool) or not 0 < serial < 1 << 53:
            raise Invalid(say("The recall list has no serial"))
        return RecallList(
            store=str(said["store"])[:64],
            serial=serial,
            issued=str(said["issued"])[:40],
            expires=str(said["expires"])[:40],
            entries=entries,
            lifted=lifted,
            keys=tuple(str(each)[:2000] for each in keys),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise Invalid(say("The envelope holds no recall list")) from problem


def insist_on_newer(held: RecallList | None, offered: RecallList) -> None:
    """Pass when `offered` may take the place of `held`; `Conflict` says why not.

    It must have a higher serial, and account for every entry and every lift that we hold; the very same list is fine.
    """
    if held is None:
        return
    if offered.serial < held.serial:
        raise Conflict(
            say(
                "The recall list {offered_serial} is older than {held_serial}, which is held here",
                offered_serial=offered.serial,
                held_serial=held.serial,
            ),
            reason="older",
            held=held.serial,
        )
    if offered.serial == held.serial and offered.payload() != held.payload():
        raise Conflict(
            say("There are two recall lists of the serial {serial}", serial=held.serial), reason="two-of-one"
        )
    ended = {each.key for each in offered.lifted}
    present = {each.key for each in offered.entries}
    lost = [each for each in held.entries if each.key not in present and each.key not in ended]
    forgotten = [each for each in held.lifted if each.key not in ended]
    if lost or forgotten:
        raise Conflict(
            say(
                "The recall list {serial} has lost {lost_count} entries without lifting them",
                serial=offered.serial,
                lost_count=len(lost) + len(forgotten),
            ),
            reason="shrunk",
        )


def match(entries: Iterable[Entry], *, package: str, sha256: str, chart: str) -> Entry | None:
    """Return the entry about a package, the one that stops before one that warns; None when it is not recalled.

    Where the package's id and digest are not known (`""`), its chart must do.
    """

    def about(entry: Entry) -> bool:
        if not sha256:
            return bool(chart) and entry.chart == chart
        return entry.sha256 == sha256 and entry.package in ("", package)

    found = [each for each in entries if about(each)]
    return min(found, key=lambda each: (each.action != STOP, SEVERITIES.index(each.severity)), default=None)


def pack(envelope: Mapping[str, Any]) -> str:
    """Return the envelope as text that is as short as can be, to travel to a node."""
    return base64.b64encode(zlib.compress(json.dumps(envelope, separators=(",", ":")).encode(), 9)).decode()


def unpack(text: object) -> dict[str, Any]:
    """Return the envelope that `pack` packed; `Invalid` for anything else, `TooLarge` for a bomb."""
    if not isinstance(text, str):
        raise Invalid(say("The recall list is missing"))
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(base64.b64decode(text, validate=True), 2 * LONGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise TooLarge(say("The recall list is too large"))
        envelope = json.loads(raw)
    except (zlib.error, binascii.Error, ValueError, RecursionError) as problem:
        raise Invalid(say("The recall list cannot be unpacked")) from problem
    if not isinstance(envelope, dict):
        raise Invalid(say("The recall list is no envelope"))
    return envelope


def _bounded(rows: Any) -> list[Any]:
    if not isinstance(rows, list) or len(rows) > _MOST_ENTRIES:
        raise Invalid(say("The recall list has no usable entries"))
    return rows


def _entry(raw: Any) -> Entry:
    entry = Entry(**{name: str(raw[name])[:1000] for name in Entry.__dataclass_fields__ if name in raw})
    if not _DIGEST.fullmatch(entry.sha256) or entry.action not in ACTIONS or entry.severity not in SEVERITIES:
        raise Invalid(say("An entry of the recall list cannot be understood"))
    return entry


def _lift(raw: Any) -> Lift:
    lift = Lift(**{name: str(raw[name])[:1000] for name in Lift.__dataclass_fields__ if name in raw})
    if not _DIGEST.fullmatch(lift.sha256):
        raise Invalid(say("A lift of the recall list cannot be understood"))
    return lift
