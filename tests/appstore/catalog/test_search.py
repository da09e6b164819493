"""What people find. These are the terms of both databases: the suite runs on SQLite, and on PostgreSQL in the live run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appstore.catalog import services, snapshot
from appstore.catalog.models import App, Listing, Release, Step
from appstore.catalog.search import FACETS, SORTS, Query, search
from core.accounts.access import ANONYMOUS, Actor
from core.errors import Invalid

pytestmark = pytest.mark.django_db


def test_name_comes_before_keywords_before_description_before_readme(put: Any, found: Any) -> None:
    put("Delta", text="all about a harbour")
    put("Gamma", description="made for the harbour")
    put("Beta", keywords=("harbour",))
    put("Harbour watch")
    assert found("harbour") == ["Harbour watch", "Beta", "Gamma", "Delta"]


def test_a_word_half_typed_finds_what_begins_so(put: Any, found: Any) -> None:
    put("Surveillance"), put("Camera")
    for end in range(1, len("surveillance")):
        assert found("Surveillance"[:end]) == ["Surveillance"]


def test_all_words_must_be_there_wherever_they_stand(put: Any, found: Any) -> None:
    put("Crane View", description="video of cranes"), put("Crane Log", description="numbers")
    assert found("crane video") == ["Crane View"]
    assert found("video crane") == ["Crane View"]


def test_the_very_name_comes_first_then_its_very_words(put: Any, found: Any) -> None:
    put("Gateway 2"), put("Gate Reader"), put("Gate")
    assert found("gate") == ["Gate", "Gate Reader", "Gateway 2"]


def test_use_and_rating_decide_between_equal_matches_only(put: Any, found: Any) -> None:
    put("Video one"), put("Video two"), put("Three", description="video")
    App.objects.filter(name="Video two").update(downloads=5000)
    App.objects.filter(name="Three").update(downloads=10**6, rating_sum=500, rating_count=100)
    services.touch(App.objects.values_list("pk", flat=True))
    assert found("video") == ["Video two", "Video one", "Three"]


@pytest.mark.parametrize("typed", ["krane", "crnae", "cranne", "cran e"])
def test_a_slip_is_forgiven_and_told(put: Any, typed: str) -> None:
    put("Crane View"), put("Camera")
    result = search(Query(typed), ANONYMOUS)
    assert [row.app.name for row in result.rows] == ["Crane View"]
    assert (result.used == "crane") or result.some or typed == "cran e"


def test_when_no_application_has_all_words_some_are_enough(put: Any) -> None:
    put("Crane View"), put("Camera")
    result = search(Query("crane zeppelin"), ANONYMOUS)
    assert ([row.app.name for row in result.rows], result.some, result.used) == (["Crane View"], True, "")


def test_a_rare_word_beside_a_frequent_one_is_asked_about(put: Any) -> None:
    put("Camara")
    for number in range(4):
        put(f"Camera {number}")
    result = search(Query("camara"), ANONYMOUS)
    assert (result.total, result.suggestion) == (1, "camera")


def test_nothing_is_nothing(put: Any) -> None:
    put("Crane View")
    result = search(Query("zeppelin"), ANONYMOUS)
    assert (result.total, result.rows, result.used, result.suggestion, result.some) == (0, [], "", "", False)
    assert search(Query("!?"), ANONYMOUS).total == 0


@hypothesis_settings(max_examples=60)
@given(text=st.one_of(st.text(max_size=60), st.text("\"'*():^-+{}~&|!<>\\%_; NEAR AND OR", max_size=40)))
def test_no_query_raises_or_leaves_the_catalogue(text: str) -> None:
    result = search(Query.of(_params(q=text)), ANONYMOUS)
    assert result.total == len(result.rows)


def _params(**values: Any) -> Any:
    from django.http import QueryDict

    made = QueryDict(mutable=True)
    for name, value in values.items():
        made.setlist(name, value if isinstance(value, list) else [value])
    return made


@given(
    facets=st.dictionaries(st.sampled_from([*FACETS, "other"]), st.lists(st.text(max_size=12), max_size=3), max_size=4),
    sort=st.text(max_size=9), page=st.text(max_size=9), text=st.text(max_size=20),
)  # fmt: skip
def test_an_address_says_all_of_a_query(facets: Any, sort: str, page: str, text: str) -> None:
    from django.http import QueryDict

    query = Query.of(_params(q=text, sort=sort, page=page, **facets))
    again = Query.of(QueryDict(query.address()[1:]))
    assert (again.facets, again.sort, again.text) == (query.facets, query.sort, query.text)
    assert again.page == max(1, query.page)


def test_facets_are_counted_without_their_own_choice(put: Any) -> None:
    put("A", category="Video", licences=("MIT",)), put("B", category="Video", licences=("Apache-2.0",))
    put("C", category="IoT", licences=("MIT",))
    result = search(Query("", {"category": ("Video",)}), ANONYMOUS)
    counts = {facet.name: {c.value: c.count for c in facet.choices} for facet in result.facets}
    assert result.total == 2
    assert counts["category"] == {"Video": 2, "IoT": 1}
    assert counts["licence"] == {"MIT": 1, "Apache-2.0": 1}


def test_values_of_a_facet_are_alternatives_and_facets_must_all_hold(put: Any, found: Any) -> None:
    put("A", category="Video", licences=("MIT",)), put("B", category="IoT", licences=("MIT",))
    put("C", category="IoT", licences=("Apache-2.0",)), put("D", category="Games")
    assert sorted(found(category=("Video", "IoT"))) == ["A", "B", "C"]
    assert sorted(found(category=("Video", "IoT"), licence=("MIT",))) == ["A", "B"]
    assert found(licence=("none",)) == ["D"]


def test_a_chosen_value_that_nothing_has_can_be_unchosen(put: Any) -> None:
    put("A")
    result = search(Query("", {"category": ("Gone",)}), ANONYMOUS)
    choice = next(f for f in result.facets if f.name == "category").choices[-1]
    assert (result.total, choice.value, choice.count, choice.chosen, result.unfiltered) == (0, "Gone", 0, True, 1)


def _naive(rows: list[dict[str, Any]], chosen: dict[str, tuple[str, ...]]) -> set[str]:
    return {r["name"] for r in rows if all(set(r[facet]) & set(values) for facet, values in chosen.items())}


@hypothesis_settings(max_examples=12)
@given(data=st.data())
def test_counts_are_those_of_counting_by_hand(data: Any, entry: Any) -> None:
    from django.db import transaction

    value = {
        "service": st.lists(st.sampled_from(["rnis", "ues", "bwm"]), max_size=2),
        "licence": st.lists(st.sampled_from(["MIT", "GPL"]), max_size=2),
    }
    rows = [
        {"name": f"app{n}", "service": data.draw(value["service"]), "licence": data.draw(value["licence"])}
        for n in range(data.draw(st.integers(1, 9)))
    ]
    chosen = data.draw(
        st.fixed_dictionaries({}, optional={"service": st.just(("rnis", "ues")), "licence": st.just(("MIT",))})
    )
    sid = transaction.savepoint()
    services.put(entry(r["name"], services=tuple(r["service"]), licences=tuple(r["licence"])) for r in rows)
    result = search(Query("", chosen, size=100), ANONYMOUS)
    assert {row.app.name for row in result.rows} == _naive(rows, chosen)
    for facet in result.facets:
        if facet.name in ("service", "licence"):
            others = {name: values for name, values in chosen.items() if name != facet.name}
            for choice in facet.choices:
                if choice.value != "none":
                    assert choice.count == len(_naive(rows, {**others, facet.name: (choice.value,)}))
    transaction.savepoint_rollback(sid)


def test_one_sees_public_releases_and_those_of_ones_own_organisation(
    put: Any, found: Any, organisation: Any, actor: Any, stranger: Any
) -> None:
    put("Open", organisation_id=organisation.pk)
    put("Inner", organisation_id=organisation.pk, visibility="organisation")
    put("Partners", organisation_id=organisation.pk, visibility="partners")
    assert found(actor=actor, sort="name") == ["Inner", "Open", "Partners"]
    for other in (Actor(stranger), ANONYMOUS):
        assert found(actor=other) == ["Open"]
        result = search(Query("inner"), other)
        assert result.total == 0
        assert all(c.count <= 1 for f in search(Query(), other).facets for c in f.choices)


def test_members_see_their_newer_release_and_others_the_public_one(put: Any, organisation: Any, actor: Any) -> None:
    put("App", "1.0", organisation_id=organisation.pk)
    put("App", "2.0", organisation_id=organisation.pk, visibility="organisation", description="secret plans")
    for who, version in ((actor, "2.0"), (ANONYMOUS, "1.0")):
        result = search(Query(), who)
        assert [row.release.version for row in result.rows] == [version]
    assert search(Query("secret"), ANONYMOUS).total == 0
    assert search(Query("secret"), actor).total == 1


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("newest", ["Cc", "B", "A"]),
        ("name", ["A", "B", "Cc"]),
        ("downloads", ["B", "A", "Cc"]),
        ("rating", ["A", "Cc", "B"]),
    ],
)
def test_every_order(put: Any, found: Any, sort: str, names: list[str]) -> None:
    put("A"), put("B"), put("Cc")
    App.objects.filter(name="B").update(downloads=9, rating_sum=4, rating_count=2)
    App.objects.filter(name="A").update(rating_sum=50, rating_count=10)
    App.objects.filter(name="Cc").update(rating_sum=5, rating_count=1)
    services.touch(App.objects.values_list("pk", flat=True))
    if sort == "newest":
        from datetime import UTC, datetime

        Release.objects.filter(app__name="B").update(published_at=datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC))
        services.touch(App.objects.values_list("pk", flat=True))
    assert found(sort=sort) == names


def test_pages_neither_repeat_nor_miss(put: Any) -> None:
    from appstore.catalog.entries import Entry

    one = put("App 00")
    first = Release.objects.get(app=one)
    services.put(
        Entry(f"k{n}", f"/a/p/App {n:02}", f"App {n:02}", "p", "1", first.published_at, "published")
        for n in range(1, 25)
    )
    for text in ("", "app"):
        for sort in SORTS:
            seen = [
                row.pk
                for page in (1, 2, 3, 4, 99)
                for row in search(Query(text, sort=sort, page=page, size=10), ANONYMOUS).rows
                if page < 4
            ]
            assert len(seen) == len(set(seen)) == 25
            assert search(Query(text, sort=sort, page=99, size=10), ANONYMOUS).page == 3


def test_a_search_is_three_queries_and_a_failed_one_seven(
    put: Any, actor: Any, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        put(f"Crane {number}", category=f"c{number}")
    snapshot.current()
    actor.roles  # read once for a request  # noqa: B018
    from django.db import connection

    # In a transaction, as here, PostgreSQL is told afterwards to plan as before.
    with django_assert_num_queries(3 + (connection.vendor == "postgresql")):
        search(Query("crane", {"category": ("c1", "c2")}), actor)
    with django_assert_num_queries(2):
        search(Query("crane", {"category": ("c1", "c2")}, sort="name"), actor)
    with django_assert_num_queries(2):
        search(Query(), actor)
    with django_assert_max_num_queries(11):
        search(Query("krane zeppelin"), actor)


def test_a_put_is_seen_by_the_next_search_and_a_drop_too(put: Any, entry: Any, found: Any) -> None:
    put("Crane View", "1.0")
    assert found("crane") == ["Crane View"]
    put("Crane View", "1.1", description="with sound")
    assert found("sound") == ["Crane View"]
    services.drop([entry("Crane View", "1.1").key])
    assert found("sound") == []
    assert Listing.objects.get(for_public=True).release.version == "1.0"
    services.drop([entry("Crane View", "1.0").key])
    assert found("crane") == found() == []


def test_an_undone_write_is_forgotten(put: Any, entry: Any, found: Any) -> None:
    from django.db import transaction

    put("Stays")
    sid = transaction.savepoint()
    services.put([entry("Undone")])
    assert sorted(found()) == ["Stays", "Undone"]
    transaction.savepoint_rollback(sid)
    services.put([entry("Other")])
    assert sorted(found()) == ["Other", "Stays"]
    transaction.savepoint_rollback(sid)
    assert found() == ["Stays"]


def test_putting_twice_is_putting_once(entry: Any, found: Any) -> None:
    entries = [entry("A", version, text="words") for version in ("1.0", "2.0")] * 2
    assert services.put(entries) == 2
    services.put(entries)
    assert (Release.objects.count(), Listing.objects.count(), found("words")) == (2, 1, ["A"])
    assert App.objects.get().releases_listed == 2


def test_a_thousand_entries_are_few_statements(entry: Any, django_assert_max_num_queries: Any) -> None:
    entries = [entry(f"App {n}", f"1.{v}", licences=("MIT",)) for n in range(200) for v in range(5)]
    with django_assert_max_num_queries(60):
        services.put(entries, quiet=True)
    assert search(Query(), ANONYMOUS).total == 200


def test_an_entry_without_a_name_is_refused_and_nothing_is_written(entry: Any) -> None:
    with pytest.raises(Invalid, match="needs a key"):
        services.put([entry("Good"), entry("")])
    assert not Release.objects.exists()


def test_texts_that_no_database_holds_are_cleaned(entry: Any, found: Any) -> None:
    odd = {"description": "nul \x00 here", "text": "\x00", "provider": "p" * 500, "keywords": ("k\x00",)}
    services.put([entry("Odd\x00name \ud800", **odd)])
    assert len(found("nul")) == 1


def test_steps_do_not_pile_up(put: Any, found: Any) -> None:
    from appstore.catalog.models import Index

    put("A")
    found()
    Index.objects.update(serial=599)
    put("B")
    assert Step.objects.filter(serial__lt=100).count() == 0
    assert sorted(found()) == ["A", "B"]
