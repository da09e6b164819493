"""Before another release comes, its plan says what becomes of rules that an operator changed."""

from __future__ import annotations

from typing import Any

import pytest

from mecm.deployments import services as deployments
from mecm.steering import services, upgrading
from tests.mecm.steering.conftest import BODY, DNS, TRAFFIC

OTHER = {**TRAFFIC, "priority": 77}


@pytest.mark.parametrize(
    ("own", "wish", "code"),
    [
        (None, {"rule": None}, "rule-lost"),
        (None, {"rule": BODY}, "rule-lost"),
        (None, {"rule": BODY, "made": True}, ""),
        (TRAFFIC, {"rule": None}, ""),
        (TRAFFIC, {"rule": {**BODY, "priority": 3}}, ""),
        (OTHER, {"rule": {**BODY, "priority": 3}}, "rule-differs"),
        (OTHER, {"rule": {**BODY, "priority": 77}}, ""),
        (TRAFFIC, {"rule": {**BODY, "priority": 3}, "made": True, "base": None}, "rule-meets"),
        (TRAFFIC, {"rule": BODY, "made": True, "base": None}, ""),
    ],
)
def test_what_becomes_of_a_changed_rule(own: Any, wish: dict[str, Any], code: str) -> None:
    assert upgrading.judge("traffic", own, **{"base": TRAFFIC, "made": False, **wish}) == code


def previewed(app: Any, package: Any) -> list[tuple[str, str]]:
    places = [(app.node, app, app.name)]
    (found,) = deployments.preview(places, package, organisation=app.organisation, values=None)
    assert found.action == "upgrade"
    return [(each.code, each.message) for each in found.placement.remarks if each.code.startswith("rule-")]


def test_the_plan_names_each_rule_that_would_be_lost_or_meets_another(app: Any, make_package: Any, actor: Any) -> None:
    services.set_rule(app, "traffic", "video", actor=actor, rule={**BODY, "priority": 3})
    services.set_rule(app, "dns", "name", actor=actor, state="INACTIVE")
    services.add_rule(app, "dns", "extra", actor=actor, rule={**DNS, "domainName": "extra.example"})
    same = make_package("3.1.0", appTrafficRule=[TRAFFIC], appDNSRule=[DNS])
    assert previewed(app, same) == []
    other = make_package("4.0.0", appTrafficRule=[OTHER], appDNSRule=[{**DNS, "dnsRuleId": "extra"}])
    told = previewed(app, other)
    assert [code for code, _ in told] == ["rule-meets", "rule-lost", "rule-differs"]
    assert "DNS rule 'name' was changed by an operator and this release has none of that id" in told[1][1]


def test_all_nodes_of_a_rollout_are_looked_up_by_one_query(
    app: Any, make_package: Any, make_node: Any, deploy: Any, actor: Any, django_assert_num_queries: Any
) -> None:
    second = deploy(node=make_node("second"), package=app.package)
    for each in (app, second):
        services.set_rule(each, "traffic", "video", actor=actor, state="INACTIVE")
    bare = make_package("5.0.0")
    with django_assert_num_queries(1):
        found = upgrading.consequences(bare, [app.pk, second.pk])
    assert {key: [each.code for each in many] for key, many in found.items()} == {
        app.pk: ["rule-lost"],
        second.pk: ["rule-lost"],
    }
