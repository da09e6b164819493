"""The packet tester of a node: the verdict, what comes later, and rules in each other's way."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node


def rule(name: str, priority: int, **said: Any) -> dict[str, Any]:
    return {
        "trafficRuleId": name, "appInstanceId": "i-1", "filterType": "FLOW", "priority": priority, "action": "DROP",
        "trafficFilter": [{"dstAddress": ["203.0.113.0/24"]}], "state": "ACTIVE", "enforcement": "in-force", **said,
    }  # fmt: skip


def report(node: Node, *rules: Any) -> None:
    status = {
        "apps": [{"appInstanceId": "i-1", "appName": "video"}],
        "traffic_rules": list(rules),
        "user_plane": {"adapter": "nftables", "simulated": False},
    }
    known = {"node": node, "kind": "mep", "key": "state"}
    ReportedObject.objects.update_or_create(**known, defaults={"status": status, "reported_at": timezone.now()})


def asked(pages: Any, node: Node, status: int = 200, **packet: Any) -> str:
    packet = {"src": "10.45.0.7", "dst": "203.0.113.10", "protocol": "UDP", "src_port": 4000, "dst_port": 443} | packet
    response = pages.get(f"/nodes/{node.pk}/packet", packet)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def test_a_node_without_rules_says_so_and_sends_everything_its_way(pages: Any, make_node: Any) -> None:
    page = asked(pages, make_node("quiet"))
    assert "No rule in force is about this packet" in page
    assert "has reported no traffic rule" in page


def test_the_lowest_priority_that_matches_decides_and_the_others_are_told(
    pages: Any, make_node: Any, django_assert_max_num_queries: Any
) -> None:
    node = make_node("busy")
    edge = {"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}
    report(
        node,
        rule("later", 20),
        rule("first", 5, action="FORWARD_DECAPSULATED", dstInterface=edge),
        rule("asleep", 1, state="INACTIVE"),
        rule("elsewhere", 0, trafficFilter=[{"dstAddress": ["198.51.100.1"]}]),
    )
    with django_assert_max_num_queries(8):
        page = asked(pages, node)
    assert "Rule first of video decides, with priority 5" in page
    assert "It goes to video at 10.60.0.2, out of its tunnel." in page
    assert "come later: later (20)" in page
    assert "not active: asleep (1)" in page
    assert "Rule later never decides" in page


def test_a_rule_that_the_user_plane_refused_decides_nothing_yet(pages: Any, make_node: Any) -> None:
    node = make_node("busy")
    report(node, rule("wished", 1, enforcement="refused", reason="no tunnels here"), rule("stands", 9))
    page = asked(pages, node)
    assert "Rule stands of video decides" in page
    assert "Rule wished should decide, but is refused. no tunnels here" in page


def test_a_packet_that_is_none_is_refused_beside_its_fields(pages: Any, make_node: Any) -> None:
    page = asked(pages, make_node("busy"), 400, src="10.45.0.7", dst="fd00::1", protocol="carrier pigeon", dscp=99)
    for words in ("IPv4 address cannot talk to an IPv6", "This is no protocol", "less than or equal to 63"):
        assert words in page
    assert 'value="carrier pigeon"' in page


def test_what_a_node_reports_is_shown_but_never_trusted(pages: Any, make_node: Any) -> None:
    node = make_node("odd")
    report(
        node,
        rule("<script>alert(1)</script>", 3, trafficFilter=[{"dstAddress": ["nonsense"]}]),
        rule("none", True, trafficFilter="x", dstInterface=7),
        {"trafficRuleId": None, "priority": "high", "trafficFilter": [{"dstPort": {"a": 1}}], "state": "ACTIVE"},
        "text",
        rule("tie-a", 7, trafficFilter=[{"dstPort": ["1"]}]),
        rule("tie-b", 7, trafficFilter=[{"protocol": "UDP"}], action="PASSTHROUGH"),
    )
    page = asked(pages, node, dst_port=1)
    assert "<script>alert" not in page
    assert "It cannot be read:" in page
    assert "Rule tie-b has the same priority (7) and another end" in page
    assert "Rule tie-a of video decides" in page


def test_a_new_report_is_read_anew(pages: Any, make_node: Any) -> None:
    node = make_node("busy")
    report(node, rule("one", 1))
    assert "Rule one of video decides" in asked(pages, node)
    report(node, rule("two", 1))
    assert "Rule two of video decides" in asked(pages, node)
