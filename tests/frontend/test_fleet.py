"""Pages of the fleet: what they show, what they cost, and files to take home."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.audit import services as audit
from frontend.download import download
from mecm.backup.models import Backup
from mecm.fleet import services
from mecm.fleet.models import Alarm, Sample
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db


@pytest.fixture
def storm(organisation: Any) -> None:
    """Many nodes, a few of them silent."""
    now = timezone.now()
    rows = [Node(organisation=organisation, name=f"n{n}", engine="memory", last_seen_at=now) for n in range(300)]
    for node in rows[:30]:
        node.last_seen_at = now - timedelta(hours=1)
    Node.objects.bulk_create(rows)
    Node.objects.filter(name="n0").update(name="zone-0")
    for hours in range(30):
        Sample.objects.create(
            organisation=organisation, resolution="hour", at=now - timedelta(hours=hours),
            figures={"nodes.online": 271, "apply.p50": None},
        )  # fmt: skip
    services.sweep()


def test_the_fleet_is_shown_with_twelve_queries_however_large_it_is(
    storm: None, pages: Any, browser_of: Any, stranger: Any, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        text = pages.get("/fleet").content.decode()
    assert "30 offline" in text
    assert "271" in text
    assert "zone-0" not in text or text.count("<tr") < 50
    assert 'aria-label="Pages"' in text
    live = pages.get("/fleet", headers={"HX-Request": "true"}).content.decode()
    assert "30 offline" in live
    assert "<html" not in live
    assert "30 offline" not in browser_of(stranger).get("/fleet").content.decode()
    with django_assert_max_num_queries(12):
        pages.get("/fleet?span=month")


def test_alarms_are_filtered_acknowledged_together_and_taken_home(
    storm: None, pages: Any, browser_of: Any, stranger: Any, make_user: Any, organisation: Any
) -> None:
    text = pages.get("/alarms").content.decode()
    assert '<span class="menu-count">30' in text
    assert "zone-0" in pages.get("/alarms?q=zone").content.decode()
    assert "Nothing is wrong" in browser_of(stranger).get("/alarms").content.decode()
    assert "No alarm is like that" in pages.get("/alarms?severity=warning").content.decode()
    ids = [str(pk) for pk in Alarm.objects.values_list("pk", flat=True)]
    viewer = browser_of(make_user("eye", organisation, "viewer"))
    assert 'type="checkbox"' not in viewer.get("/alarms").content.decode()
    assert viewer.post("/alarms/acknowledge", {"alarm": ids[:1]}).status_code == 403
    assert "Tick the alarms" in pages.post("/alarms/acknowledge", {"alarm": "x"}, follow=True).content.decode()
    done = pages.post("/alarms/acknowledge", {"alarm": ids[:5], "note": "=cmd on it"}, follow=True)
    assert "You look after 5 alarms" in done.content.decode()
    kept = pages.post("/alarms/acknowledge", {"alarm": ids[0], "note": "x" * 501, "back": "one"})
    assert kept.status_code == 400
    assert "x" * 501 in kept.content.decode()
    pages.post("/alarms/acknowledge", {"alarm": ids[0], "note": "nearly there", "back": "one"})
    one = pages.get(f"/alarms/{ids[0]}").content.decode()
    assert "nearly there" in one
    assert "What to do next" in one
    lines = pages.get("/alarms/download?show=acknowledged").content.decode().splitlines()
    assert len(lines) == 6
    assert "'=cmd on it" in "".join(lines)
    rows = pages.get("/alarms/download?form=json").json()
    assert len(rows) == 30
    assert browser_of(stranger).get("/alarms/download?form=json").content == b"[\n]\n"
    assert pages.get("/alarms/download?form=xml").status_code == 400


def test_the_audit_log_is_searched_and_taken_home(
    pages: Any, actor: Any, organisation: Any, browser_of: Any, stranger: Any
) -> None:
    for number in range(60):
        audit.record(actor, "node.register", organisation, organisation=organisation, number=number)
    first = pages.get("/audit?action=node.").content.decode()
    assert "number: 59" in first
    assert "number: 3<" not in first
    older = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "number: 0" in pages.get(f"/audit{older}").content.decode()
    assert "Looked through from" in pages.get("/audit?q=register").content.decode()
    wrong = pages.get("/audit?since=yesterday&actor=admin").content.decode()
    assert 'aria-invalid="true"' in wrong
    assert 'value="yesterday"' in wrong
    assert pages.get("/audit?after=x").status_code == 200
    assert len(pages.get("/audit/download?form=json&actor=admin").json()) == 60
    many = download("json", "x", ["n"], ((n,) for n in range(9000)))
    assert many.streaming
    assert len(json.loads(b"".join(many.streaming_content))) == 9000
    assert pages.get("/audit/download?since=x").status_code == 400
    assert browser_of(stranger).get("/audit/download?form=json").content == b"[\n]\n"


def test_the_backup_page_tells_the_truth_to_those_who_run_the_store(pages: Any, browser_of: Any, stranger: Any) -> None:
    assert "A backup that nobody has restored on trial is a hope" in pages.get("/backup").content.decode()
    Backup.objects.create(
        made_at=timezone.now(), made_by="root on the server", file="/safe/b", sha256="0" * 64, size=10, rows=7,
        blobs=None, keys=False, problem="contents/1 is not what was backed up",
    )  # fmt: skip
    text = pages.get("/backup").content.decode()
    assert "/safe/b" in text
    assert "is not what was backed up" in text
    assert "everybody signs in again" in text
    assert browser_of(stranger).get("/backup").status_code == 403
