"""The full text of the listings behind one door: FTS5 in SQLite, tsvector with GIN in PostgreSQL.

Both are given the same words (`words.split`) and asked the same questions, so they find and rank alike. A word matches
each word that begins with it. What a match is worth depends on the best place of each word: name, then keywords (with
provider, category and services), then description, then README.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from appstore.catalog.models import FULL_TEXT as TABLE

NAME, KEYWORDS, DESCRIPTION, README = 8.0, 4.0, 2.0, 1.0
_PLACES = (("name", NAME), ("keywords", KEYWORDS), ("description", DESCRIPTION))
#: Makes one integer of the ids of listings, a bit for each.
Bits = Callable[[Iterable[int]], int]
#: More words of one README are not kept.
MOST = 6000


@dataclass(frozen=True, slots=True)
class Document:
    """The words of one listing, by where they stand."""

    listing_id: int
    name: Sequence[str]
    keywords: Sequence[str]
    description: Sequence[str]
    readme: Sequence[str] = ()


class FullText(ABC):
    """What both databases can do."""

    @abstractmethod
    def put(self, documents: Sequence[Document]) -> None:
        """Replace the text of these listings."""

    @abstractmethod
    def drop(self, listing_ids: Iterable[int]) -> None:
        """Forget the text of these listings."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def match(self, words: Sequence[str], bits: Bits, *, some: bool = False) -> dict[float, int]:
        """Return the listings that have all of the words (or `some` of them), by what the match is worth; one query.

        The worth is the mean over the words of the best place of each. Listings are told as `bits` makes them of ids.
        """

    @abstractmethod
    def known(self, words: Sequence[str]) -> set[str]:
        """Return those of the words that some listing has; one query."""


class Sqlite(FullText):
    """FTS5. Words come in double quotes and hold letters and digits only, so its query language stays shut."""

    def put(self, documents: Sequence[Document]) -> None:
        self.drop(document.listing_id for document in documents)
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {TABLE} (rowid, name, keywords, description, readme) VALUES (%s, %s, %s, %s, %s)",  # noqa: S608
                [
                    (d.listing_id, *(" ".join(part) for part in (d.name, d.keywords, d.description, d.readme[:MOST])))
                    for d in documents
                ],
            )

    def drop(self, listing_ids: Iterable[int]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(f"DELETE FROM {TABLE} WHERE rowid = %s", [(pk,) for pk in listing_ids])  # noqa: S608

    def clear(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")  # noqa: S608

    def match(self, words: Sequence[str], bits: Bits, *, some: bool = False) -> dict[float, int]:
        if not words:
            return {}
        asked = [(" OR " if some else " AND ").join(f'"{word}"*' for word in words)]
        asked += [f'{{{column}}} : "{word}"*' for word in words for column, _ in _PLACES]
        parts = [0] * len(asked)
        # One text of all ids is read several times faster than as many rows.
        for part, ids in self._union(asked, "group_concat(rowid)"):
            parts[part] = bits(map(int, ids.split(","))) if ids else 0
        found = {0.0: parts[0]}
        for number in range(len(words)):
            split: dict[float, int] = defaultdict(int)
            for worth, left in found.items():
                for place, (_, weight) in enumerate(_PLACES):
                    there = left & parts[1 + number * len(_PLACES) + place]
                    if there:
                        split[worth + weight] |= there
                        left &= ~there
                if left:
                    split[worth + README] |= left
            found = split
        return {worth / len(words): left for worth, left in found.items() if left}

    def known(self, words: Sequence[str]) -> set[str]:
        if not words:
            return set()
        return {words[part] for part, _ in self._union([f'"{word}"*' for word in words], "rowid", " LIMIT 1")}

    def _union(self, asked: Sequence[str], column: str, limit: str = "") -> list[tuple[int, Any]]:
        one = f"SELECT %s, {column} FROM {TABLE} WHERE {TABLE} MATCH %s{limit}"  # noqa: S608
        statement = " UNION ALL ".join([f"SELECT * FROM ({one})"] * len(asked))  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(statement, [value for pair in enumerate(asked) for value in pair])
            return cursor.fetchall()


class Postgres(FullText):
    """Two tsvectors: a small one with places, to rank by, and one of all words for the GIN index, to find by.

    They are written as literals of quoted words, so no parser or dictionary of the server has a say.
    """

    def put(self, documents: Sequence[Document]) -> None:
        rows = [(d.listing_id, self._head(d), self._all(d)) for d in documents]
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {TABLE} SELECT id, head::tsvector, every::tsvector "  # noqa: S608
                "FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS t(id, head, every) "
                "ON CONFLICT (listing_id) DO UPDATE SET head = excluded.head, every = excluded.every",
                [list(column) for column in zip(*rows, strict=True)] or [[], [], []],
            )

    def drop(self, listing_ids: Iterable[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE} WHERE listing_id = ANY(%s::bigint[])", [list(listing_ids)])  # noqa: S608

    def clear(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")  # noqa: S608

    def match(self, words: Sequence[str], bits: Bits, *, some: bool = False) -> dict[float, int]:
        if not words:
            return {}
        values: list[Any] = []
        worth = []
        for word in words:
            # Most rows have a frequent word in their README alone: they are told by one look.
            cases = f" WHEN NOT head @@ %s::tsquery THEN {README}"
            values.append(f"'{word}':*")
            for mark, (_, weight) in zip("ABC", _PLACES[:-1], strict=False):
                cases += f" WHEN head @@ %s::tsquery THEN {weight}"
                values.append(f"'{word}':*{mark}")
            worth.append(f"CASE{cases} ELSE {DESCRIPTION} END")
        values.append((" | " if some else " & ").join(f"'{word}':*" for word in words))
        statement = (
            f"SELECT {' + '.join(worth)} AS worth, string_agg(int8send(listing_id), '') "  # noqa: S608
            f"FROM {TABLE} WHERE every @@ %s::tsquery GROUP BY 1"
        )
        rows = self._by_index(statement, values)
        return {float(total) / len(words): bits(_numbers(ids)) for total, ids in rows}

    def known(self, words: Sequence[str]) -> set[str]:
        if not words:
            return set()
        one = f"SELECT %s::text WHERE EXISTS (SELECT 1 FROM {TABLE} WHERE every @@ %s::tsquery)"  # noqa: S608
        asked = [value for word in words for value in (word, f"'{word}':*")]
        return {word for (word,) in self._by_index(" UNION ALL ".join([one] * len(words)), asked)}

    @staticmethod
    def _by_index(statement: str, values: Sequence[Any]) -> list[Any]:
        """Ask by the GIN index in any case.

        The planner takes reading the whole table for cheap, because it does not know that each README then has to be
        unpacked. Both statements are one message and so one transaction.
        """
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL enable_seqscan = off; {statement}", values)
            rows = cursor.fetchall()
            if connection.in_atomic_block:
                cursor.execute("SET LOCAL enable_seqscan = on")
        return rows

    @staticmethod
    def _head(document: Document) -> str:
        places: dict[str, set[str]] = {}
        for mark, part in (("A", document.name), ("B", document.keywords), ("C", document.description)):
            for word in part:
                places.setdefault(word, set()).add(mark)
        # A position is needed to carry a place; which one it is tells nothing.
        numbers = {"A": "1A", "B": "2B", "C": "3C"}
        return " ".join(
            f"'{word}':{','.join(numbers[mark] for mark in sorted(marks))}" for word, marks in places.items()
        )

    @staticmethod
    def _all(document: Document) -> str:
        parts = (document.name, document.keywords, document.description, document.readme[:MOST])
        return " ".join(f"'{word}'" for word in dict.fromkeys(word for part in parts for word in part))


def _numbers(data: bytes) -> Iterable[int]:
    """Return the numbers that the database sent in its own form: text of ten thousand ids takes a millisecond to read."""
    numbers = array("q", bytes(data))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def backend() -> FullText:
    """Return the full text of the database at hand."""
    return Postgres() if connection.vendor == "postgresql" else Sqlite()
