"""Every page of the console, wide and narrow, light and dark, in Chromium; axe looks at each.

With `CONSOLE_SHOTS=<folder>` a picture of each is left there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.live

PAGES = [
    "overview", "apps", "app", "hostile-app", "services", "service", "subscriptions", "subscription", "traffic",
    "traffic-new", "traffic-rule", "traffic-descriptor", "traffic-hostile", "packet", "packet-wrong", "dns", "dns-new",
    "dns-rule", "query", "alarms", "logs", "nothing-found", "/sign-in", "/no/such/page",
]  # fmt: skip


def keep(page: Any, name: str, width: str, scheme: str) -> None:
    """Leave a picture where one is wanted."""
    folder = os.environ.get("CONSOLE_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_pages_are_whole(width: str, scheme: str, open_page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()
    open_page.watch.expected.append("404")
    page = open_page(width=width, scheme=scheme)
    guest = open_page(width=width, scheme=scheme, known=False)
    findings = []
    for name in PAGES:
        shown = guest if name == "/sign-in" else page
        base = open_page.watch.url
        shown.goto(base + open_page.pages.get(name, name))
        shown.wait_for_function("document.fonts.status === 'loaded'")
        assert shown.locator("h1").count() == 1, name
        assert shown.evaluate("document.documentElement.dataset.bsTheme") == scheme
        keep(shown, name.strip("/").replace("/", "-"), width, scheme)
        over = shown.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if over > 0:
            findings.append(f"{name}: sticks out by {over} px")
        found = axe.run(shown).response["violations"]
        findings += [
            f"{name}: {each['id']} ({each['impact']}): {each['nodes'][0]['html'][:160]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
    assert findings == []
