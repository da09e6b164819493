"""The map and the sites by what a person sees and types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.watch import Watch

pytestmark = pytest.mark.live
PATIENT = 30_000
TABLE = Path(__file__).with_name("map_table.js").read_text()
CLUSTERS = Path(__file__).with_name("map_clusters.js").read_text()


def test_the_map_is_filtered_shared_by_its_address_and_follows_live(open_page: Any, site: Any) -> None:
    page = open_page("map")
    page.wait_for_selector("[data-nodes='8'][data-base='110m'][data-ready]", timeout=PATIENT)
    rows = page.locator("#map-rows tr")
    expect(rows).to_have_count(8)
    page.get_by_label("Search nodes").fill("santos")
    expect(rows).to_have_count(1)
    # By keyboard: the row opens the card, the card leads to the node, Escape leads back.
    page.get_by_role("button", name=re.compile("santos-1")).focus()
    page.keyboard.press("Enter")
    card = page.get_by_role("region", name="Chosen node")
    expect(card.get_by_role("link", name="Open the node")).to_be_focused()
    # Asked of the page: what `page.url` says changes only while the browser is listened to.
    page.wait_for_function("location.href.includes('q=santos') && location.href.includes('node=')")
    page.wait_for_selector("[data-base='50m']", timeout=PATIENT)
    again = open_page()
    again.goto(page.url)
    expect(again.get_by_role("region", name="Chosen node")).to_contain_text("santos-1", timeout=PATIENT)
    expect(again.get_by_label("Search nodes")).to_have_value("santos")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(rows.first).to_contain_text("not enrolled")
    site.tell(
        "from mecm.nodes.models import Node; from django.utils import timezone as t; from datetime import timedelta; "
        "Node.objects.filter(name='santos-1').update(last_seen_at=t.now() + timedelta(hours=1))"
    )
    expect(rows.first).to_contain_text("online", timeout=PATIENT)
    site.tell("from mecm.nodes.models import Node; Node.objects.filter(name='santos-1').update(last_seen_at=None)")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Show all nodes").click()
    expect(rows).to_have_count(8)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export a report").click()
    assert download.value.suggested_filename.endswith(".html")


def test_clusters_lose_nobody_and_hold_only_neighbours(open_page: Any) -> None:
    page = open_page("map")
    page.wait_for_selector("#map[data-ready]", timeout=PATIENT)
    numbers = []
    for zoom in (0, 3, 9, 17, 18):
        made = page.evaluate(CLUSTERS, zoom)
        assert made["all"] == made["states"] == 9999
        assert made["spread"] < 3 * 44
        assert made["members"] == made["most"]
        numbers.append(made["number"])
        if zoom >= 9:
            # A thousand stand at one place: no zoom tells them apart.
            assert (made["most"], made["apart"]) == (1000, 19)
    assert numbers == sorted(numbers)
    assert numbers[0] < 60
    assert numbers[-1] == 9000


def test_changed_nodes_stay_in_order_and_keep_their_words(open_page: Any) -> None:
    page = open_page("map")
    page.wait_for_selector("#map[data-ready]", timeout=PATIENT)
    assert page.evaluate(TABLE) == [
        "bdf", True, "abef", "abf", "e", "e", "", False, True, "aefz", 4, False, True,
    ]  # fmt: skip


def test_a_site_is_drawn_on_the_map(open_page: Any) -> None:
    page = open_page("/sites/new?at=53.5,10,6")
    page.wait_for_selector("#site-map[data-base]", timeout=PATIENT)
    page.get_by_label("Name").fill("Drawn quay")
    page.get_by_role("button", name="Draw the area").click()
    box = page.locator("#site-map").bounding_box()
    for right, down in ((0.3, 0.3), (0.6, 0.3), (0.6, 0.7)):
        page.mouse.click(box["x"] + box["width"] * right, box["y"] + box["height"] * down)
    page.wait_for_selector("[data-corners='3']")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Drawn quay")
    page.get_by_label("Name of a node").fill("hamburg-port")
    page.get_by_role("button", name="Place it here").click()
    expect(page.get_by_role("link", name=re.compile("hamburg-port")).first).to_be_visible()
    page.wait_for_selector("#site-map[data-sites='1']")
    page.get_by_role("link", name="On the map").click()
    page.wait_for_selector("#map[data-sites='1']", timeout=PATIENT)
    page.get_by_text("Legend").click()
    expect(page.get_by_text("link degraded")).to_be_visible()
    page.goto(page.url.split("/map")[0] + "/sites")
    page.get_by_role("link", name="Drawn quay").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove the site").click()
    expect(page.get_by_role("heading", name="No sites yet")).to_be_visible()


SITES = """
from core.accounts.access import Actor
from core.accounts.models import User
from mecm.nodes.models import Node
from mecm.sites import services
actor, node = Actor(User.objects.get(username="harbour-admin")), Node.objects.get(name="hamburg-port")
common = {"actor": actor, "organisation": node.organisation}
quay = services.add_site(name="Quay", latitude=53.54, longitude=9.95, radius_m=900, **common)
mast = services.add_site(name="Mast", kind="radio", latitude=53.55, longitude=9.97, **common)
services.connect(mast, quay, actor=actor, state="degraded")
services.place_node(node, quay, actor=actor)
print("site", quay.pk)
"""


def test_the_map_and_the_pages_of_sites_are_read_by_everybody(open_page: Any, site: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    quay = site.tell(SITES).split("site ")[1].strip()
    places = {"/map?at=53.54,9.95,12": "#map[data-sites='3']", f"/sites/{quay}": "#site-map[data-sites='3']"}
    try:
        for scheme in ("light", "dark"):
            for address, drawn in {**places, "/sites": "table", f"/sites/{quay}/change": "#site-map"}.items():
                page = open_page(address, scheme=scheme)
                page.wait_for_selector(drawn, timeout=PATIENT)
                if "map" in address:
                    page.get_by_text("Legend").click()
                found = [each for each in Axe().run(page).response["violations"] if each["impact"] != "minor"]
                assert found == [], (address, scheme, found)
                page.context.close()
        page = open_page(f"/sites/{quay}", width="phone")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        site.tell("from mecm.sites.models import Site; Site.objects.all().delete()")


def test_streets_are_drawn_with_buildings_and_nodes(chromium: Any, site: Any, session_of: Any) -> None:
    # WebGL by software; the other tests' browser has none.
    flags = [each for each in FLAGS if each != "--disable-gpu"]
    flags += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=flags)
    try:
        page = browser.new_context(storage_state=session_of("harbour-admin")).new_page()
        watch = Watch(site.url)
        watch.follow(page)
        page.goto(f"{site.url}/map/street?at=60.17,24.94,15")
        page.wait_for_selector("[data-drawn][data-in-view]", timeout=90_000)
        assert int(page.get_attribute("#street-app", "data-drawn") or 0) > 20
        assert int(page.get_attribute("#street-app", "data-names") or 0) > 5
        expect(page.get_by_text("© OpenStreetMap contributors")).to_be_visible()
        page.get_by_role("link", name=re.compile("helsinki-quay")).wait_for(timeout=PATIENT)
        assert watch.complaints == []
    finally:
        browser.close()
