"""Rollouts over HTTP: plan, start, look, change one's mind; and what is wrong is told by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mecm.rollouts import api as shapes
from mecm.rollouts.models import Rollout, places_of

pytestmark = pytest.mark.django_db
PATH = "/api/v1/rollouts"


def test_from_a_plan_to_the_end(fleet: Any, api: Any) -> None:
    world = fleet(3, bare=1)
    asked = {"package": str(world.new.pk), "name": "hello", "waves": ["1", "rest"]}
    told = api.post(f"{PATH}/plan", asked, format="json").json()
    assert told["counts"] == {"install": 1, "upgrade": 2, "keep": 0, "unfit": 0}
    assert (told["waves"], [each["node"]["name"] for each in told["results"]]) == ([1, 2], ["n0", "n1", "n2"])
    assert api.post(PATH, {**asked, "dry_run": True}, format="json").json() == told
    assert not Rollout.objects.exists()

    made = api.post(PATH, asked, format="json")
    assert (made.status_code, made.json()["state"]) == (201, "planned")
    where = f"{PATH}/{made.json()['id']}"
    assert api.post(f"{where}/start").status_code == 202
    rollout = world.steps(Rollout.objects.get(), 2)
    world.report(rollout, "failed", reason="OOMKilled", message="=1+1")
    world.steps(rollout, 2)
    shown = api.get(where).json()
    assert (shown["state"], shown["counts"]["1"]["failed"], shown["counts"]["2"]["waiting"]) == ("failed", 1, 2)
    places = api.get(f"{where}/places?state=failed").json()
    assert (places["count"], places["results"][0]["reason"]) == (1, "OOMKilled")
    assert api.get(f"{where}/places?state=odd").json()["field"] == "state"
    assert api.get(f"{where}/places?q=n2&wave=2").json()["count"] == 1

    table = api.get(f"{where}/places.csv")
    lines = b"".join(table.streaming_content).decode().splitlines()
    assert table["Content-Disposition"].startswith("attachment")
    assert len(lines) == 4
    assert ",'=1+1," in lines[1], "a spreadsheet must not take a node's words for a formula"
    assert len(json.loads(b"".join(api.get(f"{where}/places.json?state=waiting").streaming_content))) == 2

    assert api.post(f"{where}/pause").json()["code"] == "conflict"
    assert api.post(f"{where}/retry").json()["state"] == "running"
    assert api.post(f"{where}/abort", {"rollback": True}, format="json").json()["goal"] == "rollback"
    world.steps(rollout, 1)
    world.report(rollout)
    assert world.steps(rollout, 2).state == "rolled-back"
    assert api.get(f"{PATH}?state=rolled-back").json()["count"] == 1
    events = [each["what"] for each in api.get(f"{where}/events").json()["results"]]
    assert events == ["rolled-back", "aborting", "retried", "held", "stopping", "wave", "started", "planned"]
    assert shapes.snapshot(rollout.pk)["state"] == "rolled-back"  # type: ignore[index]


def test_what_is_wrong_is_told_by_field_and_nothing_is_written(fleet: Any, api: Any) -> None:
    world = fleet(1)
    fine = {"package": str(world.new.pk), "name": "hello"}
    for field, wrong in {
        "waves": ["zero"], "target.kind": {"kind": "moons"}, "target.labels": {"labels": ["a"]}, "name": "Not A Name",
        "target.area": {"area": [1, 2]}, "max_parallel": 0, "stop_percent": 101, "on_stop": "cry", "values": [1],
        "target.ids": {"ids": ["x"]}, "target": {"q": "no such node"}, "pause": -1, "node_timeout": 1,
    }.items():  # fmt: skip
        answer = api.post(PATH, {**fine, field.split(".")[0]: wrong}, format="json")
        body = answer.json()
        assert answer.status_code == 400, (field, body)
        assert field in (body.get("field"), *(each["field"] for each in body.get("errors", []))), (field, body)
    assert not Rollout.objects.exists()


def test_another_tenant_neither_sees_nor_touches_them(fleet: Any, roll: Any, api: Any, stranger_api: Any) -> None:
    world = fleet(1)
    rollout = roll(world, start=False)
    assert stranger_api.get(PATH).json()["count"] == 0
    # And nodes of others are no nodes at all: their ids choose nothing.
    asked = {"package": str(world.new.pk), "name": "hello", "target": {"ids": [str(world.nodes[0].pk)]}}
    assert stranger_api.post(PATH, asked, format="json").json()["field"] == "target"
    assert stranger_api.post(f"{PATH}/{rollout.pk}/start").status_code == 404
    assert places_of(rollout).count() == 1
