"""Two releases side by side: what each says, what differs, and nothing that the person may not see."""

from __future__ import annotations

from typing import Any

import pytest

from appstore.catalog.models import App
from appstore.contents.facts import Component, Facts, ImageFact, Permission
from appstore.contents.models import Contents

pytestmark = pytest.mark.django_db


def _inside(package: Any, *words: str, images: tuple[str, ...] = (), components: int = 0) -> None:
    facts = Facts(
        permissions=[Permission("x", "high", "Deployment/web", each) for each in words],
        images=[ImageFact(each, architecture="amd64") for each in images],
        components=[Component("library", f"lib-{number}") for number in range(components)],
    )
    Contents.objects.create(package=package, sha256=package.sha256, reader=1, facts=facts.as_dict())


@pytest.fixture
def two(make_package: Any) -> tuple[App, App]:
    """Two public applications: one asks for the host's network, the other for little."""
    crane = make_package("crane", compute={"cpu_millis": 2000, "memory_bytes": 2**30})
    buoy = make_package("buoy")
    _inside(crane, "uses the network of the host", images=("registry.example/crane:1",), components=12)
    _inside(buoy, images=("registry.example/buoy:1",), components=3)
    return App.objects.get(name="crane"), App.objects.get(name="buoy")


def _shown(browser: Any, **asked: Any) -> str:
    answer = browser.get("/compare", asked)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_what_differs_is_marked_and_can_be_shown_alone(pages: Any, two: tuple[App, App]) -> None:
    left, right = two
    text = _shown(pages, a=left.pk, b=right.pk)
    for word in ("Uses the network of the host", "registry.example/crane:1", "Components (SBOM)", "2 CPU", "only here"):
        assert word in text
    assert "Provider" in text
    only = _shown(pages, a=left.pk, b=right.pk, only="differences")
    assert "Uses the network of the host" in only
    assert ">Provider<" not in only.replace("\n", "")
    assert only.count("compare-differs") == text.count("compare-differs") > 4


def test_two_releases_of_one_application_are_compared(pages: Any, make_package: Any) -> None:
    make_package("crane", "1.0.0")
    make_package("crane", "2.0.0", size=4096)
    app = App.objects.get(name="crane")
    text = _shown(pages, a=app.pk, av="1.0.0", b=app.pk, bv="2.0.0", only="differences")
    assert "4 KiB" in text
    assert "1.5 KiB" in text
    assert "Memory" not in text
    same = _shown(pages, a=app.pk, b=app.pk)
    assert "Nothing differs" in same
    offered = _shown(pages, a=app.pk)
    assert f"a={app.pk}&amp;av=2.0.0&amp;b={app.pk}&amp;bv=1.0.0" in offered


def test_boxes_on_the_cards_choose_two_without_a_script(pages: Any, two: tuple[App, App]) -> None:
    left, right = two
    catalogue = pages.get("/").content.decode()
    assert '<form id="compare" action="/compare">' in catalogue
    assert f'form="compare" name="app" value="{left.pk}"' in catalogue
    lead = pages.get("/compare", {"app": [left.pk, right.pk]})
    assert (lead.status_code, lead.headers["Location"]) == (302, f"/compare?a={left.pk}&b={right.pk}")
    assert "Choose two applications" in _shown(pages)
    assert "at a time" in _shown(pages, app=[left.pk, right.pk, 77])
    found = _shown(pages, app=[left.pk], q="buoy")
    assert f"b={right.pk}" in found


def test_a_visitor_compares_what_is_public_and_sees_no_inside(
    client: Any, two: tuple[App, App], make_package: Any
) -> None:
    left, right = two
    text = _shown(client, a=left.pk, b=right.pk)
    assert "2 CPU" in text
    assert "signed in" in text
    for hidden in ("network of the host", "registry.example", "/packages/"):
        assert hidden not in text
    make_package("inner", visibility="organisation")
    inner = App.objects.get(name="inner")
    assert client.get("/compare", {"a": left.pk, "b": inner.pk}).status_code == 404
    make_package("crane", "3.0.0", visibility="organisation")
    assert client.get("/compare", {"a": left.pk, "av": "3.0.0", "b": right.pk}).status_code == 404


def test_another_tenant_sees_nothing_of_what_is_not_public(
    browser_of: Any, stranger: Any, two: tuple[App, App], make_package: Any
) -> None:
    make_package("inner", visibility="organisation")
    inner = App.objects.get(name="inner")
    browser = browser_of(stranger)
    assert browser.get("/compare", {"a": two[0].pk, "b": inner.pk}).status_code == 404
    assert "network of the host" in _shown(browser, a=two[0].pk, b=two[1].pk).lower()


def test_odd_addresses_are_no_errors(pages: Any, two: tuple[App, App]) -> None:
    for query in ("a=x", "a=-1", "a=99999999999999999999", "app=%00", "a=1&b=zz", "q=%00"):
        assert pages.get(f"/compare?{query}").status_code in (200, 404)
    assert pages.get("/compare", {"a": two[0].pk, "av": "\x00", "b": two[1].pk}).status_code == 404


def test_a_comparison_costs_few_queries(pages: Any, two: tuple[App, App], django_assert_max_num_queries: Any) -> None:
    pages.get("/")
    with django_assert_max_num_queries(13):
        _shown(pages, a=two[0].pk, b=two[1].pk)
