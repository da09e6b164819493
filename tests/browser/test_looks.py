"""Every page, wide and narrow, light and dark: no error, nothing from outside, nothing sticks out.

With `PORTAL_SHOTS=<folder>` a picture of each is left there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.portal import WIDTHS
from tests.waiting import until

pytestmark = pytest.mark.live

PAGES = [
    "catalogue", "packages", "upload", "release", "rejected", "checked", "deploy", "map", "nodes", "new-node", "node",
    "cluster", "deployments", "deployment", "failed", "waiting", "upgrade", "rollback", "operations", "audit", "profile",
    "app", "partner-app", "reviews", "notices", "webhooks", "webhook", "found", "nothing",
    "sites", "new-site", "street",
    "rules", "new-rule", "node-rules",
]  # fmt: skip


def keep(page: Any, name: str, width: str, scheme: str) -> None:
    """Leave a picture where one is wanted."""
    folder = os.environ.get("PORTAL_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=name != "map")


LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "dark"), ("phone", "light")]
UNNAMED = (
    "[...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]"
    ".filter(e => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))"
    ".map(e => e.outerHTML.slice(0, 120))"
)


@pytest.mark.parametrize("name", [*PAGES, "/develop", "/sign-in", "/no/such/page"])
def test_a_page_is_whole(name: str, open_page: Any) -> None:
    if name == "/no/such/page":
        open_page.watch.expected.append("404")
    page = open_page(name, user="" if name == "/sign-in" else "harbour-admin")
    if name == "map":
        page.wait_for_selector("[data-nodes='8'][data-base]")
    assert page.evaluate("document.fonts.load('16px Inter').then(() => document.fonts.check('16px Inter'))")
    assert page.locator("h1").count() == 1
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": WIDTHS[width][0], "height": WIDTHS[width][1]})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        until(lambda: page.evaluate("document.documentElement.dataset.bsTheme") == scheme)  # noqa: B023 - at once
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        assert page.evaluate(UNNAMED) == [], width
        keep(page, name.strip("/").replace("/", "-"), width, scheme)


def test_a_chosen_theme_outlives_the_page_and_the_system(open_page: Any) -> None:
    page = open_page("nodes", scheme="light")
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    page.get_by_role("button", name="Your menu").click()
    page.get_by_role("button", name="Theme of the system").click()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "light"
    page.emulate_media(color_scheme="dark")
    until(lambda: page.evaluate("document.documentElement.dataset.bsTheme") == "dark")


def test_the_menu_opens_on_a_phone(open_page: Any) -> None:
    page = open_page("catalogue", width="phone")
    link = page.get_by_role("link", name="Deployments")
    assert not link.is_visible()
    page.get_by_role("button", name="Menu", exact=True).click()
    link.click()
    page.wait_for_url("**/deployments")


def test_the_keyboard_is_enough_to_get_past_the_menu(open_page: Any) -> None:
    page = open_page("deployments")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
