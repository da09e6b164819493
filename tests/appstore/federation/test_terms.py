"""What two stores agree on, as both read it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.federation import terms
from appstore.federation.terms import Limits, Offer, Terms, allows, canonical, document, seen_by
from core.errors import Invalid

US, THEM = "1" * 64, "2" * 64
words = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12)
lists = st.lists(words, max_size=4, unique=True).map(lambda each: tuple(sorted(each)))
offers = st.builds(
    Offer,
    categories=lists,
    licences=lists,
    providers=lists,
    certification=st.sampled_from(terms.CERTIFICATION),
    signature=st.sampled_from(terms.SIGNATURE),
    limits=st.builds(Limits, package_bytes=st.integers(0, 1 << 40), apps=st.integers(0, 1 << 40)),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))
agreements = st.builds(
    Terms,
    version=st.integers(1, 1000),
    us=st.just(US),
    them=st.just(THEM),
    out=st.none() | offers,
    incoming=st.none() | offers,
    expires=st.none() | moments,
    our_contact=words,
).filter(lambda each: each.out or each.incoming)
facts = st.fixed_dictionaries(
    {
        "category": words,
        "provider": words,
        "licences": lists,
        "certification": st.sampled_from(terms.CERTIFICATION),
        "signature": st.sampled_from((*terms.SIGNATURE, "broken")),
        "size": st.integers(0, 1 << 41),
    }
)
GOOD = {
    "category": "Video",
    "provider": "Acme",
    "licences": ("Apache-2.0",),
    "certification": "standard",
    "signature": "trusted",
    "size": 1000,
}


def agreed(**offer: Any) -> Terms:
    return Terms(1, US, THEM, Offer(**offer), None, None)


@given(agreements)
def test_what_one_side_gives_the_other_side_takes(mine: Terms) -> None:
    theirs = seen_by(document(mine), THEM)
    assert (theirs.out, theirs.incoming) == (mine.incoming, mine.out)
    assert seen_by(document(mine), US) == mine


@given(agreements)
def test_both_sides_write_the_same_bytes(mine: Terms) -> None:
    assert canonical(document(seen_by(document(mine), THEM))) == canonical(document(mine))
    assert terms.read(canonical(document(mine)), US)[0] == mine


@given(agreements, facts)
def test_whether_a_release_may_go_is_the_same_on_both_sides(mine: Terms, release: dict[str, Any]) -> None:
    theirs = seen_by(document(mine), THEM)
    assert allows(mine, "out", release) == allows(theirs, "in", release)
    assert allows(mine, "in", release) == allows(theirs, "out", release)


@given(offers, facts, lists)
def test_a_narrower_filter_never_lets_more_through(
    offer: Offer, release: dict[str, Any], narrow: tuple[str, ...]
) -> None:
    wide = replace(offer, categories=())
    if allows(agreed(**_members(replace(offer, categories=narrow))), "out", release)[0]:
        assert allows(agreed(**_members(wide)), "out", release)[0]


@given(offers, facts)
def test_a_refusal_has_a_reason_and_a_yes_has_none(offer: Offer, release: dict[str, Any]) -> None:
    may, why = allows(agreed(**_members(offer)), "out", release)
    assert may == (why == "")


@given(offers, facts)
def test_a_broken_signature_passes_nowhere(offer: Offer, release: dict[str, Any]) -> None:
    assert not allows(agreed(**_members(offer)), "out", {**release, "signature": "broken"})[0]


@pytest.mark.parametrize(
    ("offer", "changed", "says"),
    [
        ({"categories": ("Games",)}, {}, "category"),
        ({"categories": ("video",)}, {"category": ""}, "category"),
        ({"providers": ("Other",)}, {}, "provider"),
        ({"licences": ("MIT",)}, {}, "licence"),
        ({"licences": ("Apache-2.0",)}, {"licences": ("Apache-2.0", "GPL-3.0-only")}, "GPL-3.0-only"),
        ({"licences": ("Apache-2.0",)}, {"licences": ()}, "licence"),
        ({"certification": "telco"}, {}, "certified"),
        ({"certification": "basic"}, {"certification": "made up"}, "certified"),
        ({"signature": "trusted"}, {"signature": "unknown"}, "signature"),
        ({"signature": "unsigned"}, {"signature": "made up"}, "signature"),
        ({"limits": Limits(package_bytes=999)}, {}, "larger"),
        ({}, {"size": None}, "larger"),
    ],
)
def test_each_filter_stops_what_it_is_there_for(offer: dict[str, Any], changed: dict[str, Any], says: str) -> None:
    may, why = allows(agreed(**offer), "out", {**GOOD, **changed})
    assert not may
    assert says in why


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"categories": ("video",)},
        {"licences": ("apache-2.0", "MIT")},
        {"certification": "standard"},
        {"signature": "trusted"},
    ],
)
def test_what_fits_passes_whatever_the_case_of_letters(offer: dict[str, Any]) -> None:
    assert allows(agreed(**offer), "out", GOOD) == (True, "")


def test_nothing_goes_in_a_direction_of_which_the_terms_say_nothing() -> None:
    assert not allows(agreed(), "in", GOOD)[0]
    assert not allows(None, "out", GOOD)[0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d.update(type="other"), "type"),
        (lambda d: d.update(extra=1), "terms"),
        (lambda d: d.pop("expires"), "terms"),
        (lambda d: d.update(version=0), "version"),
        (lambda d: d.update(version=True), "version"),
        (lambda d: d.update(version=1.0), "version"),
        (lambda d: d.update(parties=[THEM, US]), "parties"),
        (lambda d: d.update(parties=[US, US]), "parties"),
        (lambda d: d.update(parties=["3" * 64, "4" * 64]), "parties"),
        (lambda d: d.update(offers={}), "offers"),
        (lambda d: d["offers"].update({"3" * 64: d["offers"][US]}), "offers"),
        (lambda d: d["offers"][US].update(signature="broken"), f"offers.{US}.signature"),
        (lambda d: d["offers"][US].update(certification="gold"), f"offers.{US}.certification"),
        (lambda d: d["offers"][US].update(categories=["a\x00"]), f"offers.{US}.categories"),
        (lambda d: d["offers"][US].update(categories=[str(n) for n in range(101)]), f"offers.{US}.categories"),
        (lambda d: d["offers"][US]["limits"].update(apps=-1), f"offers.{US}.limits.apps"),
        (lambda d: d["offers"][US].update(limits=None), f"offers.{US}.limits"),
        (lambda d: d.update(expires="tomorrow"), "expires"),
        (lambda d: d.update(expires="2030-01-01T00:00:00"), "expires"),
        (lambda d: d.update(contact={US: 7}), "contact"),
    ],
)
def test_terms_that_are_written_wrong_are_refused_by_the_name_of_the_place(change: Any, field: str) -> None:
    value = json.loads(canonical(document(agreed())))
    change(value)
    with pytest.raises(Invalid) as refused:
        seen_by(value, US)
    assert refused.value.context["errors"][0]["field"] == field


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"[" * 100_000, b" " * 70_000, b'{"a": NaN}'])
def test_bytes_that_are_no_terms_are_refused(payload: bytes) -> None:
    with pytest.raises(Invalid):
        terms.read(payload, US)


def test_the_same_terms_in_another_writing_are_refused() -> None:
    payload = json.dumps(document(agreed()), indent=1).encode()
    with pytest.raises(Invalid, match="agreed way"):
        terms.read(payload, US)


def test_an_unsorted_list_is_another_writing() -> None:
    value = document(agreed(categories=("a", "b")))
    value["offers"][US]["categories"] = ["b", "a"]
    with pytest.raises(Invalid):
        seen_by(value, US)


def test_terms_end_at_their_moment() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    ending = replace(agreed(), expires=end)
    assert ending.expired(end)
    assert not ending.expired(end - timedelta(seconds=1))


def test_the_difference_names_only_what_changed() -> None:
    before, after = agreed(categories=("Video",)), replace(agreed(categories=("Games",)), version=2)
    assert [(c.place, c.before, c.after) for c in terms.difference(before, after)] == [
        ("We offer: categories", "Video", "Games")
    ]
    assert terms.difference(None, after)


def _members(offer: Offer) -> dict[str, Any]:
    return {each.name: getattr(offer, each.name) for each in fields(Offer)}
