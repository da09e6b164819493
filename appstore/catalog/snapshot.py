"""A copy of the small part of the index in this process: who may see a listing, its facets, and what it is sorted by.

Sets of listings are bits of one integer, so a facet value is counted by one AND and one population count: about half a
microsecond for 10,000 applications, whatever the query. The copy follows the index by its serial: one small query tells
whether it is fresh, and then only the listings that changed are read. About 100 bytes for each listing and 1.5 kB for
each facet value at 10,000 applications.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import compress, islice, repeat
from typing import Any
from uuid import UUID

from django.db import connection

from appstore.catalog import fulltext, listing, words
from appstore.catalog.models import FacetValue, Listing, Step, Word


@dataclass(frozen=True, slots=True)
class Row:
    """One listing as it is sorted."""

    listing_id: int
    app_id: int
    name: str
    published: float
    downloads: int
    rating: float


@dataclass(slots=True)
class Snapshot:
    """One state of the index. It is never changed: a later one is made from it."""

    serial: int = 0
    token: Any = None
    rows: list[Row] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)
    public: int = 0
    members: int = 0
    organisations: dict[UUID, int] = field(default_factory=dict)
    bits: dict[int, int] = field(default_factory=dict)
    values: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    by_facet: dict[str, list[int]] = field(default_factory=dict)
    ids: dict[tuple[str, str], int] = field(default_factory=dict)
    facets_of: list[tuple[int, ...]] = field(default_factory=list)
    orders: dict[str, list[int]] = field(default_factory=dict)
    #: What words matched in this state, so that ticking facets and turning pages ask the full text once.
    matches: dict[Any, list[tuple[float, int]]] = field(default_factory=dict)

    def visible(self, organisation_ids: Iterable[UUID]) -> int:
        """Return the listings for somebody who reads the packages of these organisations; each application once."""
        own = 0
        for pk in organisation_ids:
            own |= self.organisations.get(pk, 0)
        return (self.public & ~own) | (self.members & own)

    def bits_of(self, listing_ids: Iterable[int]) -> int:
        """Return these listings as bits."""
        room = len(self.rows)
        # A digit for each slot, and one for all that came later, read as one number. No step of it is written in Python,
        # because a tenth of a microsecond is paid ten thousand times here.
        digits = bytearray(b"0") * (room + 1)
        deque(map(digits.__setitem__, map(self.slots.get, listing_ids, repeat(room)), repeat(49)), maxlen=0)
        digits[room] = 48
        digits.reverse()
        return int(digits, 2)

    def picked(self, sort: str, bits: int, most: int) -> list[int]:
        """Return the first `most` slots that have a bit, in an order."""
        if not bits:
            return []
        flags = f"{bits:0{len(self.rows)}b}"[::-1].encode().translate(_FLAGS)
        order = self.order(sort)
        return list(islice(compress(order, map(flags.__getitem__, order)), most))

    def any_of(self, facet: str, values: Iterable[str]) -> int:
        """Return the listings that have one of the values."""
        found = 0
        for value in values:
            found |= self.bits.get(self.ids.get((facet, value), 0), 0)
        return found

    def order(self, sort: str) -> list[int]:
        """Return all slots in an order, made once: `newest`, `name`, `downloads`, `rating` or `liked`."""
        found = self.orders.get(sort)
        if found is None:
            rows, keys = self.rows, _KEYS[sort]
            found = self.orders[sort] = sorted(range(len(rows)), key=lambda slot: keys(rows[slot]))
        return found

    def matching(self, asked: tuple[str, ...], *, some: bool = False) -> list[tuple[float, int]]:
        """Return the listings that have these words, by what the match is worth, the best first; one query or none."""
        found = self.matches.get((asked, some))
        if found is None:
            parts = fulltext.backend().match(asked, self.bits_of, some=some)
            found = sorted(parts.items(), reverse=True)
            if len(self.matches) >= MATCHES_KEPT:
                self.matches.clear()
            self.matches[asked, some] = found
        return found


MATCHES_KEPT = 200
_FLAGS = bytes.maketrans(b"01", b"\x00\x01")
#: Ties are broken down to the id, so that pages neither repeat nor miss a row.
_KEYS: dict[str, Any] = {
    "newest": lambda row: (-row.published, row.listing_id),
    "name": lambda row: (row.name, -row.downloads, row.listing_id),
    "downloads": lambda row: (-row.downloads, -row.rating, row.name, row.listing_id),
    "rating": lambda row: (-row.rating, -row.downloads, row.name, row.listing_id),
    # What decides between equal matches: use by its order of magnitude, and rating.
    "liked": lambda row: (-0.12 * math.log10(1 + row.downloads) - 0.06 * row.rating, row.name, row.listing_id),
}


def confident(rating_sum: int, rating_count: int) -> float:
    """Return a rating to sort by: a few high ones count for less than many (a Bayesian mean with five ratings of 3)."""
    return (rating_sum + 15) / (rating_count + 5) if rating_count else 0.0


def current() -> Snapshot:
    """Return the index as it is now: one query when nothing has changed, else one more for what has."""
    global _latest
    mine = _latest
    steps = _steps("serial >= %s ORDER BY serial", mine.serial)
    if not steps and mine.serial:
        # What we saw was undone, or the database is an older one: begin again.
        steps = _steps("serial >= %s ORDER BY serial DESC LIMIT 1", 0)
    if not steps:
        return Snapshot()
    if steps[-1] == (mine.serial, mine.token):
        return mine
    known = steps[0] == (mine.serial, mine.token)
    with _lock:
        fresh = _after(mine if known else Snapshot(), *steps[-1])
        _latest = fresh
    return fresh


def forget() -> None:
    """Begin with an empty copy again, as a process does; for those who put another database in the place of this one."""
    global _latest, _vocabulary, _last_word, _words_token, _words_state
    with _lock:
        _latest, _vocabulary, _last_word = Snapshot(), words.Vocabulary(), 0
        _words_token, _words_state = None, (0, None)


def _steps(which: str, serial: int) -> list[tuple[int, Any]]:
    # By hand: every search asks this, and making the statement of a query set takes longer than the database does.
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT serial, token FROM {Step._meta.db_table} WHERE {which}", [serial])  # noqa: S608
        return cursor.fetchall()


def vocabulary(index: Snapshot) -> words.Vocabulary:
    """Return the words of the catalogue in this state of it; read once, then only what is new."""
    global _vocabulary, _last_word, _words_token, _words_state
    with _lock:
        if (index.serial, index.token) == _words_state:
            return _vocabulary
        # A database that was rolled back or restored has other words under the same ids.
        first = Step.objects.order_by("serial").values_list("token", flat=True).first()
        if first != _words_token:
            _vocabulary, _last_word, _words_token = words.Vocabulary(), 0, first
        fresh = list(Word.objects.filter(pk__gt=_last_word).order_by("pk").values_list("pk", "text", "count"))
        if fresh:
            _last_word = fresh[-1][0]
            _vocabulary.add((text, count) for _, text, count in fresh)
        _words_state = (index.serial, index.token)
        return _vocabulary


_lock = threading.Lock()
_latest = Snapshot()
_vocabulary = words.Vocabulary()
_last_word = 0
_words_token: UUID | None = None
_words_state: tuple[int, Any] = (0, None)


def _after(old: Snapshot, serial: int, token: Any) -> Snapshot:
    """Return the snapshot that follows from `old` by reading what was written since."""
    new = replace(
        old, serial=serial, token=token, rows=list(old.rows), slots=dict(old.slots), bits=dict(old.bits), orders={},
        organisations=dict(old.organisations), facets_of=list(old.facets_of), matches={},
    )  # fmt: skip
    changed = Listing.objects.filter(serial__gt=old.serial) if old.serial else Listing.objects.all()
    columns = (
        "pk", "app_id", "for_public", "for_members", "facets", "app__organisation_id", "app__name",
        "release__published_at", "app__downloads", "app__deployments", "app__rating_sum", "app__rating_count",
    )  # fmt: skip
    touched: list[int] = []
    public, members = [], []
    organisations: dict[UUID, list[int]] = defaultdict(list)
    gone: dict[int, list[int]] = defaultdict(list)
    come: dict[int, list[int]] = defaultdict(list)
    for (
        pk,
        app,
        is_public,
        is_members,
        facets,
        owner,
        name,
        at,
        downloads,
        deployed,
        total,
        count,
    ) in changed.values_list(*columns).iterator(chunk_size=5000):
        slot = new.slots.get(pk)
        if slot is None:
            slot = new.slots[pk] = len(new.rows)
            new.rows.append(Row(pk, app, "", 0.0, 0, 0.0))
            new.facets_of.append(())
        touched.append(slot)
        for value in new.facets_of[slot]:
            gone[value].append(slot)
        listed = is_public or is_members
        new.facets_of[slot] = tuple(facets) if listed else ()
        for value in new.facets_of[slot]:
            come[value].append(slot)
        if is_public:
            public.append(slot)
        if is_members:
            members.append(slot)
        if owner:
            organisations[owner].append(slot)
        moment = at.timestamp() if at else 0.0
        new.rows[slot] = Row(pk, app, words.folded(name), moment, downloads + deployed, confident(total, count))
    room = len(new.rows)
    stale = ~_bits(touched, room)
    new.public = (old.public & stale) | _bits(public, room)
    new.members = (old.members & stale) | _bits(members, room)
    for owner, slots in organisations.items():
        new.organisations[owner] = new.organisations.get(owner, 0) | _bits(slots, room)
    for value in gone.keys() | come.keys():
        new.bits[value] = (new.bits.get(value, 0) & ~_bits(gone[value], room)) | _bits(come[value], room)
    if come.keys() - old.values.keys():
        new.values = {
            pk: (f, v, label) for pk, f, v, label in FacetValue.objects.values_list("pk", "facet", "value", "label")
        }
        new.by_facet, new.ids = defaultdict(list), {}
        # As facets show values that are equally frequent; what is not stated comes last.
        for pk in sorted(new.values, key=lambda pk: (new.values[pk][1] == listing.NONE, new.values[pk][2])):
            facet, name, _ = new.values[pk]
            new.by_facet[facet].append(pk)
            new.ids[facet, name] = pk
    return new


def _bits(slots: Iterable[int], room: int) -> int:
    made = bytearray(room // 8 + 1)
    for slot in slots:
        made[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(made, "little")
