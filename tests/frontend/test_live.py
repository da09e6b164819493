"""Live parts of pages: made once for all who were told the same, and never for somebody who may not see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from core.operations import services as operations
from frontend.live import FRESH, Shared
from mecm.deployments import services as deployments
from mecm.fleet import live
from mecm.fleet import services as fleet
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db

STATE = {"HX-Request": "true", "Live-State": "0123456789abcdef"}


def test_parts_of_one_state_are_made_once_and_not_kept_for_long() -> None:
    moment, made = [1.0], [0]

    def make() -> str:
        made[0] += 1
        return str(made[0])

    shared = Shared(lambda: moment[0])
    assert [shared.get("a", make), shared.get("a", make), shared.get("b", make)] == ["1", "1", "2"]
    moment[0] += FRESH + 1
    assert shared.get("a", make) == "3"


def test_a_part_that_fails_is_made_again() -> None:
    shared = Shared()
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: str(1 // 0))
    assert shared.get("a", lambda: "well") == "well"


def test_who_is_told_the_same_shares_the_part(api: Any, organisation: Any, django_assert_max_num_queries: Any) -> None:
    Node.objects.create(organisation=organisation, name="berth-1", engine="memory", last_seen_at=timezone.now())
    first = api.get("/fleet", headers=STATE).content.decode()
    assert "Nodes online" in first
    with django_assert_max_num_queries(4):
        assert api.get("/fleet", headers=STATE).content.decode() == first
    Node.objects.create(organisation=organisation, name="berth-2", engine="memory", last_seen_at=timezone.now())
    assert api.get("/fleet", headers=STATE | {"Live-State": "f" * 16}).content.decode() != first
    assert api.get("/fleet", headers={"HX-Request": "true"}).content.decode() != first


def test_a_shared_part_is_no_way_around_a_right(api: Any, stranger_api: Any, organisation: Any) -> None:
    node = Node.objects.create(organisation=organisation, name="berth-1", engine="memory")
    assert api.get(f"/nodes/{node.pk}/live", headers=STATE).status_code == 200
    assert stranger_api.get(f"/nodes/{node.pk}/live", headers=STATE).status_code == 404
    Node.objects.filter(pk=node.pk).update(agent_version="9.9")
    mine = api.get("/fleet", headers=STATE).content.decode()
    theirs = stranger_api.get("/fleet", headers=STATE).content.decode()
    assert "of 1" in mine
    assert "of 0" in theirs


@pytest.mark.parametrize("many", [1, 30])
def test_marks_of_everything_that_is_open_cost_the_same_queries(
    many: int, organisation: Any, django_assert_num_queries: Any
) -> None:
    nodes = [Node.objects.create(organisation=organisation, name=f"n{each}", engine="memory") for each in range(many)]
    with django_assert_num_queries(5):
        assert len(live.nodes([each.pk for each in nodes])) == many
    with django_assert_num_queries(2):
        assert live.deployments([uuid4() for _ in range(many)]) == {}
    with django_assert_num_queries(4):
        assert len(live.fleet([organisation.pk])) == 1
    with django_assert_num_queries(1):
        live.alarms([frozenset({organisation.pk}), frozenset({organisation.pk, uuid4()})])


def test_marks_follow_what_pages_show(organisation: Any, actor: Any, make_package: Any, make_node: Any) -> None:
    node = make_node()

    def marks() -> tuple[Any, ...]:
        pks = list(node.deployments.values_list("pk", flat=True))
        found = live.nodes([node.pk])[node.pk], live.fleet([organisation.pk])[organisation.pk]
        return (*found, live.alarms([frozenset({organisation.pk})]), live.deployments(pks))

    last = marks()

    def moved() -> list[bool]:
        nonlocal last
        now = marks()
        told, last = [one != other for one, other in zip(now, last, strict=True)], now
        return told

    assert moved() == [False] * 4
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(days=1))
    assert moved() == [True, True, False, False]
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now())
    assert moved() == [True, True, False, False]
    made = deployments.request(
        actor=actor, organisation=organisation, node=node, package=make_package(), name="web", values=None
    )
    assert moved()[0]
    assert last[3]
    deployments.observe(made.pk, 1, {"state": "ready"})
    assert moved() == [True, True, False, True]
    fleet.raise_alarm(organisation, "node", node.pk, "too-hot", severity="minor", text="It is hot.")
    assert moved() == [False, True, True, False]
    operations.request("test.note", f"node:{node.pk}", organisation=organisation)
    assert moved() == [True, True, False, False]
