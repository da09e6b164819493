"""The one search of the store: words, facets, order and pages, for pages, API and programs alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from appstore.catalog import fulltext, listing, snapshot, words
from appstore.catalog.models import App, Listing
from appstore.catalog.snapshot import Snapshot
from core.accounts.access import Actor

#: name in addresses -> heading
FACETS = {
    "category": "Category",
    "certification": "Certification",
    "signature": "Signature",
    "service": "MEC services",
    "architecture": "Architecture",
    "licence": "Licence",
    "provider": "Provider",
    "store": "Store",
}
SORTS = {
    "relevance": "Best match",
    "newest": "Newest",
    "name": "Name",
    "downloads": "Most used",
    "rating": "Best rated",
}
MOST_PER_PAGE = 100
#: More chosen values of one facet than anybody ticks.
MOST_CHOSEN = 50


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody looks for. Values of one facet are alternatives; the facets must all hold."""

    text: str = ""
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sort: str = "relevance"
    page: int = 1
    size: int = 24

    @classmethod
    def of(cls, params: Any, size: int = 24) -> Query:
        """Read the query string of an address (a `QueryDict`); what makes no sense counts for nothing, and nothing raises."""
        facets = {}
        for facet in FACETS:
            chosen = dict.fromkeys(value.replace("\x00", "")[:128] for value in params.getlist(facet)[:MOST_CHOSEN])
            if kept := tuple(value for value in chosen if value):
                facets[facet] = kept
        sort = params.get("sort", "")
        page = params.get("page", "1")
        return cls(
            text=params.get("q", "").replace("\x00", " ").strip()[:200],
            facets=facets,
            sort=sort if sort in SORTS else "relevance",
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 8 else 1,
            size=max(1, min(size, MOST_PER_PAGE)),
        )

    def address(self, **changes: Any) -> str:
        """Return the query string of this query with some members changed: its deep link."""
        text, sort, page = (changes.get(name, getattr(self, name)) for name in ("text", "sort", "page"))
        pairs = [("q", text)] if text else []
        pairs += [(facet, value) for facet, values in changes.get("facets", self.facets).items() for value in values]
        pairs += [("sort", sort)] if sort != "relevance" else []
        pairs += [("page", str(page))] if page > 1 else []
        return "?" + urlencode(pairs)


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a facet with the number of applications that choosing it alone in this facet would leave."""

    value: str
    label: str
    count: int
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet with its values, the most frequent first; `left` more are not in the list."""

    name: str
    label: str
    choices: tuple[Choice, ...]
    left: int = 0


@dataclass(slots=True)
class Result:
    """What was found. `used` is the text that the rows match, when it is not the one that was asked for.

    `suggestion` is a text that may have been meant. `some` says that the rows have only some of the words.
    """

    query: Query
    rows: list[Listing]
    total: int
    facets: list[Facet]
    used: str = ""
    suggestion: str = ""
    some: bool = False
    #: How many match without the chosen facets.
    unfiltered: int = 0

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.query.size))

    @property
    def page(self) -> int:
        """The page that is shown: the one asked for, or the last."""
        return min(max(1, self.query.page), self.pages)


def search(query: Query, actor: Actor, *, values: int = 12) -> Result:
    """Find what the actor may see: three queries, or up to seven when nothing has all of the words.

    Each facet is counted without its own choice, with `values` of its most frequent values.
    """
    index = snapshot.current()
    visible = index.visible(actor.organisations("packages.read"))
    asked = words.of_query(query.text)
    parts: list[tuple[float, int]] = []
    hits, used, suggestion, some = visible, "", "", False
    if query.text and not asked:
        hits = 0
    elif asked:
        parts = index.matching(asked)
        hits = _any(parts) & visible
        if not hits:
            asked, parts, some = _widened(index, asked)
            hits = _any(parts) & visible
            used = " ".join(asked) if hits and not some else ""
            some = some and bool(hits)
        elif hits.bit_count() < 3:
            suggestion = _meant(asked, index, visible, hits.bit_count())
    chosen = {facet: index.any_of(facet, picked) for facet, picked in query.facets.items()}
    found = _all(hits, chosen.values())
    result = Result(query, [], found.bit_count(), _facets(index, query, hits, chosen, values), used, suggestion, some)
    result.unfiltered = hits.bit_count()
    start = (result.page - 1) * query.size
    slots = _in_order(index, query, found, parts, asked, start + query.size)
    result.rows = _rows([index.rows[slot].listing_id for slot in slots[start : start + query.size]])
    return result


def _all(hits: int, filters: Iterable[int]) -> int:
    for bits in filters:
        hits &= bits
    return hits


def _any(parts: Iterable[tuple[float, int]]) -> int:
    found = 0
    for _, bits in parts:
        found |= bits
    return found


def _widened(index: Snapshot, asked: tuple[str, ...]) -> tuple[tuple[str, ...], list[tuple[float, int]], bool]:
    """Look for what was meant: first with the slips put right, then for any of the words."""
    known = fulltext.backend().known(asked)
    lexicon = snapshot.vocabulary(index) if len(known) < len(asked) else None
    mended = tuple(dict.fromkeys(word if word in known or lexicon is None else lexicon.nearest(word) for word in asked))
    if lexicon is not None and all(mended) and (parts := index.matching(mended)):
        return mended, parts, False
    kept = tuple(word for word in mended if word)
    return kept, index.matching(kept, some=True) if len(asked) > 1 else [], True


def _meant(asked: tuple[str, ...], index: Snapshot, visible: int, found: int) -> str:
    """Return what else may have been meant by words that hardly anything has; empty when that finds no more."""
    lexicon = snapshot.vocabulary(index)
    other = tuple(lexicon.nearest(word, other=True) or word for word in asked)
    if other == asked:
        return ""
    better = (_any(index.matching(other)) & visible).bit_count()
    return " ".join(other) if better > 2 * found else ""


def _facets(index: Snapshot, query: Query, hits: int, chosen: Mapping[str, int], most: int) -> list[Facet]:
    facets = []
    for name, heading in FACETS.items():
        base = _all(hits, [bits for facet, bits in chosen.items() if facet != name])
        picked = query.facets.get(name, ())
        bits, labels = index.bits, index.values
        counted = [
            (count, pk) for pk in index.by_facet.get(name, ()) if (count := (bits.get(pk, 0) & base).bit_count())
        ]
        # What is not stated is the last one already and stays there, however often.
        unstated = [counted.pop()] if counted and labels[counted[-1][1]][1] == listing.NONE else []
        counted.sort(key=itemgetter(0), reverse=True)
        counted += unstated
        shown = [Choice(labels[pk][1], labels[pk][2], n, labels[pk][1] in picked) for n, pk in counted[:most]]
        there = {choice.value for choice in shown}
        # What is chosen can always be unchosen, also when nothing has it.
        for value in picked:
            if value not in there:
                known = index.ids.get((name, value), 0)
                count = (bits.get(known, 0) & base).bit_count()
                shown.append(Choice(value, labels[known][2] if known else value, count, True))
        facets.append(Facet(name, heading, tuple(shown), max(0, len(counted) - most)))
    return facets


def _in_order(
    index: Snapshot, query: Query, found: int, parts: list[tuple[float, int]], asked: Sequence[str], most: int
) -> list[int]:
    """Return the first `most` slots of what was found, in the order that is asked for."""
    if query.sort != "relevance" or not parts:
        return index.picked(query.sort if query.sort != "relevance" else "newest", found, most)
    rows, phrase, exact = index.rows, " ".join(asked), [f" {word} " for word in asked]
    ordered: list[int] = []
    for worth, bits in parts:
        named = worth > fulltext.KEYWORDS
        slots = index.picked("liked", bits & found, len(rows) if named else most - len(ordered))
        if named:
            # A name that is the query, or has its very words, comes before one in which they only begin.
            names = {slot: f" {rows[slot].name} " for slot in slots}
            slots.sort(
                key=lambda slot: (
                    0 if rows[slot].name == phrase else 1 if all(word in names[slot] for word in exact) else 2
                )
            )
        ordered += slots
        if len(ordered) >= most:
            break
    return ordered[:most]


def _rows(listing_ids: Sequence[int]) -> list[Listing]:
    found = Listing.objects.select_related("app", "release").defer("release__text", "facets").in_bulk(listing_ids)
    rows = []
    for pk in listing_ids:
        row = found.get(pk)
        # Between two queries a row may have gone.
        if row is not None and row.release is not None:
            row.release.app = row.app
            rows.append(row)
    return rows


def suggestions(text: str, actor: Actor, most: int = 8) -> list[App]:
    """Return applications whose name goes on like `text`, for a box that completes; three queries."""
    return [row.app for row in search(Query(text=text, size=most), actor, values=0).rows]
