"""Our own packages in the catalogue; who is told; counts, badges, and the API about applications."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from appstore.catalog import apps_of, counters, following, notices, services
from appstore.catalog.models import App, Follow, Listing, Notice, Release
from appstore.packages import followers
from appstore.packages.models import Package
from core.accounts.access import ANONYMOUS, SYSTEM, Actor
from core.errors import Missing
from core.operations import services as operations
from core.operations.models import Operation

pytestmark = pytest.mark.django_db


def test_a_published_package_is_found_with_its_facts(make_release: Any, found: Any, actor: Any) -> None:
    appd = {
        "appServiceProduced": [{"serName": "greeting"}],
        "appServiceRequired": [{"serName": "location"}, 7],
        "compute": {"architecture": "X86"},
    }
    make_release("crane", descriptor=appd, description="says hello")
    assert found("hello", service=("greeting",), architecture=("x86-64",), store=("here",)) == ["crane"]
    release = Release.objects.get()
    assert release.data["facts"]["offers"] == ["greeting"]


def test_drafts_are_not_in_the_catalogue_and_withdrawn_ones_leave_it(make_release: Any, found: Any) -> None:
    make_release("draft", state="checked", published_at=None)
    package = make_release("crane")
    assert found() == ["crane"]
    package.state = "withdrawn"
    followers.tell("changed", package)
    assert found() == []
    followers.tell("gone", package)
    assert not Release.objects.exists()


def test_topics_beside_add_what_they_know(make_release: Any, found: Any) -> None:
    package = make_release("crane")

    @following.enrichers.register("test-room")
    def enrich(packages: list[Package]) -> dict[Any, dict[str, Any]]:
        return {
            row.pk: {
                "certification": "gold",
                "text": "A README",
                "key": "stolen",
                "facts": {"changes": [{"kind": "fixed", "text": "x"}]},
            }
            for row in packages
        }

    try:
        assert services.refresh([package.pk, uuid4()]) == 1
        assert found("readme", certification=("gold",)) == ["crane"]
        release = Release.objects.get()
        assert (release.key, apps_of.changes(release)) == (f"package:{package.pk}", [{"kind": "fixed", "text": "x"}])
        assert "compute" in release.data["facts"]
    finally:
        following.enrichers._loaded.pop("test-room")


def test_a_new_release_costs_a_bounded_number_of_statements(
    make_release: Any, django_assert_max_num_queries: Any, organisation: Any, settings: Any
) -> None:
    settings.OPERATOR = organisation.slug
    package = make_release("crane", descriptor={"appServiceRequired": [{"serName": "location"}]})
    services.drop([following.key_of(package)])
    with django_assert_max_num_queries(25):
        following.follow("changed", package)


def test_our_copy_of_a_partners_release_belongs_to_the_partners_application(
    put: Any, make_release: Any, organisation: Any
) -> None:
    origin = "ab" * 32
    about = {"origin": origin, "origin_name": "Pier", "provider": "Acme"}
    theirs = put("crane", "1.0.0", key=f"remote:{origin}:77", app_key=f"{origin}/them/Acme/crane", **about)
    package = make_release("crane", "1.0.0", origin=origin, origin_ref="77")
    row = Listing.objects.get(for_public=True)
    assert (row.app, row.release.package_id, row.release.data["origin_name"]) == (theirs, package.pk, "Pier")
    assert len(apps_of.releases(ANONYMOUS, theirs)) == 1


def test_rebuilding_makes_the_same_index_and_drops_what_is_gone(
    make_release: Any, put: Any, found: Any, capsys: Any
) -> None:
    make_release("crane"), make_release("crane", "2.0.0"), put("Remote")
    gone = make_release("gone")
    Package.objects.filter(pk=gone.pk)._raw_delete("default")
    before = {row.key: row.data for row in Release.objects.exclude(package_id=gone.pk)}
    for _ in range(2):
        call_command("rebuild_catalogue")
        assert sorted(found()) == ["Remote", "crane"]
        assert {row.key: row.data for row in Release.objects.all()} == before
    assert "2 of 2 releases" in capsys.readouterr().out


def test_an_update_that_brings_the_index_fills_it(make_release: Any) -> None:
    from appstore.catalog.apps import _fill
    from appstore.catalog.models import Index

    make_release("crane")
    _fill()
    assert not Operation.objects.filter(kind="catalog.rebuild").exists(), "it is there already"
    Index.objects.all().delete()
    App.objects.all().delete()
    _fill()
    assert operations.run_due(kinds=["catalog.rebuild"]) == 1
    assert Listing.objects.count() == 1


def _notices(user: Any) -> list[tuple[str, str]]:
    operations.run_due()
    return list(Notice.objects.filter(user=user).order_by("pk").values_list("kind", "text"))


def test_followers_hear_of_what_happens_and_once(make_release: Any, stranger: Any, put: Any, entry: Any) -> None:
    app = put("crane", "1.0.0")
    notices.follow(Actor(stranger), app=app)
    notices.follow(Actor(stranger), provider="Northwind")
    put("crane", "1.1.0")
    put("crane", "1.2.0", facts={"changes": [{"kind": "security", "text": "a hole"}]})
    put("crane", "1.1.0", state="deprecated")
    put("Other", provider="Else")
    put("Fresh")
    for operation in Operation.objects.filter(kind=notices.TELL):
        notices.tell(dict(operation.payload["events"]), operation.payload["serial"])
    # Workers take what is due in any order.
    assert sorted(kind for kind, _ in _notices(stranger)) == ["deprecation", "release", "release", "security"]
    assert notices.unread(stranger.pk) == 4
    assert notices.mark_read(Actor(stranger)) == 4
    assert notices.unread(stranger.pk) == 0


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ("", "published", "release"), ("", "recalled", ""), ("published", "published", ""), ("published", "withdrawn", "yank"),
        ("published", "yanked", "yank"), ("deprecated", "quarantined", "quarantine"), ("quarantined", "recalled", "recall"),
        ("quarantined", "published", ""),
    ],
)  # fmt: skip
def test_what_counts_as_news(before: str, after: str, event: str) -> None:
    assert notices.event_of(before, after) == event


def test_nobody_hears_of_what_they_may_not_see(put: Any, organisation: Any, actor: Any, stranger: Any) -> None:
    app = put("crane", "1.0", organisation_id=organisation.pk)
    for who in (actor, Actor(stranger)):
        notices.follow(who, app=app)
    put("crane", "2.0", organisation_id=organisation.pk, visibility="organisation")
    assert len(_notices(actor.user)) == 1
    assert _notices(stranger) == []


def test_when_nobody_follows_nothing_is_asked_of_a_worker(put: Any) -> None:
    put("crane"), put("crane", "2.0")
    assert not Operation.objects.exists()


def test_favourites_and_follows_are_ones_own_and_twice_is_once(put: Any, actor: Any, stranger: Any) -> None:
    app = put("crane")
    for _ in range(2):
        notices.favour(actor, app)
        notices.follow(actor, app=app)
    app.refresh_from_db()
    assert (app.favourites, Follow.objects.count()) == (1, 1)
    assert apps_of.standing(actor, app) == apps_of.Standing(True, True, False)
    assert apps_of.standing(Actor(stranger), app) == apps_of.Standing()
    notices.favour(actor, app, on=False)
    notices.favour(actor, app, on=False)
    app.refresh_from_db()
    assert app.favourites == 0


def test_downloads_are_collected_and_written_together(make_release: Any, django_assert_max_num_queries: Any) -> None:
    packages = [make_release(f"app-{n}") for n in range(20)]
    with django_assert_max_num_queries(12):
        counters.record(Counter({package.pk: 3 for package in packages} | {uuid4(): 1}))
    assert set(App.objects.values_list("downloads", flat=True)) == {3}
    assert set(Release.objects.values_list("downloads", flat=True)) == {3}


def test_a_buffer_writes_at_its_end_and_keeps_what_cannot_be_written(make_release: Any, settings: Any) -> None:
    settings.COUNT_EVERY = 3600
    package = make_release("crane")
    buffer = counters.Buffer()
    for _ in range(5):
        buffer.add(package.pk)
    assert App.objects.get().downloads == 0
    assert buffer.flush() == 5
    assert buffer.flush() == 0
    assert App.objects.get().downloads == 5
    assert buffer._timer is None or buffer._timer.cancel() is None


def test_the_file_of_a_package_counts_when_it_is_sent(upload: Any, api: Any, make_release: Any, settings: Any) -> None:
    from appstore.packages import blobs

    digest, _ = blobs.store([b"content"])
    package = make_release("crane", sha256=digest)
    url = f"/api/v1/packages/{package.pk}/content"
    response = api.get(url)
    assert b"".join(response.streaming_content) == b"content"
    api.get(url, headers={"If-None-Match": response["ETag"]})
    api.head(url)
    assert App.objects.get().downloads == 1


def test_deployments_are_counted_with_the_deed(make_release: Any) -> None:
    package = make_release("crane")
    counters.deployed(package.pk)
    counters.deployed(package.pk)
    counters.deployed(uuid4())
    assert App.objects.get().deployments == 2


@pytest.mark.parametrize(("kind", "words"), [("version", "2.0.0"), ("certification", "no"), ("downloads", "1.5k")])
def test_badges_are_for_everybody_and_may_be_kept(client: Any, make_release: Any, kind: str, words: str) -> None:
    old = make_release("crane")
    make_release("crane", "2.0.0")
    App.objects.update(downloads=1534)
    response = client.get(f"/api/v1/packages/{old.pk}/badges/{kind}.svg")
    assert (response.status_code, response["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    assert words in response.content.decode()
    assert "max-age=300" in response["Cache-Control"]
    assert client.get(response.request["PATH_INFO"], headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_there_is_no_badge_of_what_is_not_public(client: Any, make_release: Any) -> None:
    hidden = make_release("secret", visibility="organisation")
    assert client.get(f"/api/v1/packages/{hidden.pk}/badges/version.svg").status_code == 404
    assert client.get(f"/api/v1/packages/{make_release('a').pk}/badges/colour.svg").status_code == 404


def test_the_api_searches_and_leads_on(api: Any, put: Any) -> None:
    for number in range(30):
        put(f"Crane {number:02}", category="Video" if number % 2 else "IoT")
    answer = api.get("/api/v1/catalogue?q=crane&category=Video&sort=name&page_size=10").json()
    assert (answer["count"], answer["pages"], len(answer["results"])) == (15, 2, 10)
    assert [c["count"] for c in answer["facets"][0]["choices"]] == [15, 15]
    second = api.get(answer["next"]).json()
    assert (len(second["results"]), second["next"]) == (5, None)
    assert [row["name"] for row in api.get(second["previous"]).json()["results"]] == [
        r["name"] for r in answer["results"]
    ]


def test_a_page_of_the_api_costs_the_same_however_long_it_is(
    api: Any, put: Any, django_assert_num_queries: Any
) -> None:
    for number in range(12):
        put(f"Crane {number:02}")
    api.get("/api/v1/catalogue")
    # Session, user, roles; the serial of the index, and the rows.
    for size in (1, 12):
        with django_assert_num_queries(5):
            api.get(f"/api/v1/catalogue?page_size={size}")


@pytest.mark.parametrize(
    "query", ["page=x", "page_size=0", "page_size=9999999", "sort=%00", "q=%00", "category=%00", "q=" + "%22" * 50]
)
def test_odd_parameters_are_no_errors(api: Any, put: Any, query: str) -> None:
    put("Crane")
    assert api.get(f"/api/v1/catalogue?{query}").status_code == 200


def test_the_api_keeps_tenants_apart(api: Any, stranger_api: Any, make_release: Any, client: Any) -> None:
    make_release("inner", visibility="organisation")
    app = App.objects.get()
    assert api.get(f"/api/v1/catalogue/apps/{app.pk}").json()["releases"][0]["version"] == "1.0.0"
    assert api.get("/api/v1/catalogue/named/acme/Acme/inner").status_code == 200
    for path in (f"apps/{app.pk}", "named/acme/Acme/inner", f"apps/{app.pk}/reviews", "apps/9999999999999999999999"):
        assert stranger_api.get(f"/api/v1/catalogue/{path}").status_code == 404
    for path in (f"apps/{app.pk}/favourite", f"apps/{app.pk}/follow"):
        assert stranger_api.put(f"/api/v1/catalogue/{path}").status_code == 404
        assert api.put(f"/api/v1/catalogue/{path}").status_code == 204
        assert api.delete(f"/api/v1/catalogue/{path}").status_code == 204
    assert stranger_api.get("/api/v1/catalogue").json()["count"] == 0
    assert client.get("/api/v1/catalogue").status_code == 401


def test_an_application_is_missing_to_whom_it_is_not_for(put: Any, organisation: Any, stranger: Any) -> None:
    app = put("crane", organisation_id=organisation.pk, visibility="organisation")
    with pytest.raises(Missing):
        apps_of.get(Actor(stranger), app.pk)
    assert apps_of.get(SYSTEM, app.pk) == app


def test_versions_come_newest_first_with_prereleases_last(put: Any) -> None:
    for version in ("1.9", "1.10", "2.0-rc.1", "1.2"):
        app = put("crane", version)
    assert [row.version for row in apps_of.releases(ANONYMOUS, app)] == ["1.10", "1.9", "1.2", "2.0-rc.1"]
