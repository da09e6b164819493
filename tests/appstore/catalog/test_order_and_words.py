"""The pure parts: order of versions, words, distances, choice of a listing, badges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.catalog import badges, listing, versions, words

NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
VERSIONS = st.one_of(
    NUMBERS,
    st.tuples(NUMBERS, st.sampled_from(["-rc.1", "-alpha", "-beta.11", "b2", "+build.7", "-1", ".final"])).map("".join),
    st.text(max_size=12),
)


def test_semver_orders_as_its_own_example() -> None:
    # SemVer 2.0.0, 11.4
    ends = ["-alpha", "-alpha.1", "-alpha.beta", "-beta", "-beta.2", "-beta.11", "-rc.1", ""]
    rising = [f"1.0.0{end}" for end in ends]
    falling = sorted(rising, key=versions.key, reverse=True)
    assert falling == rising[::-1]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.0.0", "1.0.1"),
        ("2.0b1", "2.0"),
        ("1.0-rc.9", "1.0-rc.10"),
        ("latest", "0.1"),
        ("9" * 60, "1" + "0" * 60),
    ],
)
def test_newer_is_newer(older: str, newer: str) -> None:
    assert versions.key(older) < versions.key(newer)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0.0"), ("v1.2", "1.2"), ("1.2+build.1", "1.2+build.9"), ("01.2", "1.2")]
)
def test_some_are_the_same(one: str, other: str) -> None:
    assert versions.key(one) == versions.key(other)


@given(st.lists(VERSIONS, max_size=8), st.randoms())
def test_the_newest_does_not_depend_on_the_order_in_which_one_looks(rows: list[str], dice: Any) -> None:
    pairs = [(version, versions.rank(version)) for version in rows]
    shuffled = list(rows)
    dice.shuffle(shuffled)
    first, second = versions.newest_first(pairs), versions.newest_first([(v, versions.rank(v)) for v in shuffled])
    assert first == second
    early = [not finished for finished, *_ in first]
    assert early == sorted(early), "prereleases come last"


@given(st.text(max_size=60))
def test_words_hold_letters_and_digits_only(text: str) -> None:
    for word in words.split(text):
        assert word
        assert all(c.isalnum() for c in word)
        assert len(word) <= words.LONGEST
    assert words.split(" ".join(words.split(text))) == words.split(text)


def test_words_forget_accents_and_case() -> None:
    assert words.split("Größe, CAFÉ-bar; 5G/MEC") == ["grosse", "cafe", "bar", "5g", "mec"]


def _slow(left: str, right: str) -> int:
    """The textbook form."""
    table = [[max(i, j) if not i or not j else 0 for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i in range(1, len(left) + 1):
        for j in range(1, len(right) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (left[i - 1] != right[j - 1])
            )
            if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


SHORT = st.text("abcd", max_size=8)


@given(SHORT, SHORT, st.integers(0, 3))
def test_the_distance_is_the_textbooks_up_to_its_bound(left: str, right: str, most: int) -> None:
    assert words.distance(left, right, most) == min(_slow(left, right), most + 1)
    nearest = min(_slow(left, right[:end]) for end in range(len(right) + 1))
    assert words.distance(left, right, most, prefix=True) == min(nearest, most + 1)


@given(st.lists(st.text("abcdef", min_size=3, max_size=9), min_size=1, max_size=20, unique=True), st.data())
def test_one_slip_in_a_known_word_leads_to_a_word_as_near(known: list[str], data: Any) -> None:
    lexicon = words.Vocabulary()
    lexicon.add((word, 1) for word in known)
    meant = data.draw(st.sampled_from(known))
    place = data.draw(st.integers(0, len(meant) - 1))
    typed = meant[:place] + data.draw(st.sampled_from("abcdefx")) + meant[place + 1 :]
    answer = lexicon.nearest(typed)
    assert answer in known
    assert words.distance(typed, answer, 2) <= 1


def test_nothing_near_is_nothing() -> None:
    lexicon = words.Vocabulary()
    lexicon.add([("crane", 3), ("camera", 9)])
    assert lexicon.nearest("zeppelin") == ""
    assert lexicon.nearest("xy") == ""
    assert lexicon.nearest("crnae") == "crane"
    assert lexicon.nearest("cxmer") == "camera", "a word that is only begun"


@dataclass
class Row:
    key: str
    version: str
    listed: bool = True
    visibility: str = "public"
    package_id: Any = None
    published_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_the_public_sees_and_what_members_see() -> None:
    choose = listing.choose
    assert choose([]) == listing.Choice()
    assert choose([Row("a", "1.0"), Row("b", "1.1")]) == listing.Choice("b", True)
    assert choose([Row("a", "1.0"), Row("b", "2.0", visibility="organisation")]) == listing.Choice("a", False, "b")
    assert choose([Row("b", "2.0", visibility="partners")]) == listing.Choice("", False, "b")
    assert choose([Row("a", "1.0"), Row("b", "2.0", listed=False)]) == listing.Choice("a", True)
    assert choose([Row("a", "1.0"), Row("b", "2.0-rc.1")]) == listing.Choice("a", True)
    assert choose([Row("offer", "1.0"), Row("copy", "1.0", package_id=1)]) == listing.Choice("copy", True)


def test_architectures_have_one_name() -> None:
    assert {listing.architecture(name) for name in ("X86", "x86_64", "amd64", " AMD64 ")} == {"x86-64"}
    assert listing.architecture("arm64") == listing.architecture("aarch64") == "ARM64"


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_badge_is_xml_whatever_it_says(label: str, text: str) -> None:
    drawn = badges.drawn(label, text, "#000")
    root = ElementTree.fromstring(drawn)
    assert {child.tag.split("}")[1] for child in root.iter()} == {"svg", "title", "rect", "path", "g", "text"}
    assert "<script" not in drawn


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1534, "1.5k"), (2_000_000, "2M")])
def test_counts_are_short(count: int, text: str) -> None:
    assert badges.short(count) == text
