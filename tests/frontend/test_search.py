"""The search over everything: scoped to tenant and permission, in a fixed number of queries."""

from __future__ import annotations

from typing import Any

import pytest

from core.operations.models import Operation
from mecm.rollouts.models import Rollout


@pytest.fixture
def world(make_package: Any, make_node: Any, node: Any, deployment: Any, operation: Any) -> None:
    """Things of `acme` that all have the word “hello” or “berth”."""
    make_node("berth-8")
    make_package("hello-draft", state="checked")


def test_one_search_finds_each_kind(pages: Any, world: None) -> None:
    text = pages.get("/search?q=hello").content.decode()
    for what in ("/catalogue/", "/deployments/", "/packages/", "hello-draft"):
        assert what in text
    assert "berth-8" in pages.get("/search?q=berth").content.decode()
    assert "Check a package" in pages.get("/search?q=check+pack").content.decode()
    assert "/audit" in pages.get("/search?q=audit").content.decode()
    assert "Nothing matches “zeppelin”" in pages.get("/search?q=zeppelin").content.decode()


def test_rollouts_are_found_by_title_and_application(
    pages: Any, make_package: Any, organisation: Any, browser_of: Any, stranger: Any
) -> None:
    package = make_package("harbour-view", "2.0.0")
    made = Rollout.objects.create(organisation=organisation, package=package, title="Caches for the autumn")
    for words in ("autumn", "harbour-view"):
        assert f"/rollouts/{made.pk}" in pages.get(f"/search?q={words}").content.decode()
    assert "autumn" not in browser_of(stranger).get("/search?q=caches").content.decode()


def test_what_is_typed_is_only_text(pages: Any) -> None:
    assert "<b>x" not in pages.get("/search?q=<b>x").content.decode()


def test_the_palette_gets_the_list_alone(pages: Any, world: None) -> None:
    text = pages.get("/search?q=berth", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in text
    assert 'role="option"' in text


def test_nobody_finds_what_is_not_theirs(
    browser_of: Any, stranger: Any, make_user: Any, organisation: Any, world: None
) -> None:
    from core.accounts.models import Membership

    text = browser_of(stranger).get("/search?q=berth").content.decode()
    assert "berth-8" not in text
    assert "hello-draft" not in browser_of(stranger).get("/search?q=hello").content.decode()
    # Only the current organisation is searched, also for somebody who is in both.
    both = make_user("both", organisation, "viewer")
    other = Membership.objects.get(user=stranger).organisation
    Membership.objects.create(user=both, organisation=other, role="viewer")
    browser = browser_of(both)
    browser.post("/organisation", {"organisation": other.slug})
    assert "berth-8" not in browser.get("/search?q=berth").content.decode()
    browser.post("/organisation", {"organisation": organisation.slug})
    assert "berth-8" in browser.get("/search?q=berth").content.decode()
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    assert "/audit" not in viewer.get("/search?q=audit").content.decode()


def test_more_rows_cost_no_more_queries(
    pages: Any, world: None, make_node: Any, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        make_node(f"berth-1{number}")
        Operation.objects.create(kind="package.check", target=f"package:{number}", organisation_id=organisation.pk)
    # Six for the person and the menu (as on every page), at most seven of the catalogue, one for each other kind.
    for words in ("berth", "zeppelin", "check"):
        with django_assert_max_num_queries(18):
            assert pages.get(f"/search?q={words}").status_code == 200
    text = pages.get("/search?q=berth").content.decode()
    assert "/nodes?q=berth" in text
    assert "Show all of them" in text
