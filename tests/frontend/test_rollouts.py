"""The pages of rollouts: planned in steps without any script, told what to do, and honest about each node."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from mecm.deployments.models import Deployment
from mecm.fleet import services as fleet
from mecm.fleet.models import Alarm
from mecm.rollouts.models import Place, Rollout, places_of

pytestmark = pytest.mark.django_db

FORM = {
    "kind": "nodes", "name": "hello", "labels": "", "words": "", "nodes": "", "area": "", "release": "",
    "waves": "1, rest", "max_parallel": "5", "pause": "60", "stop_over": "0", "stop_percent": "",
    "node_timeout": "600", "on_stop": "hold", "keep": "on", "values": "", "title": "",
}  # fmt: skip


def test_a_rollout_is_planned_started_and_told_what_to_do(
    pages: Any, deployment: Any, make_package: Any, make_node: Any, make_user: Any, organisation: Any, browser_of: Any
) -> None:
    make_node("berth-8", labels={"region": "north"})
    make_node("tiny", cpu_millis=1)
    new = make_package("hello", "2.0.0")
    assert f"/packages/{new.pk}/rollout" in pages.get("/rollouts/new?q=hello").content.decode()
    where = f"/packages/{new.pk}/rollout"
    assert 'value="hello"' in pages.get(where).content.decode(), "what runs already is offered first"

    # What is wrong is told beside its field, and what was typed is kept.
    for field, wrong, words in (
        ("waves", "zero", "must be a number of nodes"), ("nodes", "nowhere", "There is no node nowhere."),
        ("area", "9, x", "These are no numbers."), ("labels", "north", "is not key=value"),
        ("name", "Not A Name", "small letters"), ("words", "zzz", "Nothing is chosen"),
    ):  # fmt: skip
        answer = pages.post(where, {**FORM, field: wrong})
        text = answer.content.decode()
        assert (answer.status_code, words in text, wrong in text) == (400, True, True), field
    assert not Rollout.objects.exists()

    seen = pages.post(where, {**FORM, "preview": "yes"}).content.decode()
    for words in ("berth-7", "berth-8", "does not fit: needs", "1 + 1", "Write the plan down"):
        assert words in seen
    narrow = pages.post(f"{where}/preview", {**FORM, "labels": "region=north"}).content.decode()
    assert ("berth-8" in narrow, "berth-7" in narrow) == (True, False)
    assert not Rollout.objects.exists()

    made = pages.post(where, FORM)
    rollout = Rollout.objects.get()
    assert made.headers["Location"] == f"/rollouts/{rollout.pk}"
    shown = pages.get(f"/rollouts/{rollout.pk}").content.decode()
    assert "start-rollout" in shown
    assert "does not fit" in shown
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    assert "start-rollout" not in viewer.get(f"/rollouts/{rollout.pk}").content.decode()

    pages.post(f"/rollouts/{rollout.pk}/start")
    assert "It was started before" in pages.post(f"/rollouts/{rollout.pk}/start", follow=True).content.decode()
    pages.post(f"/rollouts/{rollout.pk}/abort", {"rollback": "yes"})
    rollout.refresh_from_db()
    assert (rollout.state, rollout.goal) == ("stopping", "rollback")


def test_a_release_that_runs_is_offered_whatever_became_of_it_elsewhere(
    pages: Any, deployment: Any, make_package: Any, make_node: Any, organisation: Any
) -> None:
    new, only_gone = make_package("hello", "2.0.0"), make_package("hello", "0.9.0")
    facts = {"organisation": organisation, "namespace": "t-acme", "wish": "absent"}
    gone = {"state": "removed", **facts}
    lost = {"state": "abandoned", "abandoned_at": timezone.now(), **facts}
    berth = make_node("berth-8")
    Deployment.objects.create(node=berth, package=deployment.package, name="a", **gone)
    Deployment.objects.create(node=berth, package=only_gone, name="b", **gone)
    Deployment.objects.create(node=berth, package=only_gone, name="c", **lost)
    text = pages.get(f"/packages/{new.pk}/rollout").content.decode()
    assert f'<option value="{deployment.package_id}"' in text
    assert str(only_gone.pk) not in text


def test_the_table_is_filtered_and_says_why(pages: Any, rollout: Any) -> None:
    place = places_of(rollout).get(state="failed")
    url = f"/rollouts/{rollout.pk}"
    text = pages.get(f"{url}?state=failed").content.decode()
    assert "no such &lt;image&gt;" in text
    assert text.count('<tr id="place-') == 1
    assert "places.csv?state=failed" in text
    assert 'id="place-' not in pages.get(f"{url}/nodes?q=zzz").content.decode()
    for odd in ("state=%00", "wave=x", "q=%00", "page=x"):
        assert pages.get(f"{url}?{odd}").status_code == 200
    assert f"place-{place.pk}" in pages.get(f"{url}/nodes").content.decode()
    assert "held" in pages.get("/rollouts?state=failed").content.decode()


def test_two_generations_are_compared_and_the_way_back_minds_who_was_faster(pages: Any, deployment: Any) -> None:
    text = pages.get(f"/deployments/{deployment.pk}/compare").content.decode()
    assert '<td class="digest">replicas</td>' in text
    assert f"/deployments/{deployment.pk}/rollback/1" in text
    assert pages.get(f"/deployments/{deployment.pk}/compare?from=x&to=99").status_code == 200
    assert 'name="expected" value="2"' in pages.get(f"/deployments/{deployment.pk}/rollback/1").content.decode()
    told = pages.post(f"/deployments/{deployment.pk}/rollback/1", {"expected": "1"}, follow=True).content.decode()
    assert "is at generation 2 by now" in told
    pages.post(f"/deployments/{deployment.pk}/rollback/1", {"expected": "2"})
    deployment.refresh_from_db()
    assert (deployment.generation, deployment.values) == (3, {"replicas": 1})


def test_an_upgrade_is_previewed_before_it_is_wished_for(pages: Any, deployment: Any, make_package: Any) -> None:
    new = make_package("hello", "2.0.0")
    typed = {"package": str(new.pk), "values": "replicas: 500", "expected": "2"}
    for text in (
        pages.post(f"/deployments/{deployment.pk}/upgrade", {**typed, "preview": "yes"}).content.decode(),
        pages.post(f"/deployments/{deployment.pk}/upgrade/plan", typed).content.decode(),
    ):
        assert "does not fit: needs" in text
        assert '<td class="digest text-ok">500</td>' in text
    assert (
        "Line 2"
        in pages.post(f"/deployments/{deployment.pk}/upgrade/plan", {**typed, "values": "a: ["}).content.decode()
    )
    deployment.refresh_from_db()
    assert deployment.generation == 2


def test_the_dashboard_shows_rollouts_under_way_and_held_ones_first(
    pages: Any, make_package: Any, node: Any, organisation: Any, stranger: Any, browser_of: Any
) -> None:
    package = make_package("hello", "2.0.0")
    assert "Rollouts under way" not in pages.get("/fleet").content.decode()

    def made(title: str, state: str, **facts: Any) -> Rollout:
        facts = {"organisation": organisation, "package": package, "name": title, "wave_count": 2, **facts}
        return Rollout.objects.create(title=title, state=state, **facts)

    held = made("spring", "failed", why="1 of 2 failed in wave 1; none may.")
    made("summer", "running")
    made("winter", "done")
    Place.objects.create(rollout=held, organisation=organisation, node=node, wave=1, position=0, state="failed")
    text = pages.get("/fleet").content.decode()
    panel = text[text.index("Rollouts under way") :]
    assert panel.index(f"/rollouts/{held.pk}") < panel.index("summer")
    assert "1 of 2 failed in wave 1" in panel
    assert '1 of 1, <span class="text-bad">1 failed</span>' in panel
    assert "winter" not in panel
    assert "spring" not in browser_of(stranger).get("/fleet").content.decode()


def test_the_alarm_of_a_rollout_leads_to_it(pages: Any, make_package: Any, organisation: Any) -> None:
    made = Rollout.objects.create(organisation=organisation, package=make_package("hello", "2.0.0"), title="spring")
    fleet.raise_alarm(organisation, "rollout", made.pk, "rollout-stopped", severity="major", text="It stopped.")
    alarm = Alarm.objects.get(source_kind="rollout")
    assert f"/rollouts/{made.pk}" in pages.get(f"/alarms/{alarm.pk}").content.decode()
