"""Commands about many nodes at once: rollouts, alarms, figures, sites; and the pages of the audit trail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from tests.cli.conftest import Terminal

pytestmark = pytest.mark.django_db


def test_a_rollout_is_followed_to_its_end(
    signed_in: Terminal, make_package: Any, make_node: Any, tmp_path: Path
) -> None:
    from mecm.deployments import services
    from mecm.rollouts import stepping
    from mecm.rollouts.models import Place

    make_package()
    for name in ("berth-1", "berth-2", "crane-1"):
        make_node(name)

    def nodes_say(state: str) -> Any:
        def meanwhile() -> None:
            for place in Place.objects.filter(state__in=["going", "returning"]).select_related("deployment"):
                if place.deployment and place.state == "going":
                    services.observe(place.deployment.pk, place.deployment.generation, {"state": state})
            for pk in set(Place.objects.values_list("rollout", flat=True)):
                stepping.step(pk)

        return meanwhile

    what = ("--package", "hello@1.0.0", "--name", "web", "--search", "berth", "--wave", "1", "--wave", "rest")
    plan = signed_in.json("rollouts", "plan", *what)
    assert (plan["counts"]["install"], plan["waves"]) == (2, [1, 1])
    assert "berth-2" in signed_in("rollouts", "plan", *what).out
    assert signed_in.json("rollouts", "plan", *what, "--label", "dock=none", code=1)["total"] == 0

    made = signed_in.json("rollouts", "create", *what, "--title", "Spring", "--by-hand", "--stop-percent", "50")
    assert (made["state"], made["pause"], made["stop_over"], made["stop_percent"]) == ("planned", None, None, 50)
    assert signed_in.json("rollouts", "plan-again", "Spring")["id"] == made["id"]
    signed_in.meanwhile = nodes_say("ready")
    waits = signed_in("rollouts", "start", "Spring", "--watch", "--output", "json")
    assert (waits.code, waits.json["state"]) == (1, "paused")
    assert "resume" in waits.err
    done = signed_in("rollouts", "resume", "Spring", "--watch")
    assert done.code == 0, done.err
    assert "2 of 2 ready" in done.out
    assert signed_in("rollouts", "watch", "Spring").code == 0
    assert [row["node"]["name"] for row in signed_in.json("rollouts", "nodes", "Spring", "--wave", 2)["results"]] == [
        "berth-2"
    ]
    assert signed_in.json("rollouts", "nodes", "Spring", "--wave", 0)["results"] == []
    assert signed_in.json("rollouts", "events", "Spring")["count"] > 2
    told = signed_in("rollouts", "table", "Spring").out
    assert "berth-1" in told
    assert "\ufffd" not in told
    file = tmp_path / "nodes.csv"
    assert signed_in("rollouts", "table", made["id"], "--to", file).code == 0
    assert "berth-2" in file.read_text()
    assert "Spring" in signed_in("rollouts", "list", "--state", "done").out
    assert "wave 2" in signed_in("rollouts", "show", "Spring").out

    signed_in.meanwhile = nodes_say("failed")
    other = ("--package", "hello@1.0.0", "--name", "other", "--node", "crane-1", "--title", "Autumn")
    broken = signed_in("rollouts", "create", *other, "--start", "--watch")
    assert broken.code == 1
    assert "failed" in broken.err
    assert signed_in("rollouts", "pause", "Autumn").code == 1
    assert "--yes" in signed_in("rollouts", "abort", "Autumn").err
    signed_in.meanwhile = lambda: None
    assert signed_in("rollouts", "retry", "Autumn", "--watch", "--timeout", "5").code == 3
    assert signed_in("rollouts", "pause", "Autumn").code == 0
    signed_in.meanwhile = nodes_say("failed")
    assert signed_in("rollouts", "abort", "Autumn", "--yes", "--watch").code == 0
    assert signed_in.json("rollouts", "show", "Autumn")["state"] == "aborted"
    assert signed_in("rollouts", "rollback", "Autumn", "--yes").code == 0
    assert signed_in("rollouts", "watch", "Winter").code == 4
    for wrong in (
        ("--release", "hello@1.0.0"), ("--area", "here"), ("--label", "north"), ("--watch",), ("--by-hand", "--pause", "3"),
    ):  # fmt: skip
        assert signed_in("rollouts", "create", "--package", "hello@1.0.0", *wrong).code == 2, wrong


def test_alarms_are_looked_at_and_acknowledged(signed_in: Terminal, organisation: Any, make_node: Any) -> None:
    from mecm.fleet import figures
    from mecm.fleet.models import Alarm

    node = make_node("berth-7")
    facts = {"organisation": organisation, "source_kind": "node", "node": node, "severity": "major", "worst": "major",
             "text": "It is away", "raised_at": timezone.now(), "changed_at": timezone.now()}  # fmt: skip
    first, second, third = (
        Alarm.objects.create(**facts, source_id=str(number), source_name="berth-7", cause="node-offline")
        for number in range(3)
    )
    listed = signed_in.json("alarms", "list", "--node", "berth-7", "--severity", "major")
    assert listed["count"] == 3
    assert "It is away" in signed_in("alarms", "list").out
    assert signed_in("alarms", "list", "--severity", "loud").code == 2
    assert signed_in.json("alarms", "show", first.pk)["state"] == "standing"
    assert signed_in.json("alarms", "acknowledge", first.pk, "--note", "on my way")["note"] == "on my way"
    assert signed_in.json("alarms", "acknowledge", first.pk, second.pk, third.pk)["acknowledged"] == 2
    assert signed_in("alarms", "history", first.pk).code == 0
    assert signed_in.json("alarms", "list", "--show", "open")["count"] == 0

    assert "Nothing" in signed_in("figures").out
    figures.take()
    told = signed_in("figures", "--metric", "alarms.major", "--metric", "apply.p50").out
    assert "alarms.major" in told
    assert list(signed_in.json("figures", "--metric", "alarms.major")["series"]) == ["alarms.major"]
    assert signed_in("figures", "--metric", "nonsense").code == 2
    assert signed_in("figures", "--node", "berth-7").code == 0


def test_sites_go_out_and_come_back(signed_in: Terminal, make_node: Any, tmp_path: Path) -> None:
    make_node("berth-7")
    made = signed_in.json(
        "sites", "create", "Quay", "--latitude", 60.1, "--longitude", 0, "--radius", 500, "--label", "a=b"
    )
    assert (made["longitude"], made["labels"]) == (0, {"a": "b"})
    signed_in.json("sites", "create", "Hill", "--kind", "radio", "--latitude", 60.2, "--longitude", 24.9)
    assert signed_in.json("sites", "change", "Quay", "--kind", "data-centre")["kind"] == "data-centre"
    assert [row["name"] for row in signed_in.json("sites", "list", "--search", "qu")["results"]] == ["Quay"]
    assert signed_in("sites", "place", "Quay", "berth-7").code == 0
    link = signed_in.json("sites", "links", "create", "Quay", "Hill", "--state", "up")
    assert signed_in.json("sites", "links", "tell", link["id"], "--state", "down")["state"] == "down"
    assert link["id"] in signed_in("sites", "links", "list", "Hill").out

    file = tmp_path / "sites.geojson"
    file.write_text(signed_in("sites", "export").out)
    assert {each["geometry"]["type"] for each in json.loads(file.read_text())["features"]} >= {"Point"}
    assert signed_in("sites", "links", "remove", link["id"]).code == 0
    assert signed_in("sites", "remove", "Hill", "--yes").code == 0
    back = signed_in.json("sites", "import", file)
    assert (back["made"], back["changed"], back["links"]) == (1, 1, 1)
    assert signed_in("sites", "show", "Hill").code == 0
    assert signed_in("sites", "import", file, "--organisation", "nobody").code == 4
    for wrong in (("create", "Nowhere"), ("change", "Quay"), ("import", "/no/such/file")):
        assert signed_in("sites", *wrong).code == 2, wrong


def test_people_are_invited_and_sessions_ended(signed_in: Terminal, client: Any, admin: Any) -> None:
    made = signed_in.json("organisations", "invitations", "create", "acme", "--role", "viewer")
    told = signed_in("organisations", "invitations", "create", "acme", "--role", "viewer")
    assert "/invitations/" in told.out
    assert made["link"] not in told.out
    assert signed_in.json("organisations", "invitations", "list", "acme")["count"] == 2
    assert signed_in("organisations", "invitations", "withdraw", "acme", made["id"]).code == 0
    assert signed_in("organisations", "invitations", "withdraw", "acme", made["id"]).code == 1
    assert signed_in("organisations", "invitations", "create", "acme", "--role", "king").code == 2

    from core.sign_in.models import Session

    client.force_login(admin)
    row = Session.objects.get(user=admin)
    assert [each["id"] for each in signed_in.json("sessions", "list")["results"]] == [str(row.ref)]
    assert signed_in("sessions", "revoke", row.ref).code == 0
    assert signed_in("sessions", "revoke", row.ref).code == 4


def test_the_audit_trail_is_followed_by_its_keys(signed_in: Terminal, organisation: Any) -> None:
    from core.audit.models import Entry

    # One more than fits on two of the largest pages.
    Entry.objects.bulk_create(
        Entry(
            actor="harbour-operator",
            action="node.register",
            organisation_id=organisation.pk,
            object_name=f"berth-{number}",
        )
        for number in range(401)
    )
    about = ("audit", "--action", "node.register")
    first = signed_in(*about, "--page-size", "200", "--output", "json")
    assert len(first.json["results"]) == 200
    key = first.err.split("--after '")[1].split("'")[0]
    second = signed_in.json(*about, "--page-size", "200", "--after", key)
    whole = signed_in.json(*about, "--all")
    assert whole["next"] is None
    assert len({row["id"] for row in whole["results"]}) == len(whole["results"]) == 401
    assert whole["results"][:400] == [*first.json["results"], *second["results"]]
    assert signed_in("audit", "--after", "nonsense").code == 2
