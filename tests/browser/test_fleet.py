"""The fleet in a real browser: charts are drawn, an alarm appears by itself, somebody takes it on; nothing sticks out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_looks import keep
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

FILL = """
from datetime import timedelta
import math
from django.utils import timezone
from core.accounts.models import Organisation
from mecm.backup.models import Backup
from mecm.fleet import figures, services
from mecm.fleet.models import Sample
now = timezone.now().replace(second=0, microsecond=0)
for organisation in Organisation.objects.all():
    rows = []
    for back in range(1, 1440, 4):
        wave = math.sin(back / 90)
        values = {"nodes.online": 6 + round(wave), "nodes.offline": 2 - round(wave), "nodes.degraded": 1, "deployments.ready": 4,
            "deployments.failed": 1 + (back % 300 < 60), "deployments.progressing": 1, "alarms.critical": int(wave > .5),
            "alarms.major": 2, "alarms.minor": 3, "alarms.warning": 0, "apply.p50": 4 + wave, "apply.p95": 12 + 5 * wave}
        minute = now - timedelta(minutes=back)
        rows.append(Sample(organisation=organisation, resolution="minute", at=minute, figures=values))
        if back % 60 == 1:
            hour = now.replace(minute=0) - timedelta(minutes=back - 1)
            rows.append(Sample(organisation=organisation, resolution="hour", at=hour, figures=values))
    Sample.objects.bulk_create(rows, ignore_conflicts=True)
Backup.objects.create(made_at=now, made_by="root on the server", file="/safe/place/centre.backup", sha256="0" * 64,
    size=734003200, rows=48211, blobs=112, keys=True, proved_at=now, proved_by="root on the server")
services.sweep()
figures.take()
"""
RAISE = """
from core.accounts.models import Organisation
from mecm.fleet import services
services.raise_alarm(Organisation.objects.get(slug="harbour"), "rollout", "7", "rollout-failed", severity="critical",
    text="The rollout spring stopped in wave 2: three nodes failed", advice="Look at the first of them", source_name="spring")
"""


def test_the_fleet_is_drawn_and_an_alarm_comes_by_itself_and_is_taken_on(site: Any, open_page: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    site.tell(FILL)
    addresses = {"fleet": "/fleet", "alarms": "/alarms", "backup": "/backup", "audit": "/audit?q=node"}
    for width in ("desktop", "phone"):
        for scheme in ("light", "dark"):
            for name, address in addresses.items():
                page = open_page(address, width=width, scheme=scheme)
                if name == "fleet":
                    page.wait_for_selector("[data-drawn='4']", timeout=60_000)
                assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (name, width)
                keep(page, f"fleet-{name}", width, scheme)
                if width == "desktop":
                    found = [each for each in Axe().run(page).response["violations"] if each["impact"] != "minor"]
                    assert found == [], (name, scheme, found)
                page.context.close()
    page = open_page("/alarms")
    page.wait_for_selector("[data-live-mode='stream']", timeout=60_000)
    site.tell(RAISE)
    line = page.get_by_role("link", name="The rollout spring stopped in wave 2: three nodes failed")
    line.wait_for(timeout=60_000)
    page.get_by_role("checkbox", name="Tick rollout-failed of spring").check()
    page.get_by_label("What is being done about the ticked ones").fill("on my way")
    page.get_by_role("button", name="I look after them").click()
    page.get_by_text("You look after 1 alarm.").wait_for(timeout=60_000)
    page.get_by_role("link", name="The rollout spring stopped").click()
    until(lambda: "on my way" in page.content(), timeout=60)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep(page, "fleet-alarm", "desktop", "light")
