"""Alarms follow the facts: raised, changed, cleared, acknowledged, and never without end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.audit.models import Entry
from core.errors import Conflict, Invalid
from core.operations.models import Operation
from mecm.deployments.models import Deployment
from mecm.edge import reports
from mecm.edge.models import NodeSync
from mecm.fleet import services
from mecm.fleet.models import Alarm, AlarmEvent
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db


def standing() -> dict[tuple[str, str], str]:
    """Return what stands: (cause, source) -> severity."""
    return {(each.cause, each.source_name): each.severity for each in Alarm.objects.standing()}


def test_every_fact_that_is_wrong_raises_an_alarm_and_goes_with_it(
    world: Any, django_assert_max_num_queries: Any
) -> None:
    services.sweep()
    assert standing() == {
        ("node-offline", "silent"): "critical",
        ("certificate-ends", "here"): "major",
        ("deployment-failed", "bad"): "major",
        ("deployment-not-ready", "slow"): "minor",
        ("operation-failed", "package.check"): "minor",
        ("partner-unreachable", "Store 0"): "minor",
        ("partner-not-believed", "Store 1"): "major",
    }
    assert "ImagePullBackOff" in Alarm.objects.get(cause="deployment-failed").text
    assert AlarmEvent.objects.filter(what="raised").count() == 7
    before = list(Alarm.objects.order_by("pk").values())
    # Seven questions about facts, one about recalls' packages at most, one about what stands, one about orphans.
    with django_assert_max_num_queries(10):
        assert not services.sweep()
    assert list(Alarm.objects.order_by("pk").values()) == before
    Node.objects.filter(name="silent").update(last_seen_at=timezone.now())
    Operation.objects.create(kind="package.check", target="package:1", organisation_id=world["silent"].organisation_id)
    Deployment.objects.exclude(name="lost").delete()
    services.sweep()
    assert set(standing()) == {
        ("certificate-ends", "here"),
        # Its node is back, so now it is news that the wish is not met.
        ("deployment-not-ready", "lost"),
        ("partner-unreachable", "Store 0"),
        ("partner-not-believed", "Store 1"),
    }


def test_ten_thousand_nodes_cost_no_more_queries_and_each_silent_one_one_row(
    organisation: Any, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    Node.objects.bulk_create(

            Node(organisation=organisation, name=f"n{number}", engine="memory",
                 last_seen_at=now - timedelta(hours=number % 150 == 0))
            for number in range(600)

    )  # fmt: skip
    services.sweep()
    assert Alarm.objects.standing().count() == 4
    with django_assert_max_num_queries(10):
        services.sweep()


def test_what_flaps_stays_one_row_and_what_comes_back_later_is_another(world: Any, actor: Any) -> None:
    now = timezone.now()

    def seen(at: Any, silent: bool) -> None:
        Node.objects.filter(name="silent").update(last_seen_at=at - timedelta(hours=silent))
        services.sweep(at)

    for number in range(20):
        seen(now + timedelta(seconds=30 * number), number % 2 == 0)
    rows = Alarm.objects.filter(cause="node-offline", source_name="silent")
    assert [(row.times, row.state) for row in rows] == [(10, "cleared")]
    assert AlarmEvent.objects.filter(alarm__in=rows).count() == 1
    seen(now + timedelta(hours=3), True)
    newest, oldest = rows.all()
    assert (newest.times, newest.state, oldest.state) == (1, "standing", "cleared")
    assert list(services.earlier(newest)) == [oldest]
    services.forget_old(now + timedelta(days=400))
    assert list(rows.all()) == [newest]


def test_acknowledging_is_written_down_and_ends_when_it_becomes_worse(
    world: Any, organisation: Any, actor: Any
) -> None:
    key = (organisation, "rollout", "7", "rollout-failed")
    services.raise_alarm(*key, severity="minor", text="wave 2 failed", source_name="spring")
    services.raise_alarm(*key, severity="minor", text="wave 2 failed", source_name="spring")
    alarm = Alarm.objects.get()
    assert services.acknowledge([alarm], actor=actor, note="on my way") == 1
    alarm.refresh_from_db()
    assert (alarm.state, alarm.acknowledged_by, alarm.note) == ("acknowledged", "admin", "on my way")
    entry = Entry.objects.get(action="alarm.acknowledge")
    assert (entry.organisation_id, entry.facts["note"]) == (organisation.pk, "on my way")
    services.raise_alarm(*key, severity="warning", text="only a little", source_name="spring")
    services.raise_alarm(*key, severity="minor", text="as bad as before", source_name="spring")
    assert Alarm.objects.get().state == "acknowledged"
    services.raise_alarm(*key, severity="critical", text="all of it", source_name="spring")
    assert Alarm.objects.get().state == "standing"
    services.sweep()
    assert ("rollout-failed", "spring") in standing()
    assert services.clear_alarm(organisation, "rollout", 7) == 1
    assert [event.what for event in alarm.events.all()] == ["raised", "acknowledged", "worse"]
    with pytest.raises(Conflict):
        services.acknowledge([Alarm.objects.get(cause="rollout-failed")], actor=actor)
    with pytest.raises(Invalid):
        services.raise_alarm(*key, severity="awful", text="x")


def test_alarms_of_a_nodes_own_platform_come_with_its_report(world: Any) -> None:
    node = world["here"]
    NodeSync.objects.create(node=node)
    good = {"kind": "notification-given-up", "subject": "subscription=1", "severity": "minor", "text": "gave up"}
    odd = [{"kind": "x", "severity": "awful"}, "nonsense", {"kind": 7, "severity": "minor"}]

    def report(seq: int, alarms: Any) -> None:
        reports.take(node, "box", seq, [{"kind": "mep", "key": "state", "seq": seq, "status": {"alarms": alarms}}])

    report(1, [good, *odd])
    found = Alarm.objects.get()
    assert (found.cause, found.node, found.text) == ("notification-given-up", node, "here says: gave up")
    services.sweep()
    assert Alarm.objects.get(pk=found.pk).state == "standing"
    report(2, [])
    assert Alarm.objects.get(pk=found.pk).state == "cleared"
    report(3, [good])
    world["bad"].delete()
    world["slow"].delete()
    node.delete()
    services.sweep()
    assert not Alarm.objects.standing().filter(source_kind="mep").exists()


def test_a_recall_that_cannot_reach_a_silent_node_is_critical(world: Any, actor: Any) -> None:
    from appstore.releases.models import Recall
    from mecm.recalls.models import Target

    lost = world["lost"]
    recall = Recall.objects.create(organisation=lost.organisation, reason="leaks")
    Target.objects.create(
        recall=recall, deployment=lost, node=lost.node, organisation=lost.organisation, package=lost.package
    )
    services.sweep()
    alarm = Alarm.objects.get(cause="recall-dark-nodes")
    assert alarm.severity == "critical"
    assert "silent" in alarm.text
    Recall.objects.update(lifted_at=timezone.now())
    services.sweep()
    assert Alarm.objects.get(cause="recall-dark-nodes").state == "cleared"


def test_alarms_over_http_are_filtered_acknowledged_and_each_tenants_own(
    world: Any, api: Any, stranger_api: Any, make_user: Any, organisation: Any, client_of: Any
) -> None:
    services.sweep()
    listed = api.get("/api/v1/alarms").json()
    assert listed["count"] == 7
    assert listed["results"][0]["severity"] == "critical"
    assert api.get("/api/v1/alarms?severity=major&source=node&q=here").json()["count"] == 1
    for wrong in ("severity=bad", "show=x", "source=%00", "node=1"):
        answer = api.get(f"/api/v1/alarms?{wrong}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, wrong.split("=")[0])
    one, *others = (row["id"] for row in listed["results"])
    assert api.post(f"/api/v1/alarms/{one}/acknowledge", {"note": "x" * 501}, format="json").status_code == 400
    assert (
        api.post(f"/api/v1/alarms/{one}/acknowledge", {"note": "seen"}, format="json").json()["state"] == "acknowledged"
    )
    many = {"alarms": others, "note": "storm"}
    assert stranger_api.post("/api/v1/alarms/acknowledge", many, format="json").json() == {"acknowledged": 0}
    viewer = client_of(make_user("eye", organisation, "viewer"))
    assert viewer.get("/api/v1/alarms").json()["count"] == 7
    assert viewer.post("/api/v1/alarms/acknowledge", many, format="json").json() == {"acknowledged": 0}
    assert viewer.post(f"/api/v1/alarms/{one}/acknowledge", {}, format="json").status_code == 403
    assert api.post("/api/v1/alarms/acknowledge", many, format="json").json() == {"acknowledged": 6}
    assert api.get("/api/v1/alarms?show=open").json()["count"] == 0
    history = api.get(f"/api/v1/alarms/{one}/history").json()
    assert [event["what"] for event in history["events"]] == ["raised", "acknowledged"]
    assert stranger_api.get("/api/v1/alarms").json()["count"] == 0
