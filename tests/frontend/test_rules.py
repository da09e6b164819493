"""Rules on pages: the list of a node and of a deployment, the builder with its preview, and what is done at once."""

from __future__ import annotations

from typing import Any

import pytest

from mecm.steering import services
from mecm.steering.models import RuleSet, RuleWish
from tests.frontend.test_steering import report

FIELDS = {
    "priority": "5", "filter_type": "FLOW", "protocols": "UDP", "src": "10.45.0.0/16", "dst_ports": "5060",
    "action": "FORWARD_DECAPSULATED", "interface": "IP", "to": "192.0.2.9", "state": "", "generation": "0",
}  # fmt: skip
PACKET = {
    "packet-src": "10.45.0.7", "packet-dst": "192.0.2.1", "packet-protocol": "UDP", "packet-src_port": "4000",
    "packet-dst_port": "5060", "packet-dscp": "0",
}  # fmt: skip


def text(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-2000:]
    return " ".join(response.content.decode().split())


def tell(deployment: Any, *rules: Any, **plane: Any) -> None:
    """Let the node report rules of the deployment."""
    from mecm.edge.models import ReportedObject

    report(deployment.node, *({**each, "appInstanceId": str(deployment.app_instance_id)} for each in rules))
    row = ReportedObject.objects.get(node=deployment.node, key="state")
    row.status["user_plane"] |= plane
    row.save()


LIVE = {
    "trafficRuleId": "tr-1", "filterType": "FLOW", "priority": 3, "trafficFilter": [{"dstAddress": ["192.0.2.0/24"]}],
    "action": "FORWARD_DECAPSULATED", "dstInterface": {"interfaceType": "IP", "dstIpAddress": "192.0.2.9"},
    "state": "ACTIVE", "enforcement": "in-force",
}  # fmt: skip


def test_the_list_says_what_each_rule_does_and_how_it_is(pages: Any, deployment: Any) -> None:
    tell(deployment, LIVE, {**LIVE, "trafficRuleId": "local"})
    page = text(pages.get(f"/nodes/{deployment.node_id}/rules"))
    assert "Everything to 192.0.2.0/24 goes to hello at 192.0.2.9" in page
    assert "in force" in page
    assert "made on the node" in page
    dns = text(pages.get(f"/deployments/{deployment.pk}/rules?kind=dns"))
    assert "Who asks for the IPv4 address of hello.example is told 192.0.2.9" in dns
    assert "not on the node" in dns


def test_a_rule_is_switched_given_back_and_removed_from_the_list(pages: Any, deployment: Any, actor: Any) -> None:
    at = f"/deployments/{deployment.pk}/rules/traffic"
    assert pages.post(f"{at}/tr-1/switch", {"state": "INACTIVE"}).status_code == 302
    page = text(pages.get(f"/deployments/{deployment.pk}/rules"))
    assert "The wish is on its way" in page
    assert ">changed<" in page
    assert ">waiting<" in page
    assert pages.post(f"{at}/tr-1/reset", {"back": "node"}).url.startswith(f"/nodes/{deployment.node_id}/rules")
    services.add_rule(deployment, "traffic", "mine", actor=actor, rule={**LIVE, "trafficRuleId": "mine"})
    assert pages.post(f"{at}/mine/remove").status_code == 302
    assert not RuleWish.objects.exists()
    assert "comes with the package" in text(pages.post(f"{at}/tr-1/remove", follow=True))


def test_the_form_shows_what_a_rule_says_and_what_it_does(pages: Any, deployment: Any) -> None:
    page = text(pages.get(f"/deployments/{deployment.pk}/rules/traffic/tr-1"))
    for words in (
        'value="3"',
        'value="192.0.2.0/24"',
        "Everything to 192.0.2.0/24 goes to hello at 192.0.2.9.",
        "flow-box-mine",
        "in no other rule",
    ):
        assert words in page


def test_a_new_rule_is_previewed_without_scripts_and_saved(pages: Any, deployment: Any) -> None:
    at = f"/deployments/{deployment.pk}/new-rule/traffic"
    assert 'value="192.0.2.9"' in text(pages.get(at)), "the application's address is suggested"
    tell(deployment, LIVE)
    seen = text(pages.post(at, {**FIELDS, **PACKET, "rule_id": "sip", "preview": "yes"}))
    assert "UDP from 10.45.0.0/16 to port 5060 goes to hello at 192.0.2.9." in seen
    assert "The packet: rule tr-1 of hello decides, with priority 3" not in seen  # its app is named by the report
    assert "rule tr-1 of" in seen
    assert not RuleSet.objects.exists()
    assert pages.post(at, {**FIELDS, "rule_id": "sip"}).url == f"/deployments/{deployment.pk}/rules?kind=traffic"
    wish = RuleWish.objects.get()
    assert (wish.rule_id, wish.made, wish.rule["priority"]) == ("sip", True, 5)
    assert wish.rule["trafficFilter"] == [{"srcAddress": ["10.45.0.0/16"], "dstPort": ["5060"], "protocol": ["UDP"]}]


def test_the_packet_tester_has_the_rule_that_is_written_among_the_others(pages: Any, deployment: Any) -> None:
    tell(deployment, LIVE)
    at = f"/deployments/{deployment.pk}/preview-rule/traffic"
    assert "Rule id: This field is required." in text(pages.post(at, {**FIELDS, "rule_id": ""}))
    seen = text(pages.post(at, {**FIELDS, **PACKET, "priority": "1", "rule_id": "sip"}))
    assert "The packet: this rule decides" in seen
    assert "These match as well, but come later: tr-1 (3)" in seen
    off = text(pages.post(at, {**FIELDS, **PACKET, "priority": "1", "rule_id": "sip", "state": "INACTIVE"}))
    assert "Nothing of this happens while the rule is switched off" in off
    assert "The packet: rule tr-1" in off


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            {"priority": "1", "src": "", "protocols": "", "dst_ports": "", "everything": "on"},
            "would never decide any more",
        ),
        ({"priority": "3", "to": "192.0.2.77", "rule_id": "zz"}, "the same priority (3) and another end"),
        ({"priority": "9", "src": "", "dst": "192.0.2.4", "to": "192.0.2.1"}, "This rule would never decide"),
    ],
)
def test_what_a_rule_is_in_the_way_of_is_named_before_it_is_saved(
    pages: Any, deployment: Any, typed: dict[str, str], words: str
) -> None:
    drop = {key: value for key, value in LIVE.items() if key != "dstInterface"} | {"action": "DROP"}
    tell(deployment, drop)
    at = f"/deployments/{deployment.pk}/preview-rule/traffic"
    assert words in text(pages.post(at, {**FIELDS, "rule_id": "aa", **typed}))


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"src": "nowhere"}, "src"),
        ({"dst_ports": "99999"}, "dst_ports"),
        ({"src": "", "protocols": "", "dst_ports": ""}, "everything"),
        ({"action": "DROP"}, "to"),
        ({"to": ""}, "to"),
        ({"more": "{"}, "more"),
        ({"more": '[{"qCI": 300}]'}, "more"),
        ({"priority": "256"}, "priority"),
        ({"rule_id": "a/b"}, "rule_id"),
        ({"interface": "MAC", "to": "aa:bb:cc:dd:ee:ff"}, "to"),
        ({"action": "FORWARD_ENCAPSULATED"}, "action"),
        ({"protocols": "UPD"}, "protocols"),
        ({"protocols": "256", "dst_ports": ""}, "protocols"),
        ({"protocols": "ICMP"}, "protocols"),
        ({"dst": "2001:db8::/32"}, "dst"),
        ({"tc": "3"}, "tc"),
        ({"src": "fd45::/64", "dscp": "3"}, "dscp"),
        ({"src": "", "tc": "3", "dscp": "3"}, "tc"),
        ({"more": '[{"protocol": ["TCP"]}, {"protocol": ["TCP"]}]'}, "more"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    pages: Any, deployment: Any, typed: dict[str, str], field: str
) -> None:
    can = {
        "actions": ["DROP", "FORWARD_DECAPSULATED"], "filters": ["srcAddress", "dstPort", "protocol", "dstAddress"],
        "interfaces": ["IP"], "filterTypes": ["FLOW"], "families": [4],
    }  # fmt: skip
    tell(deployment, capabilities=can)
    page = text(
        pages.post(f"/deployments/{deployment.pk}/new-rule/traffic", {**FIELDS, "rule_id": "sip", **typed}), 400
    )
    assert f'id="id_{field}_error"' in page
    assert not RuleWish.objects.exists()


def test_a_rule_beyond_the_form_keeps_what_it_cannot_show(
    pages: Any, deployment: Any, actor: Any, noted_templates: None
) -> None:
    rule = {
        "filterType": "PACKET", "priority": 1, "action": "DUPLICATE_DECAPSULATED",
        "trafficFilter": [{"tag": ["gold"]}, {"dSCP": 46}],
        "dstInterface": [
            {"interfaceType": "MAC", "srcMacAddress": "02:00:00:00:00:01", "dstMacAddress": "02:00:00:00:00:02"},
            {"interfaceType": "IP", "dstIpAddress": "192.0.2.8"},
        ],
    }  # fmt: skip
    services.add_rule(deployment, "traffic", "odd one", actor=actor, rule=rule)
    page = pages.get(f"/deployments/{deployment.pk}/rules/traffic/odd one")
    form = page.context["form"]
    typed = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    typed.pop("everything")
    assert pages.post(page.request["PATH_INFO"], {**typed, "generation": "1"}).status_code == 302
    assert RuleWish.objects.get().rule == rule
    assert RuleSet.objects.get().generation == 1


def test_a_dns_rule_is_written_and_wrong_names_are_refused(pages: Any, deployment: Any) -> None:
    at = f"/deployments/{deployment.pk}/rules/dns/dns-1"
    typed = {"name": "hello.example", "address": "192.0.2.44", "ttl": "5", "state": "ACTIVE", "generation": "0"}
    preview = f"/deployments/{deployment.pk}/preview-rule/dns?rule=dns-1"
    assert "is told 192.0.2.44" in text(pages.post(preview, typed))
    assert 'id="id_name_error"' in text(pages.post(at, {**typed, "name": "-bad-"}), 400)
    assert pages.post(at, typed).status_code == 302
    assert RuleWish.objects.get().rule["ipAddress"] == "192.0.2.44"
    stale = text(pages.post(at, {**typed, "ttl": "6"}), 412)
    assert "Somebody else changed rules" in stale


VIP = {"name": "vip", "kind": "ue", "networks": ["10.45.0.7/32"], "prefixes": 1}
NAMED = {"name": "hello.example", "address": "192.0.2.44", "ttl": "", "state": "", "generation": "0"}


def tell_names(deployment: Any, *rules: Any, **more: Any) -> None:
    """Let the node report DNS rules and, in `dns_scopes`, its scopes."""
    from mecm.edge.models import ReportedObject

    tell(deployment)
    row = ReportedObject.objects.get(node=deployment.node, key="state")
    row.status |= {"dns_rules": list(rules), **more}
    row.save()


def test_a_dns_rule_is_written_for_a_scope_of_the_node_and_keeps_it(pages: Any, deployment: Any) -> None:
    tell_names(deployment, dns_scopes=[VIP])
    at = f"/deployments/{deployment.pk}/rules/dns/dns-1"
    assert '<option value="vip">the UE scope vip (10.45.0.7/32)</option>' in text(pages.get(at))
    assert 'id="id_scope_error"' in text(pages.post(at, {**NAMED, "scope": "other"}), 400)
    assert pages.post(at, {**NAMED, "scope": "vip"}).status_code == 302
    assert RuleWish.objects.get().rule["scope"] == "vip"
    page = text(pages.get(at))
    assert '<option value="vip" selected>' in page
    assert "Who asks from the scope vip for the IPv4 address of hello.example is told 192.0.2.44." in page
    assert pages.post(at, {**NAMED, "scope": "*", "generation": "1"}).status_code == 302
    assert RuleWish.objects.get().rule["scope"] == ""
    assert '<option value="*" selected>' in text(pages.get(at))
    assert pages.post(at, {**NAMED, "scope": "", "generation": "2"}).status_code == 302
    assert "scope" not in RuleWish.objects.get().rule


def test_a_scope_that_was_set_through_the_api_survives_the_form_also_where_the_node_tells_none(
    pages: Any, deployment: Any, actor: Any
) -> None:
    rule = {"domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.44", "scope": "harbour"}
    services.set_rule(deployment, "dns", "dns-1", actor=actor, rule=rule)
    page = pages.get(f"/deployments/{deployment.pk}/rules/dns/dns-1")
    assert '<option value="harbour" selected>the scope harbour</option>' in text(page)
    typed = {**NAMED, "scope": "harbour", "ttl": "9", "generation": "1"}
    assert pages.post(page.request["PATH_INFO"], typed).status_code == 302
    assert RuleWish.objects.get().rule == {**rule, "ttl": 9}


def test_rules_about_one_name_are_judged_scope_by_scope_and_drawn(pages: Any, deployment: Any) -> None:
    other = {
        "appInstanceId": "someone-else", "dnsRuleId": "theirs", "domainName": "hello.example", "ipAddressType": "IP_V4",
        "ipAddress": "192.0.2.99", "state": "ACTIVE",
    }  # fmt: skip
    at = f"/deployments/{deployment.pk}/preview-rule/dns?rule=dns-1"
    tell_names(deployment, {**other, "scope": "vip"}, dns_scopes=[VIP])
    seen = text(pages.post(at, {**NAMED, "scope": "*"}))
    assert "Rule theirs of someone-else says 192.0.2.99 about this name, for the UE scope vip" in seen
    assert "get that answer, not this one" in seen
    assert "get this answer" not in seen
    assert seen.count("flow-box-mine") == 2, "in both layouts"
    assert seen.index("The UE scope vip") < seen.index(">Everybody<") < seen.index("Every other name")
    assert "to the name server and its scopes" in seen
    assert "they are told both" in text(pages.post(at, {**NAMED, "scope": "vip"}))
    tell_names(deployment, {**other, "scope": ""}, dns_scopes=[VIP])
    assert "get this answer" in text(pages.post(at, {**NAMED, "scope": "vip"}))


def test_an_answer_for_a_scope_that_the_node_has_not_is_said_to_reach_nobody(
    pages: Any, deployment: Any, actor: Any
) -> None:
    rule = {"domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.44", "scope": "gone"}
    services.set_rule(deployment, "dns", "dns-1", actor=actor, rule=rule)
    at = f"/deployments/{deployment.pk}/rules/dns/dns-1"
    assert "nobody gets this answer" not in text(pages.get(at)), "a node that tells no scopes is not guessed about"
    tell_names(deployment, dns_scopes=[VIP])
    assert "The node has no scope gone: nobody gets this answer until it has one." in text(pages.get(at))


def test_giving_a_scope_back_says_who_gets_the_answer_then(pages: Any, deployment: Any, actor: Any) -> None:
    rule = {"domainName": "hello.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.44", "scope": "vip"}
    services.set_rule(deployment, "dns", "dns-1", actor=actor, rule=rule)
    page = text(pages.get(f"/deployments/{deployment.pk}/rules?kind=dns"))
    assert "Who gets its answer changes from the scope vip to everybody." in page


def test_a_lost_change_is_shown_and_can_be_forgotten(
    pages: Any, deployment: Any, actor: Any, make_package: Any
) -> None:
    from mecm.deployments import services as deployments

    services.set_rule(deployment, "traffic", "tr-1", actor=actor, state="INACTIVE")
    bare = make_package("hello", "2.0.0", descriptor={"appName": "hello", "appProvider": "Acme"})
    deployments.upgrade(deployment, actor=actor, package=bare)
    page = text(pages.get(f"/deployments/{deployment.pk}/rules?show=trouble"))
    assert "The present release has no such rule" in page
    assert "Forget it" in page


def test_giving_a_rule_back_asks_with_what_changes_and_notices_who_was_faster(
    pages: Any, deployment: Any, actor: Any
) -> None:
    rule = {**LIVE, "priority": 9, "action": "DROP", "dstInterface": None}
    services.set_rule(deployment, "traffic", "tr-1", actor=actor, rule=rule, state="INACTIVE")
    for page in (f"/deployments/{deployment.pk}/rules", f"/deployments/{deployment.pk}/rules/traffic/tr-1"):
        shown = text(pages.get(page))
        assert "Let rule tr-1 of hello be as the package says?" in shown
        assert "Now: Everything to 192.0.2.0/24 is dropped. Then: Everything to 192.0.2.0/24 goes to hello" in shown
        assert "Its priority changes from 9 to 3." in shown
        assert "It was switched off here" in shown
    services.set_rule(deployment, "traffic", "tr-1", actor=actor, rule={**rule, "priority": 8})
    at = f"/deployments/{deployment.pk}/rules/traffic/tr-1/reset"
    asked = text(pages.post(at, {"generation": "1", "back": "node"}), 412)
    assert "from 8 to 3" in asked
    assert 'name="generation" value="2"' in asked
    assert RuleWish.objects.exists()
    answer = pages.post(at, {"generation": "2", "back": "node"})
    assert answer.url == f"/nodes/{deployment.node_id}/rules?kind=traffic"
    assert not RuleWish.objects.exists()
    assert "Nothing of rule" in text(pages.post(at, {"generation": "3"}, follow=True))
    assert pages.post(at, {"generation": "many"}).status_code == 400


def test_a_cluster_without_a_platform_says_so_and_offers_nothing(
    pages: Any, make_node: Any, actor: Any, organisation: Any, make_package: Any
) -> None:
    from mecm.deployments import services as deployments

    bare = make_package("bare", descriptor={"appName": "bare", "appProvider": "Acme"})
    cluster = make_node("cluster", link="direct")
    made = deployments.request(actor=actor, organisation=organisation, node=cluster, package=bare, name="there")
    page = text(pages.get(f"/deployments/{made.pk}/rules"))
    assert "knows no MEC platform there" in page
    assert "Add a traffic rule" not in page
    assert "Switch off" not in page


def test_hostile_reports_are_text(pages: Any, deployment: Any) -> None:
    tell(deployment, {**LIVE, "trafficRuleId": "<b>x", "trafficFilter": "zzz", "priority": None, "reason": "<script>"})
    page = text(pages.get(f"/nodes/{deployment.node_id}/rules"))
    assert "<script>" not in page.replace('<script src="', "").replace("<script defer", "")
    assert "&lt;b&gt;x" in page


def test_many_rules_cost_no_more_queries(pages: Any, deployment: Any, django_assert_max_num_queries: Any) -> None:
    tell(deployment, *({**LIVE, "trafficRuleId": f"r{number}"} for number in range(120)))
    with django_assert_max_num_queries(12):
        text(pages.get(f"/nodes/{deployment.node_id}/rules?page=2&q=r"))
    with django_assert_max_num_queries(12):
        text(pages.get(f"/deployments/{deployment.pk}/rules/traffic/tr-1"))
