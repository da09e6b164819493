"""Words of texts and queries, and how far one word is from another. Pure; the same for every database.

Texts are cut into words here and not by the database, so that both find the same. What comes out holds letters and
digits only: nothing of a query language can pass.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

#: A query with more words asks for the first ones.
MOST_WORDS = 6
LONGEST = 40


def split(text: str) -> list[str]:
    """Return the words of a text in order: without accents and case, letters and digits only."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(c if c.isalnum() else "" if unicodedata.combining(c) else " " for c in plain)
    # Case folding again: a compatibility form may hide a capital letter.
    return [word[:LONGEST] for word in letters.casefold().split()]


def of_query(text: str) -> tuple[str, ...]:
    """Return the different words that are asked for, at most `MOST_WORDS`."""
    return tuple(dict.fromkeys(split(text[:400])))[:MOST_WORDS]


def folded(text: str) -> str:
    """Return a text as it is sorted and compared: its words with one blank between them."""
    return " ".join(split(text))


def mask(word: str) -> int:
    """Return the set of letters of a word as bits: one edit changes at most two of them."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) % 61)
    return bits


def distance(left: str, right: str, most: int, *, prefix: bool = False) -> int:
    """Return the edit distance with swaps of neighbours (optimal string alignment), or `most + 1` when it is larger.

    With `prefix` it is the distance to that beginning of `right` which is nearest.
    """
    if len(left) - len(right) > most or (not prefix and len(right) - len(left) > most):
        return most + 1
    right = right[: len(left) + most] if prefix else right
    before: list[int] = []
    last = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        now = [row]
        for column, b in enumerate(right, 1):
            cost = min(last[column] + 1, now[column - 1] + 1, last[column - 1] + (a != b))
            if row > 1 and column > 1 and a == right[column - 2] and left[row - 2] == b:
                cost = min(cost, before[column - 2] + 1)
            now.append(cost)
        if min(now) > most and min(last) > most:
            return most + 1
        before, last = last, now
    return min(most + 1, min(last) if prefix else last[-1])


def tolerance(word: str) -> int:
    """Return how many slips a word may have: none in a short one, two in a long one."""
    return 0 if len(word) < 3 else 1 if len(word) < 7 else 2


class Vocabulary:
    """The words that the catalogue knows, to look for the one that was meant."""

    def __init__(self) -> None:
        self._by_length: dict[int, list[tuple[str, int, int]]] = defaultdict(list)

    def add(self, words: Iterable[tuple[str, int]]) -> None:
        """Take words with how often they occur."""
        for word, count in words:
            self._by_length[len(word)].append((word, mask(word), count))

    def nearest(self, word: str, *, other: bool = False) -> str:
        """Return the known word (or an `other` one) nearest to `word`, the more frequent of equals; empty without one.

        A word that is only begun is compared with beginnings, when no whole word is near.
        """
        most, length = tolerance(word), len(word)
        if not most:
            return ""
        own, best = mask(word), (most + 1, 0, "")
        bits, few = ~own, 2 * most
        for size in range(length - most, length + most + 1):
            # An edit brings in one letter at most and takes one away, so nearly all words are ruled out without looking
            # at their order.
            for known, letters, count in [
                row for row in self._by_length.get(size, ()) if (row[1] ^ own).bit_count() <= few
            ]:
                if other and known == word:
                    continue
                if (letters & bits).bit_count() <= most and (~letters & own).bit_count() <= most:
                    best = min(best, (distance(word, known, most), -count, known))
        if best[0] > most and length > 3 and not other:
            for size in range(length, LONGEST + 1):
                for known, letters, count in self._by_length.get(size, ()):
                    if known[0] == word[0] and (~letters & own).bit_count() <= 1:
                        best = min(best, (distance(word, known, 1, prefix=True), -count, known))
            if best[0] > 1:
                return ""
        return best[2] if best[0] <= most else ""
