"""Rules of a deployed application on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Terminal

pytestmark = pytest.mark.django_db


@pytest.fixture
def hello(actor: Any, organisation: Any, make_node: Any, make_package: Any) -> Any:
    """A deployed application with a traffic rule and a DNS rule."""
    from mecm.deployments import services

    return services.request(
        actor=actor, organisation=organisation, node=make_node(), package=make_package(), name="hello"
    )


def test_rules_are_seen_changed_added_given_back_and_removed(signed_in: Terminal, hello: Any) -> None:
    assert "tr-1" in signed_in("rules", "list", "berth-7").out
    changed = signed_in.json("rules", "set", "hello", "tr-1", "--priority", "9", "--port", "443", "--state", "inactive")
    assert (changed["rule"]["priority"], changed["wished_state"], changed["source"]) == (9, "INACTIVE", "changed")
    assert changed["rule"]["trafficFilter"] == [{"dstPort": ["443"]}]
    assert changed["rule"]["dstInterface"] == changed["package_rule"]["dstInterface"]
    sip = ("--priority", "2", "--protocol", "udp", "--port", "5060", "--action", "drop")
    assert signed_in.json("rules", "add", "hello", "sip", *sip)["source"] == "added"
    assert [row["id"] for row in signed_in.json("rules", "list", "hello", "--deployment")["results"]] == ["sip", "tr-1"]
    assert signed_in.json("rules", "reset", "hello", "tr-1")["results"][1]["source"] == "package"
    assert signed_in("rules", "remove", "hello", "sip").code == 2, "it asks first"
    assert signed_in("rules", "remove", "hello", "sip", "--yes").code == 0
    assert signed_in("rules", "show", "hello", "sip").code == 4


def test_dns_rules_are_set_by_options_or_by_a_file(signed_in: Terminal, hello: Any) -> None:
    found = signed_in.json("rules", "set", "hello", "dns-1", "--dns", "--address", "fd00::9")
    assert (found["rule"]["ipAddressType"], found["rule"]["domainName"]) == ("IP_V6", "hello.example")
    rule = json.dumps({"domainName": "b.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.3"})
    assert signed_in("rules", "add", "hello", "b", "--dns", "--file", "-", stdin=rule).code == 0
    assert signed_in("rules", "set", "hello", "b", "--dns", "--priority", "3").code == 2
    assert signed_in("rules", "set", "hello", "b", "--dns", "--state", "perhaps").code == 2
    assert signed_in("rules", "set", "hello", "tr-1", "--priority", "1", "--expected", "0").code == 1


def test_a_dns_rule_is_for_a_scope_for_everybody_or_as_the_node_says(signed_in: Terminal, hello: Any) -> None:
    change = ("rules", "set", "hello", "dns-1", "--dns")
    assert signed_in.json(*change, "--scope", "vip")["rule"]["scope"] == "vip"
    assert "hello.example is 192.0.2.9 for vip" in signed_in("rules", "list", "hello", "--deployment", "--dns").out
    assert signed_in.json(*change, "--ttl", "7")["rule"]["scope"] == "vip", "what is not named stays"
    assert signed_in.json(*change, "--scope", "")["rule"]["scope"] == ""
    assert "scope" not in signed_in.json(*change, "--scope", "-")["rule"]
    made = signed_in.json("rules", "add", "hello", "b", "--dns", "--domain", "b.example", "--address", "192.0.2.3",
                          "--scope", "harbour")  # fmt: skip
    assert made["rule"]["scope"] == "harbour"
    assert signed_in(*change, "--scope", "no scope!").code == 2
    assert signed_in("rules", "set", "hello", "tr-1", "--scope", "vip").code == 2


def test_a_packet_is_tried_with_a_draft(signed_in: Terminal, hello: Any, tmp_path: Any) -> None:
    packet = ("--from", "10.45.0.7", "--to", "203.0.113.9", "--port", "5060")
    assert signed_in("rules", "test", "berth-7", *packet).code == 1, "no rule is about it"
    draft = tmp_path / "rule.yaml"
    draft.write_text("filterType: FLOW\npriority: 1\ntrafficFilter: [{dstPort: ['5060']}]\naction: DROP\n")
    told = signed_in("rules", "test", "berth-7", *packet, "--draft", draft, "--deployment", "hello")
    assert (told.code, told.out.strip()) == (0, "Rule draft of hello decides, with priority 1. It is dropped.")
