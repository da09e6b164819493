"""Figures are taken by the minute, rolled up by the hour and forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mecm.deployments.models import DeploymentRevision
from mecm.fleet import figures, services
from mecm.fleet.models import NodeSample, Sample
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db


def test_a_minute_holds_what_is_there_and_an_hour_the_worst_of_it(
    world: Any, organisation: Any, stranger_organisation: Any, api: Any, django_assert_num_queries: Any
) -> None:
    now = timezone.now().replace(second=10)
    Node.objects.create(organisation=organisation, name="calm", engine="memory", last_seen_at=now)
    DeploymentRevision.objects.filter(deployment=world["bad"]).update(
        outcome="ready", created_at=now - timedelta(seconds=30), settled_at=now - timedelta(seconds=10)
    )
    world["operation"].finished_at = now.replace(second=0) - timedelta(seconds=5)
    world["operation"].save()
    services.sweep(now)
    with django_assert_num_queries(7):
        figures.take(now)
    figures.take(now)
    seen = Sample.objects.get(organisation=organisation).figures
    assert {name: value for name, value in seen.items() if value} == {
        "nodes.online": 2, "nodes.offline": 1, "nodes.degraded": 1, "deployments.failed": 1, "deployments.pending": 1,
        "deployments.progressing": 1, "alarms.critical": 1, "alarms.major": 3, "alarms.minor": 3,
        "operations.failed": 1, "apply.p50": 20.0, "apply.p95": 20.0,
    }  # fmt: skip
    other = Sample.objects.get(organisation=stranger_organisation).figures
    assert (other["nodes.online"], other["apply.p50"]) == (0, None)
    hour = now.replace(minute=0, second=0, microsecond=0)
    before = hour - timedelta(minutes=30)
    for offset, offline in ((0, 2), (1, 6)):
        Sample.objects.create(
            organisation=organisation, resolution="minute", at=before + timedelta(minutes=offset),
            figures={"nodes.online": offline, "nodes.offline": offline, "operations.failed": 1},
        )  # fmt: skip
    Sample.objects.create(
        organisation=organisation, resolution="minute", at=now - timedelta(days=3), figures={"nodes.online": 1}
    )
    figures.roll_up(now)
    figures.roll_up(now)
    rolled = Sample.objects.get(organisation=organisation, resolution="hour")
    assert rolled.at == hour - timedelta(hours=1)
    assert {name: value for name, value in rolled.figures.items() if value is not None} == {
        "nodes.online": 4.0, "nodes.offline": 6, "operations.failed": 2,
    }  # fmt: skip
    assert not Sample.objects.filter(at__lt=now - timedelta(days=2)).exists()
    answer = api.get("/api/v1/figures?resolution=hour&metrics=nodes.offline,nodes.online").json()
    assert answer["series"] == {"nodes.offline": [6], "nodes.online": [4.0]}
    assert answer["at"] == [int(rolled.at.timestamp())]
    rows = {row.node.name: row for row in NodeSample.objects.select_related("node")}
    assert (rows["here"].online, rows["here"].deployments, rows["here"].not_ready) == (True, 2, 2)
    assert (rows["silent"].online, rows["here"].cpu_taken, rows["here"].cpu_millis) == (False, 1000, 4000)
    of_one = api.get(f"/api/v1/nodes/{world['here'].pk}/figures").json()
    assert of_one["series"]["online"] == [True]


def test_what_is_asked_wrongly_is_told_by_name_and_strangers_see_their_own(
    organisation: Any, api: Any, stranger_api: Any
) -> None:
    Sample.objects.create(organisation=organisation, resolution="minute", at=timezone.now(), figures={})
    assert len(api.get("/api/v1/figures").json()["at"]) == 1
    assert stranger_api.get("/api/v1/figures").json()["at"] == []
    assert stranger_api.get("/api/v1/figures?organisation=acme").status_code == 404
    for wrong in ("resolution=day", "metrics=x", "since=now", "since=2999-01-01"):
        answer = api.get(f"/api/v1/figures?{wrong}")
        assert answer.status_code == 400, wrong
    assert figures.percentile([5, 1, 2, 4, 3], 0.5) == 3
    assert figures.percentile([], 0.5) is None
