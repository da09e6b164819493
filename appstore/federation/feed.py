"""The documents of a feed: entry, full index and diffs, as values, bytes, and back. Knows no database and no network.

An index maps the reference of each release to a flat document, so that two merge patches (RFC 7396) can be made one without
their base. What a partner wrote is checked here member by member: of unknown members nothing is kept, wrong ones refuse the
whole document.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from core.errors import Rejected
from core.words import say

FORMAT: Final = "breakwater-feed/1"
#: The largest serial: what every JSON reader keeps exactly.
LARGEST_SERIAL: Final = 2**53 - 1
#: A diff is kept from each of so many serials; who is further behind takes the full index.
WINDOW: Final = 64
MOST_RELEASES: Final = 200_000
#: Bytes that are taken of each kind of document, as it travels and unpacked.
ENTRY_BYTES: Final = 256 << 10
PACKED_BYTES: Final = 32 << 20
UNPACKED_BYTES: Final = 128 << 20
#: Values of a document: an empty object of two bytes takes 64 once it is read.
MOST_VALUES: Final = 10_000_000
#: More files than this are not fetched for one sync; the full index is one.
_LONGEST_CHAIN = 16
#: Below this many bytes nobody counts whether diffs or the full index are cheaper.
_SMALL = 32 << 10

Release = dict[str, Any]
Patch = dict[str, Release | None]

REF = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_SHA = re.compile(r"[0-9a-f]{64}\Z")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_PATH = re.compile(r"[0-9a-f]{32}/[a-z]+(?:-[0-9]{1,16}){0,2}\.json(?:\.gz)?\Z")
#: What a release may be, as a partner says. Everything but `published` and `deprecated` is not to be deployed anew.
STATES: Final = ("published", "deprecated", "yanked", "quarantined", "withdrawn", "recalled")
OFFERED: Final = ("published", "deprecated")


class Refused(Rejected):
    """What a partner sent breaks the rules; `reason` is a short name of the rule."""

    def __init__(self, detail: str, *, reason: str, **context: Any) -> None:
        super().__init__(detail, reason=reason, **context)

    @property
    def reason(self) -> str:
        """The short name of the rule that was broken."""
        return str(self.context["reason"])


_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _text(longest: int, *, empty: bool = True) -> Callable[[Any], bool]:
    """Text of people: no control, format or bidi character may hide in it."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, str)
            and len(value) <= longest
            and (empty or bool(value.strip()))
            # Printable text has none of them; only then it pays to look at each character.
            and (value.isprintable() or not any(unicodedata.category(c) in _HIDDEN for c in value))
        )

    return fits


def _one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in choices


def _like(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.match(value))


def _several(most: int, fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) <= most and all(fits(each) for each in value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST_SERIAL


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


#: Every member of a release: the rule for its value, and whether it must be there.
MEMBERS: Final[dict[str, tuple[Callable[[Any], bool], bool]]] = {
    "name": (_text(128, empty=False), True),
    "provider": (_text(128), True),
    "version": (_text(64, empty=False), True),
    "state": (_one_of(*STATES), True),
    "sha256": (_like(_SHA), True),
    "size": (_is_size, True),
    "published": (_is_time, True),
    #: The short name of the organisation that owns it there.
    "owner": (_like(_SLUG), True),
    "format": (_text(40), False),
    "description": (_text(2000), False),
    "category": (_text(80), False),
    "keywords": (_several(40, _text(60)), False),
    "architectures": (_several(16, _text(40)), False),
    "services": (_several(64, _text(80)), False),
    "licences": (_several(40, _text(120)), False),
    "certification": (_text(40), False),
    #: SHA-256 of each certificate (a DSSE envelope) that goes with it.
    "certificates": (_several(8, _like(_SHA)), False),
    "signature": (_one_of("unsigned", "unknown", "trusted", "broken"), False),
    #: Why it is no longer offered.
    "reason": (_text(500), False),
    #: The stores it came through, the first one first; empty when it is the partner's own.
    "via": (_several(16, _like(_SHA)), False),
}


def tidy(text: str, longest: int) -> str:
    """Return our own text as a feed may carry it: without hidden characters, in one line, cut to `longest`."""
    flat = "".join(" " if c in "\n\r\t" else c for c in unicodedata.normalize("NFC", text))
    kept = "".join(c for c in flat if unicodedata.category(c) not in _HIDDEN)
    return " ".join(kept.split())[:longest]


def checked_release(ref: str, said: Any) -> Release:
    """Return the known members of what a partner says of a release; `Refused` names the member that is wrong."""
    if not isinstance(said, dict):
        raise Refused(say("A release of the feed is no object"), reason="wrong-type", ref=str(ref)[:64])
    for name, (fits, needed) in MEMBERS.items():
        if name not in said:
            if needed:
                raise Refused(
                    say("A release of the feed has no {name}", name=name), reason="wrong-type", ref=ref, member=name
                )
        elif not fits(said[name]):
            text = say("The {name} of a release of the feed is not what it may be", name=name)
            raise Refused(text, reason="wrong-value", ref=ref, member=name)
    return {name: said[name] for name in MEMBERS if name in said}


def _checked_ref(ref: Any) -> str:
    if not isinstance(ref, str) or not REF.match(ref):
        raise Refused(say("The feed names a release in a way that is no reference"), reason="wrong-value", member="ref")
    return ref


# Merge patches -------------------------------------------------------------------------------------------------------


def difference(old: Mapping[str, Release], new: Mapping[str, Release]) -> Patch:
    """Return the merge patch that makes `new` of `old`: changed members only, None for what is gone."""
    found: Patch = dict.fromkeys(old.keys() - new.keys())
    for ref, release in new.items():
        before = old.get(ref)
        if before is None:
            found[ref] = dict(release)
        elif before != release:
            changed: Release = dict.fromkeys(before.keys() - release.keys())
            changed |= {name: value for name, value in release.items() if name not in before or before[name] != value}
            found[ref] = changed
    return found


def merge(release: Release | None, patch: Release | None) -> Release | None:
    """Return a release after a patch of its members; None when it is gone."""
    if patch is None:
        return None
    merged = dict(release or {})
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


def apply(releases: Mapping[str, Release], patch: Patch) -> dict[str, Release]:
    """Return the index after the patch."""
    result = dict(releases)
    for ref, change in patch.items():
        merged = merge(result.get(ref), change)
        if merged is None:
            result.pop(ref, None)
        else:
            result[ref] = merged
    return result


def compose(first: Patch, second: Patch) -> Patch:
    """Return the one patch that does what `first` and then `second` do, to any index."""
    result = dict(first)
    for ref, change in second.items():
        if change is None or ref not in first:
            result[ref] = change
            continue
        before = first[ref]
        # Gone and come back: nothing of what it was may shine through, so every other member is taken away by name.
        base: Release = dict.fromkeys(MEMBERS) if before is None else dict(before)
        result[ref] = base | change
    return result


# Which diffs there are ------------------------------------------------------------------------------------------------


def steps(serial: int, window: int = WINDOW) -> dict[int, int]:
    """Return for each serial of the window to which one its diff leads.

    From `a` it is `a + 2^k`, the largest step by which `a` is divisible that does not pass `serial`: so each build adds few
    files, and everybody arrives after at most `2 log2(window)` of them.
    """
    found: dict[int, int] = {}
    for start in range(max(1, serial - window), serial):
        step = 1
        while start % (step * 2) == 0 and start + step * 2 <= serial and step * 2 <= window:
            step *= 2
        found[start] = start + step
    return found


def extended(
    diffs: Mapping[tuple[int, int], Patch], serial: int, patch: Patch, window: int = WINDOW
) -> dict[Any, Patch]:
    """Return the diffs that end at `serial`, by (from, to), made of `patch` (from the serial before) and those there are.

    A step whose first half is missing is left out: who stands there takes the full index.
    """
    made: dict[tuple[int, int], Patch] = {(serial - 1, serial): patch}
    for start, end in sorted(steps(serial, window).items(), reverse=True):
        middle = (start + end) // 2
        if end == serial and end - start > 1 and (start, middle) in diffs and (middle, end) in made:
            made[start, end] = compose(diffs[start, middle], made[middle, end])
    return made


# The entry ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file of the feed: its path, and what its bytes must be."""

    path: str
    sha256: str
    size: int

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"path": self.path, "sha256": self.sha256, "size": self.size}

    @classmethod
    def of(cls, said: Any) -> File:
        """Read one; `Refused` when a member is not what it may be."""
        if not isinstance(said, dict):
            raise Refused(say("The entry of the feed names a file in no known way"), reason="wrong-type")
        path, sha256, size = said.get("path"), said.get("sha256"), said.get("size")
        right = isinstance(path, str) and _PATH.match(path) and isinstance(sha256, str) and _SHA.match(sha256)
        if not right or not _is_size(size) or size > PACKED_BYTES:  # type: ignore[operator]
            raise Refused(say("The entry of the feed names a file that it may not name"), reason="wrong-value")
        return cls(str(path), str(sha256), int(size))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Step:
    """A diff: the serial that it leads to, and its file."""

    to: int
    file: File


@dataclass(frozen=True, slots=True)
class Entry:
    """The door of a feed: where it stands, the full index, and the diffs by the serial from which they lead."""

    audience: str
    serial: int
    time: str
    expires: str
    full: File
    diffs: dict[int, Step] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """Return the entry as it travels: packed, and equal for equal entries."""
        diffs = {str(start): {"to": step.to, **step.file.as_dict()} for start, step in sorted(self.diffs.items())}
        return pack(
            {
                "format": FORMAT,
                "audience": self.audience,
                "serial": self.serial,
                "time": self.time,
                "expires": self.expires,
                "full": self.full.as_dict(),
                "diffs": diffs,
            }
        )

    @classmethod
    def of(cls, data: bytes) -> Entry:
        """Read an entry as it travels; `Refused` when it is none that we know."""
        said = document(unpack(data, ENTRY_BYTES))
        serial, audience = said.get("serial"), said.get("audience")
        diffs = said.get("diffs")
        if (
            not _is_size(serial)
            or not isinstance(audience, str)
            or not isinstance(diffs, dict)
            or len(diffs) > 4 * WINDOW
        ):
            raise Refused(say("The entry of the feed is not what it may be"), reason="wrong-value")
        if not _is_time(said.get("time")) or not _is_time(said.get("expires")):
            raise Refused(say("The entry of the feed tells no time"), reason="wrong-value", member="time")
        found: dict[int, Step] = {}
        for start, step in diffs.items():
            to = step.get("to") if isinstance(step, dict) else None
            if not start.isascii() or not start.isdigit() or len(start) > 16 or not _is_size(to):
                raise Refused(say("A diff of the feed leads nowhere"), reason="wrong-value", member="diffs")
            if not int(start) < to <= serial:  # type: ignore[operator]
                raise Refused(say("A diff of the feed leads beyond its serial"), reason="wrong-value", member="diffs")
            found[int(start)] = Step(to, File.of(step))  # type: ignore[arg-type]
        return cls(audience, serial, said["time"], said["expires"], File.of(said.get("full")), found)  # type: ignore[arg-type]


def chain(entry: Entry, held: int) -> list[tuple[int, Step]] | None:
    """Return the diffs that lead from serial `held` to the present one, or None when the full index is to be taken."""
    found: list[tuple[int, Step]] = []
    at, size = held, 0
    while at < entry.serial:
        step = entry.diffs.get(at)
        if step is None or len(found) == _LONGEST_CHAIN:
            return None
        found.append((at, step))
        at, size = step.to, size + step.file.size
    return None if size > max(entry.full.size, _SMALL) or at != entry.serial else found


# Bytes ----------------------------------------------------------------------------------------------------------------


def packed_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8 with sorted members: equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def index_bytes(serial: int, releases: Mapping[str, Release]) -> bytes:
    """Return a full index, packed."""
    return pack({"format": FORMAT, "serial": serial, "releases": releases})


def diff_bytes(serial: int, patch: Patch) -> bytes:
    """Return a diff, packed: a merge patch for the index that leads to `serial`."""
    return pack({"serial": serial, "releases": patch})


def pack(value: Any) -> bytes:
    """Return packed JSON; equal values are equal bytes."""
    return packed(packed_json(value))


def packed(data: bytes) -> bytes:
    """Return bytes packed by gzip, without a time: equal bytes stay equal."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def unpack(data: bytes, limit: int = UNPACKED_BYTES) -> bytes:
    """Return what was packed; `Refused` beyond `limit` bytes, for a second stream behind the first, and for garbage."""
    machine = zlib.decompressobj(31)
    try:
        result = machine.decompress(data, limit + 1)
    except zlib.error:
        raise Refused(say("A file of the feed is not packed as it should be"), reason="garbage") from None
    if len(result) > limit:
        raise Refused(
            say("A file of the feed unpacks to more than {limit} bytes", limit=limit), reason="too-large", limit=limit
        )
    if not machine.eof or machine.unused_data:
        raise Refused(say("A file of the feed ends too early or too late"), reason="garbage")
    return result


def document(data: bytes) -> dict[str, Any]:
    """Return a JSON object of the format that we know; `Refused` otherwise."""
    said = parsed(data)
    if said.get("format") != FORMAT:
        raise Refused(say("The partner speaks a format of feed that we do not know"), reason="unknown-format")
    return said


def parsed(data: bytes) -> dict[str, Any]:
    """Return a JSON object; `Refused` for anything else, however deep it is nested and however many values it holds."""
    if sum(data.count(sign) for sign in (b",", b"{", b"[")) > MOST_VALUES:  # those within texts count, too
        raise Refused(say("A file of the feed has more than {most} values", most=MOST_VALUES), reason="too-large")
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise Refused(say("What the partner sent is not the JSON that it should be"), reason="garbage") from None
    if not isinstance(said, dict):
        raise Refused(say("What the partner sent is no JSON object"), reason="wrong-type")
    return said


def read_index(data: bytes, serial: int) -> dict[str, Release]:
    """Return the releases of a packed full index of that serial, each checked."""
    said = document(unpack(data))
    return {_checked_ref(ref): checked_release(ref, release) for ref, release in _releases(said, serial).items()}


def read_diff(data: bytes, serial: int) -> Patch:
    """Return the patch of a packed diff that leads to `serial`. What it makes of a release is checked when it is applied."""
    patch: Patch = {}
    for ref, change in _releases(parsed(unpack(data)), serial).items():
        if change is not None and not isinstance(change, dict):
            raise Refused(say("A diff of the feed changes a release into no object"), reason="wrong-type")
        known = None if change is None else {name: value for name, value in change.items() if name in MEMBERS}
        patch[_checked_ref(ref)] = known
    return patch


def _releases(said: dict[str, Any], serial: int) -> dict[str, Any]:
    releases = said.get("releases")
    if said.get("serial") != serial or type(said.get("serial")) is not int:
        raise Refused(say("A file of the feed is of another serial than its entry says"), reason="mixed")
    if not isinstance(releases, dict):
        raise Refused(say("A file of the feed has no releases"), reason="wrong-type")
    if len(releases) > MOST_RELEASES:
        raise Refused(
            say("The feed has more than {most_releases} releases", most_releases=MOST_RELEASES), reason="too-large"
        )
    return releases


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def audience_id(effective: Mapping[str, Any]) -> str:
    """Return the name of the group of partners to whom exactly the same is offered."""
    return digest(packed_json(effective))[:32]
