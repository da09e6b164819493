"""One walk through a partner's feed: what is asked, in which order, and what must hold. Writes nothing.

From the timestamp to the snapshot, to what is offered to us, to the entry, and by diffs or the full index to the releases. An
idle partner costs one conditional request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from appstore.federation import feed, trustroot
from appstore.federation.feed import Patch, Refused, Release
from appstore.federation.transfer import Link, small
from appstore.federation.trustroot import Held, Trusted
from core import dsse
from core.errors import Invalid, Missing
from core.words import say

TICKET: Final = "application/vnd.breakwater.feed-ticket+json"
_TICKET_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Party:
    """Who we are and whom we follow: ids of both stores, and the partner's key as both administrators confirmed it."""

    us: str
    them: str
    key: dsse.PublicKey


@dataclass(slots=True)
class News:
    """What a walk brought. With `full` it is a whole listing, else `patches` lead from our serial to `serial`, in order."""

    held: Held
    serial: int
    etag: str
    full: dict[str, Release] | None = None
    patches: list[Patch] = field(default_factory=list)
    #: The serial from which the patches lead.
    base: int = 0

    @property
    def empty(self) -> bool:
        """Whether no release is new or other than before."""
        return self.full is None and not self.patches


def walk(link: Link, party: Party, held: Held, *, serial: int, etag: str, now: datetime) -> News:
    """Return what is new at the partner since `serial`; see `News`.

    `Refused` names the rule that the partner broke; then nothing of what it said counts.
    """
    ticket: Ticket | None = None
    held = Held(**held.as_dict())
    if not held.root:
        ticket = ask_ticket(link, party)
        held.root = _first_root(link, ticket)
    trusted = Trusted(held, now)
    stamp = small(
        link, "tuf/timestamp.json", trustroot.LONGEST[trustroot.TIMESTAMP], etag=etag if held.timestamp else ""
    )
    if not stamp.fresh:
        trusted.still_good()
        return News(held, serial, etag, base=serial)
    _follow_roots(link, trusted)
    changed = trusted.update_timestamp(stamp.body)
    if not changed and held.audience and trusted.held.audience:
        trusted.still_good()
        return News(trusted.held, serial, stamp.etag, base=serial)
    ticket = ticket or ask_ticket(link, party)
    if ticket.number < held.ticket or (ticket.number == held.ticket and held.name not in ("", ticket.audience)):
        raise Refused(say("The partner shows an older ticket than we have seen"), reason="rollback")
    # Under a new root whose keys take nothing over we know of no serial any more, and take the full index.
    base = serial if held.name == ticket.audience and trusted.held.audience else 0
    _follow_metadata(link, trusted, ticket.audience)
    trusted.held.ticket = ticket.number
    entry = _entry(link, trusted, now)
    news = News(trusted.held, entry.serial, stamp.etag, base=base)
    if base and entry.serial < base:
        raise Refused(
            say("The partner is back at serial {serial}; we have seen {base}", serial=entry.serial, base=base),
            reason="rollback",
        )
    if entry.serial == base:
        return news
    steps = feed.chain(entry, base) if base else None
    if steps is None:
        news.full = feed.read_index(_target(link, trusted, entry.full.path), entry.serial)
    else:
        # The entry is signed and names each diff by its digest: naming them twice would double what a sync costs.
        news.patches = [feed.read_diff(_exactly(link, step.file), step.to) for _, step in steps]
    return news


def _follow_roots(link: Link, trusted: Trusted) -> None:
    for _ in range(trustroot.MOST_ROOTS):
        try:
            answer = small(link, f"tuf/{trusted.root_version + 1}.root.json", trustroot.LONGEST[trustroot.ROOT])
        except Missing:
            return
        trusted.update_root(answer.body)
    raise Refused(
        say("The partner has more than {most_roots} new roots", most_roots=trustroot.MOST_ROOTS), reason="endless"
    )


def _follow_metadata(link: Link, trusted: Trusted, audience: str) -> None:
    version, length = trusted.expected_snapshot()
    trusted.update_snapshot(small(link, f"tuf/{version}.snapshot.json", length).body)
    trusted.update_targets(_metadata(link, trusted, trustroot.TARGETS, trusted.held.targets))
    role = trustroot.role_of(audience)
    present = trusted.held.audience if trusted.held.name == audience else ""
    trusted.update_audience(audience, _metadata(link, trusted, role, present))


def _metadata(link: Link, trusted: Trusted, role: str, present: str) -> bytes:
    """Return the metadata of a role: what we hold when it is the version that is named, else as the partner sends it."""
    version, length = trusted.expected_targets(role)
    if present and trustroot.version_of(present) == version:
        return present.encode()
    return feed.unpack(small(link, f"tuf/{version}.{role}.json.gz", length + 1024).body, length)


def _entry(link: Link, trusted: Trusted, now: datetime) -> feed.Entry:
    name = trusted.held.name
    entry = feed.Entry.of(_target(link, trusted, f"{name}/entry.json.gz", feed.ENTRY_BYTES))
    if entry.audience != name:
        raise Refused(say("The entry of the feed is for somebody else"), reason="mixed")
    if datetime.fromisoformat(entry.expires) < now:
        raise Refused(say("The entry of the feed has expired"), reason="expired")
    if trusted.file(entry.full.path) != (entry.full.size, entry.full.sha256):
        raise Refused(say("The entry of the feed names another index than was signed"), reason="mixed")
    if not all(step.file.path.startswith(f"{name}/") for step in entry.diffs.values()):
        raise Refused(say("The entry of the feed names files of somebody else"), reason="mixed")
    return entry


def _target(link: Link, trusted: Trusted, path: str, most: int = feed.PACKED_BYTES) -> bytes:
    """Return a file of our audience exactly as it was signed."""
    length, sha256 = trusted.file(path)
    if length > most:
        raise Refused(say("A file of the feed has more than {most} bytes", most=most), reason="too-large", path=path)
    return _exactly(link, feed.File(path, sha256, length))


def _exactly(link: Link, file: feed.File) -> bytes:
    folder, _, name = file.path.rpartition("/")
    data = small(link, f"targets/{folder}/{file.sha256}.{name}", file.size).body
    if len(data) != file.size or feed.digest(data) != file.sha256:
        raise Refused(say("A file of the feed is not the one that was signed"), reason="mixed", path=file.path)
    return data


# The ticket -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a partner says to us alone: in which audience we are, and which root is its present one."""

    audience: str
    number: int
    root_version: int
    root_sha256: str


def ask_ticket(link: Link, party: Party) -> Ticket:
    """Ask for our ticket; `Refused` unless the partner's store signed it, for us."""
    return read_ticket(small(link, "feed", _TICKET_BYTES).body, party)


def read_ticket(data: bytes, party: Party) -> Ticket:
    """Verify a ticket: signed by the key that both administrators confirmed, and made for this store."""
    try:
        payload, _ = dsse.verify(feed.parsed(data), TICKET, [party.key])
        said: Any = json.loads(payload)
    except Invalid as problem:
        raise Refused(say("The ticket of the partner: {detail}", detail=problem.detail), reason="signature") from None
    except (ValueError, RecursionError):
        raise Refused(say("The ticket of the partner cannot be read"), reason="garbage") from None
    if not isinstance(said, dict) or said.get("format") != "breakwater-ticket/1":
        raise Refused(say("The ticket of the partner is of a kind that we do not know"), reason="unknown-format")
    if said.get("store") != party.them or said.get("for") != party.us:
        raise Refused(say("The ticket is of another store or for another store"), reason="mixed")
    root = said.get("root")
    numbers = (said.get("number"), root.get("version") if isinstance(root, dict) else None)
    if not isinstance(root, dict) or not all(type(n) is int and 0 < n <= feed.LARGEST_SERIAL for n in numbers):
        raise Refused(say("The ticket of the partner is not what it may be"), reason="wrong-value")
    audience, sha256 = said.get("audience"), root.get("sha256")
    if not _hex(audience, 32) or not _hex(sha256, 64):
        raise Refused(say("The ticket of the partner is not what it may be"), reason="wrong-value")
    return Ticket(str(audience), said["number"], root["version"], str(sha256))


def _hex(value: Any, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and all(c in "0123456789abcdef" for c in value)


def _first_root(link: Link, ticket: Ticket) -> str:
    """Fetch and pin the root that the ticket names by its digest."""
    data = small(link, f"tuf/{ticket.root_version}.root.json", trustroot.LONGEST[trustroot.ROOT]).body
    if feed.digest(data) != ticket.root_sha256:
        raise Refused(say("The root is not the one that the partner's ticket names"), reason="mixed")
    if trustroot.pin(data) != ticket.root_version:
        raise Refused(say("The root is of another version than the partner's ticket says"), reason="mixed")
    return data.decode()
