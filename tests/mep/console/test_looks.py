"""Every page of the console, wide and narrow, light and dark, in Chromium; axe looks at each.

With `CONSOLE_SHOTS=<folder>` a picture of each is left there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.mep.console.conftest import WIDTHS
from tests.waiting import until

pytestmark = pytest.mark.live

PAGES = [
    "overview", "apps", "app", "hostile-app", "services", "service", "subscriptions", "subscription", "traffic",
    "traffic-new", "traffic-rule", "traffic-descriptor", "traffic-hostile", "packet", "packet-wrong", "dns", "dns-new",
    "dns-rule", "query", "alarms", "logs", "nothing-found", "/sign-in", "/no/such/page",
]  # fmt: skip
#: Both widths and both schemes; axe needs a second for each, so it looks at the ones that differ most.
LOOKS = [("desktop", "light", True), ("desktop", "dark", False), ("phone", "light", False), ("phone", "dark", True)]


def keep(page: Any, name: str) -> None:
    """Leave a picture where one is wanted."""
    folder = os.environ.get("CONSOLE_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(name: str, open_page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    if name == "/no/such/page":
        open_page.watch.expected.append("404")
    page = open_page(name, known=name != "/sign-in")
    page.evaluate("document.fonts.load('16px Inter')")
    assert page.locator("h1").count() == 1
    findings = []
    for width, scheme, judged in LOOKS:
        page.set_viewport_size({"width": WIDTHS[width][0], "height": WIDTHS[width][1]})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        until(lambda: page.evaluate("document.documentElement.dataset.bsTheme") == scheme)  # noqa: B023 - at once
        keep(page, f"{name.strip('/').replace('/', '-')}-{width}-{scheme}")
        over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if over > 0:
            findings.append(f"{width}: sticks out by {over} px")
        if judged:
            findings += [
                f"{width} {scheme}: {each['id']} ({each['impact']}): {each['nodes'][0]['html'][:160]}"
                for each in Axe().run(page).response["violations"]
                if each["impact"] in ("serious", "critical")
            ]
    assert findings == []
