"""What operators want of rules becomes a wish of its own for the node, and what the node says about it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Stale
from mecm.deployments import services as deployments
from mecm.edge import reports
from mecm.edge.models import DesiredObject, NodeSync
from mecm.steering import services, table
from mecm.steering.models import RuleSet, RuleWish
from tests.mecm.steering.conftest import BODY, DNS, PLANE, TRAFFIC
from upf_adapter.contract import Refused


def wished(app: Any) -> dict[str, Any]:
    return dict(DesiredObject.objects.get(kind="rules", key=str(app.pk)).spec)


def line(app: Any, kind: str = "traffic", rule_id: str = "video") -> table.Line:
    found = table.one(table.told_by(app.node_id), app, kind, rule_id)
    assert found is not None
    return found


def told(app: Any, generation: int, state: str, *rules: dict[str, str], node: Any = None, **more: Any) -> None:
    NodeSync.objects.get_or_create(node=node or app.node)
    item = {
        "kind": "rules", "key": str(app.pk), "observed_generation": generation, "seq": generation,
        "status": {"state": state, "rules": list(rules), **more},
    }  # fmt: skip
    reports.take(node or app.node, f"box-{generation}", generation, [item])


def test_a_changed_rule_is_a_wish_with_a_generation_of_its_own_and_the_app_is_left_alone(app: Any, actor: Any) -> None:
    before = DesiredObject.objects.get(kind="app", key=str(app.pk))
    held = services.set_rule(app, "traffic", "video", actor=actor, rule={**BODY, "priority": 3}, state="ACTIVE")
    assert wished(app) == {
        "appInstanceId": str(app.app_instance_id),
        "traffic": {"video": {"rule": {**BODY, "priority": 3}, "state": "ACTIVE", "made": False}},
        "dns": {},
    }
    assert (held.generation, held.state) == (1, "pending")
    after = DesiredObject.objects.get(kind="app", key=str(app.pk))
    assert (after.rev, after.generation) == (before.rev, before.generation)
    entry = Entry.objects.get(action="rule.set")
    assert entry.facts == {
        "kind": "traffic", "rule": "video", "generation": 1, "priority": 3, "does": BODY["action"], "state": "ACTIVE",
    }  # fmt: skip


def test_the_same_wish_again_is_no_other_generation_and_the_packages_own_words_are_no_change(
    app: Any, actor: Any
) -> None:
    for _ in range(2):
        assert services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE").generation == 1
    assert services.set_rule(app, "traffic", "video", actor=actor, rule=TRAFFIC).generation == 1
    assert services.set_rule(app, "traffic", "video", actor=actor, state="").generation == 2
    assert not RuleWish.objects.exists()


def test_rules_are_added_and_removed_changed_and_given_back(app: Any, actor: Any) -> None:
    services.add_rule(app, "dns", "extra", actor=actor, rule={**DNS, "domainName": "Extra.Example."})
    assert wished(app)["dns"]["extra"]["rule"]["domainName"] == "extra.example"
    assert line(app, "dns", "extra").source == "added"
    with pytest.raises(Conflict, match="already"):
        services.add_rule(app, "dns", "name", actor=actor, rule=DNS)
    with pytest.raises(Conflict, match="added here"):
        services.reset_rule(app, "dns", "extra", actor=actor)
    with pytest.raises(Conflict, match="comes with the package"):
        services.remove_rule(app, "dns", "name", actor=actor)
    with pytest.raises(Conflict, match="as the package says"):
        services.reset_rule(app, "dns", "name", actor=actor)
    with pytest.raises(Missing):
        services.set_rule(app, "dns", "never", actor=actor, state="ACTIVE")
    services.set_rule(app, "dns", "name", actor=actor, rule={**DNS, "ttl": 5})
    services.reset_rule(app, "dns", "name", actor=actor)
    services.remove_rule(app, "dns", "extra", actor=actor)
    assert wished(app)["dns"] == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"priority": 256}, "priority"),
        ({"trafficFilter": [{"dstAddress": ["nowhere"]}]}, "trafficFilter[0].dstAddress"),
        ({"action": "DROP"}, "dstInterface"),
        ({"action": "TELEPORT"}, "action"),
    ],
)
def test_a_rule_that_the_platform_would_not_take_is_refused_with_its_place(
    app: Any, actor: Any, change: Any, field: str
) -> None:
    with pytest.raises(Invalid) as problem:
        services.set_rule(app, "traffic", "video", actor=actor, rule={**BODY, **change})
    assert problem.value.context["errors"][0]["field"] == field
    assert not RuleWish.objects.exists()


def test_what_the_nodes_user_plane_cannot_do_is_refused_in_its_words(app: Any, actor: Any, report: Any) -> None:
    wish = {**BODY, "trafficFilter": [{"qCI": 9}]}
    report(app)
    with pytest.raises(Refused, match="the user plane nftables cannot match qCI"):
        services.set_rule(app, "traffic", "video", actor=actor, rule=wish)
    report(app, plane={"adapter": "old", "simulated": False})
    assert services.set_rule(app, "traffic", "video", actor=actor, rule=wish).generation == 1


def test_somebody_who_was_slower_is_told(app: Any, actor: Any) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE", expected=0)
    with pytest.raises(Stale):
        services.set_rule(app, "traffic", "video", actor=actor, state="ACTIVE", expected=0)


def test_who_may_not_change_nodes_may_not_steer_their_traffic(app: Any, make_user: Any, organisation: Any) -> None:
    from core.accounts.access import Actor

    with pytest.raises(Denied):
        services.set_rule(
            app, "traffic", "video", actor=Actor(make_user("dev", organisation, "developer")), state="INACTIVE"
        )


def test_what_became_of_a_wish_is_taken_from_its_own_node_and_generation_only(
    app: Any, actor: Any, make_node: Any
) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE")
    services.set_rule(app, "dns", "name", actor=actor, state="INACTIVE")
    refusal = {"kind": "traffic", "id": "video", "outcome": "refused", "reason": "no tunnels here"}
    told(app, 1, "applied")
    told(app, 2, "applied", node=make_node("berth-8"))
    assert line(app).outcome == "pending"
    told(app, 2, "refused", refusal, {"kind": "dns", "id": "name", "outcome": "applied", "reason": ""})
    assert (line(app).outcome, line(app).reason) == ("refused", "no tunnels here")
    assert line(app, "dns", "name").outcome == "applied"


def test_an_agent_that_is_too_old_is_said_to_be(app: Any, actor: Any) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE")
    told(app, 1, "failed", reason="Unsupported", message="this agent knows nothing of the kind rules")
    assert (line(app).outcome, "too old" in line(app).reason) == ("failed", True)


def test_a_change_to_a_rule_that_the_next_release_does_not_have_is_shown_as_lost_and_comes_back(
    app: Any, actor: Any, make_package: Any
) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE")
    deployments.upgrade(app, actor=actor, package=make_package("4.0.0", appDNSRule=[DNS]))
    app.refresh_from_db()
    assert (line(app).source, line(app).outcome) == ("lost", "lost")
    assert wished(app)["traffic"]["video"]["state"] == "INACTIVE"
    deployments.rollback(app, actor=actor, to=1)
    app.refresh_from_db()
    assert line(app).source == "changed"
    deployments.upgrade(app, actor=actor, package=app.package.__class__.objects.get(version="4.0.0"))
    app.refresh_from_db()
    services.reset_rule(app, "traffic", "video", actor=actor)
    assert table.one(table.told_by(app.node_id), app, "traffic", "video") is None


def test_a_release_that_says_something_else_than_what_was_changed_is_noticed(
    app: Any, actor: Any, make_package: Any
) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, rule={**BODY, "priority": 3})
    assert not line(app).based_on_older
    deployments.upgrade(app, actor=actor, package=make_package("4.0.0", appTrafficRule=[{**TRAFFIC, "priority": 50}]))
    app.refresh_from_db()
    assert line(app).based_on_older
    assert line(app).rule["priority"] == 3


def test_the_wish_leaves_the_node_with_the_deployment(app: Any, actor: Any) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE")
    removed = deployments.remove(app, actor=actor)
    assert not DesiredObject.objects.get(kind="rules").deleted
    with pytest.raises(Conflict, match="being removed"):
        services.set_rule(app, "traffic", "video", actor=actor, state="ACTIVE")
    deployments.observe(app.pk, removed.generation, {"state": "absent"})
    assert DesiredObject.objects.get(kind="rules").deleted


def test_a_cluster_without_a_platform_has_nobody_who_keeps_rules(actor: Any, deploy: Any, make_node: Any) -> None:
    app = deploy(node=make_node("cluster", link="direct"), name="there")
    with pytest.raises(Conflict, match="knows no MEC platform there"):
        services.add_rule(app, "traffic", "mine", actor=actor, rule=BODY)


def test_a_rule_as_the_node_has_it_shows_its_state_and_what_it_counted(app: Any, report: Any) -> None:
    live = {**TRAFFIC, "state": "ACTIVE", "enforcement": "in-force", "origin": "descriptor"}
    report(app, traffic=[live, {**live, "trafficRuleId": "local", "origin": "operator"}], counts=[["video", 12, 3400]])
    rows = table.lines(table.told_by(app.node_id), [app], "traffic")
    assert [(each.rule_id, each.source) for each in rows] == [("local", "node"), ("video", "package")]
    assert (rows[1].state, rows[1].enforcement, rows[1].packets, rows[1].octets) == ("ACTIVE", "in-force", 12, 3400)


def test_a_report_that_is_no_report_is_no_trouble(app: Any, actor: Any, report: Any) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, state="INACTIVE")
    told(app, 1, "applied", "x", {"id": 7}, message=[1])  # type: ignore[arg-type]
    report(app, traffic=[{"trafficRuleId": None, "priority": "high"}], counts=[["video", "many", 1]], plane=PLANE)
    assert len(table.lines(table.told_by(app.node_id), [app], "traffic")) == 2
    assert RuleSet.objects.get().state == "applied"
