"""The rule builder in a real browser: sentence, picture and verdict follow what is typed, and a saved rule is in the list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_looks import keep

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


def test_the_preview_follows_what_is_typed_and_the_rule_is_saved(open_page: Any) -> None:
    page = open_page("new-rule")
    sketch = page.locator("#sketch")
    page.get_by_label("Rule id").fill("meters")
    page.get_by_label("Protocols").fill("UDP")
    page.get_by_label("From (UE addresses)").fill("10.45.0.0/16")
    page.get_by_label("Target ports").first.fill("5683")
    sketch.get_by_text("UDP from 10.45.0.0/16 to port 5683 goes to crane-view").wait_for()
    page.get_by_label("Priority").fill("300")
    sketch.get_by_text("less than or equal to 255").wait_for()
    page.get_by_label("Priority").fill("4")
    page.locator("[name=packet-dst_port]").fill("5683")
    sketch.get_by_text("The packet: this rule decides").wait_for()
    assert sketch.locator("svg.flow-wide").is_visible()
    keep(page, "rule-builder", "desktop", "light")
    page.set_viewport_size({"width": 390, "height": 844})
    assert sketch.locator("svg.flow-narrow").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="meters", exact=True).wait_for()
    keep(page, "rule-list", "phone", "light")
