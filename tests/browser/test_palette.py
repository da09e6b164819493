"""The command palette, by the keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.live


def test_the_keyboard_finds_a_thing_and_goes_there(open_page: Any) -> None:
    page = open_page("deployments")
    page.set_default_timeout(60_000)
    page.keyboard.press("/")
    page.wait_for_selector("#palette[open]")
    page.keyboard.type("crane")
    page.wait_for_selector("#hit-deployments-1")
    first = page.locator("#palette [aria-selected=true]").get_attribute("id")
    page.keyboard.press("ArrowDown")
    assert page.locator("#palette [aria-selected=true]").get_attribute("id") != first
    page.keyboard.press("Escape")
    assert page.locator("#palette[open]").count() == 0
    page.keyboard.press("Control+k")
    page.wait_for_selector("#palette[open]")
    page.locator("#palette input").fill("hamburg")
    page.wait_for_selector("#hit-nodes-1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/*")
