"""Rules and the packet tester over HTTP."""

from __future__ import annotations

from typing import Any

from tests.mecm.steering.conftest import BODY, DNS, TRAFFIC


def test_a_rule_is_listed_changed_added_reset_and_removed(app: Any, api: Any, report: Any) -> None:
    report(app, traffic=[{**TRAFFIC, "state": "ACTIVE", "enforcement": "in-force"}], counts=[["video", 5, 600]])
    at = f"/api/v1/deployments/{app.pk}/rules/traffic"
    listed = api.get(at).json()
    assert (listed["count"], listed["generation"], listed["unsupported"]) == (1, 0, "")
    assert listed["results"][0]["source"] == "package"
    assert listed["results"][0]["packets"] == 5

    changed = api.patch(f"{at}/video", {"rule": {**BODY, "priority": 2}, "expected": 0}, format="json")
    assert (changed.status_code, changed.json()["source"], changed.json()["outcome"]) == (202, "changed", "pending")
    assert changed.json()["package_rule"]["priority"] == 20
    assert api.patch(f"{at}/video", {"state": "INACTIVE", "expected": 0}, format="json").status_code == 412

    made = api.post(at, {"id": "my rule", "rule": {**BODY, "priority": 1}, "state": "INACTIVE"}, format="json")
    assert (made.status_code, made.json()["wished_state"]) == (202, "INACTIVE")
    assert [each["id"] for each in api.get(f"/api/v1/nodes/{app.node_id}/rules/traffic").json()["results"]] == [
        "my rule", "video",
    ]  # fmt: skip
    assert api.delete(f"{at}/video").status_code == 409
    assert api.delete(f"{at}/my%20rule").status_code == 204
    assert api.post(f"{at}/video/reset").json()["results"][0]["source"] == "package"
    assert api.get(f"{at}/nothing").status_code == 404


def test_dns_records_are_changed_the_same_way(app: Any, api: Any) -> None:
    at = f"/api/v1/deployments/{app.pk}/rules/dns"
    changed = api.patch(
        f"{at}/name", {"rule": {**DNS, "ipAddress": "fd00::7", "ipAddressType": "IP_V6"}}, format="json"
    )
    assert changed.json()["rule"]["ipAddress"] == "fd00::7"
    wrong = api.patch(f"{at}/name", {"rule": {**DNS, "ipAddress": "fd00::7"}}, format="json")
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "ipAddress"
    assert [each["id"] for each in api.get(f"/api/v1/nodes/{app.node_id}/rules/dns").json()["results"]] == ["name"]


def test_the_packet_tester_says_who_decides_and_tries_a_draft(app: Any, api: Any, report: Any) -> None:
    report(app, traffic=[{**TRAFFIC, "state": "ACTIVE", "enforcement": "in-force"}])
    at = f"/api/v1/nodes/{app.node_id}/packet-test"
    packet = {"src": "10.45.0.7", "dst": "203.0.113.9", "protocol": "UDP", "src_port": 4000, "dst_port": 5060}
    assert api.post(at, packet, format="json").json()["decides"]["id"] == "video"
    drop = {"filterType": "FLOW", "priority": 1, "trafficFilter": [{"dstPort": ["5060"]}], "action": "DROP"}
    draft = {"deployment": str(app.pk), "id": "mine", "rule": drop}
    tried = api.post(at, {**packet, "draft": draft}, format="json").json()
    assert (tried["decides"]["id"], tried["fate"], tried["later"][0]["id"]) == ("mine", "It is dropped.", "video")
    refused = {**drop, "trafficFilter": [{"uri": ["x"]}]}
    assert api.post(at, {**packet, "draft": {**draft, "rule": refused}}, format="json").status_code == 400
    assert api.post(at, {**packet, "dst": "fd00::1"}, format="json").status_code == 400


def test_somebody_elses_rules_are_as_if_they_were_not_there(app: Any, stranger_api: Any) -> None:
    for path in (f"deployments/{app.pk}/rules/traffic", f"nodes/{app.node_id}/rules/dns"):
        assert stranger_api.get(f"/api/v1/{path}").status_code == 404
    at = f"/api/v1/deployments/{app.pk}/rules/traffic/video"
    assert stranger_api.patch(at, {"state": "INACTIVE"}, format="json").status_code == 404
