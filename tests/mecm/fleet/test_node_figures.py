"""How nodes were over time: a row every five minutes, hours made of them, and neither kept for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mecm.fleet import figures
from mecm.fleet.models import NodeSample
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db


def nodes(organisation: Any, *silent: int) -> list[Node]:
    """Make nodes that were heard of so many seconds ago."""
    now = timezone.now()
    return Node.objects.bulk_create(
        Node(organisation=organisation, name=f"n{number}", engine="memory", last_seen_at=now - timedelta(seconds=each))
        for number, each in enumerate(silent)
    )


def test_every_five_minutes_each_node_gets_one_row(
    organisation: Any, world: Any, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now().replace(minute=12, second=40)
    Node.objects.filter(pk=world["here"].pk).update(last_seen_at=now - timedelta(seconds=7))
    Node.objects.create(organisation=organisation, name="never", engine="memory")
    nodes(organisation, *range(30))
    with django_assert_max_num_queries(4):
        assert figures.take_nodes(now)
    assert not figures.take_nodes(now + timedelta(minutes=2))
    assert figures.take_nodes(now + timedelta(minutes=3))
    row = NodeSample.objects.filter(node=world["here"]).earliest("at")
    assert (row.at, row.resolution) == (now.replace(minute=10, second=0, microsecond=0), "five")
    assert (row.online, row.heard, row.failed, row.deployments) == (True, 100, 1, 2)
    assert row.silence in (6, 7)
    assert not NodeSample.objects.filter(node__name="never").exists()


def test_an_hour_holds_the_worst_of_its_moments_and_old_moments_go(organisation: Any) -> None:
    (node,) = nodes(organisation, 0)
    now = timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    before = hour - timedelta(hours=1)
    for minute, heard, silence, failed, cpu in ((0, 100, 5, 0, 100), (5, 0, 400, 2, 300), (10, 100, 3, 1, 200)):
        NodeSample.objects.create(
            node=node, resolution="five", at=before + timedelta(minutes=minute), online=heard == 100, heard=heard,
            silence=silence, failed=failed, cpu_taken=cpu,
        )  # fmt: skip
    NodeSample.objects.create(node=node, resolution="five", at=now - timedelta(hours=30), online=True)
    NodeSample.objects.create(node=node, resolution="hour", at=now - timedelta(days=15), online=True)
    figures.roll_up(now)
    figures.roll_up(now)
    rolled = NodeSample.objects.get(resolution="hour", at=before)
    assert (rolled.online, rolled.heard, rolled.silence, rolled.failed, rolled.cpu_taken) == (True, 67, 400, 2, 200)
    assert NodeSample.objects.count() == 5
    assert NodeSample.objects.filter(resolution="hour", at=hour).exists()


def test_moments_are_read_by_the_api(organisation: Any, api: Any, stranger_api: Any) -> None:
    (node,) = nodes(organisation, 0)
    figures.take_nodes()
    where = f"/api/v1/nodes/{node.pk}/figures"
    answer = api.get(f"{where}?resolution=five").json()
    assert (answer["resolution"], answer["series"]["heard"]) == ("five", [100])
    assert api.get(f"{where}?resolution=minute").status_code == 400
    assert api.get(where).json()["at"] == []
    assert stranger_api.get(f"{where}?resolution=five").status_code == 404
