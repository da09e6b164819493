"""The link between a centre and a node, as real processes on loopback: cut, killed, restored, revoked, healed.

The thin path is in the default suite; what takes its time to go wrong is run with the live tests.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import databases
from tests.flows.edgelab import Lab, chart
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A centre and a joined node with a running agent."""
    with Lab(tmp_path_factory.mktemp("lab"), edge={"MEP_DIGEST_EVERY": "0.3", "MEP_LINK_PAUSE": "1"}) as lab:
        lab.start_centre()
        lab.start_agent()
        joined = lab.enrol()
        assert joined.returncode == 0, joined.stderr
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """The shared lab, linked; a test that failed may have left the wire cut."""
    shared.wire.mend()
    until(lambda: shared.ask("sync")["hub"], 60, what="the node to be linked")
    return shared


def on_the_node(lab: Lab, question: str, *facts: Any) -> list[Any]:
    """Ask the node's own database, which needs no centre."""
    return databases.look(lab.folder / "edge" / "mep.sqlite3", question, *facts)


def applied(lab: Lab, key: str) -> list[Any]:
    return on_the_node(lab, "SELECT generation, state FROM agent_applied WHERE kind = 'app' AND key = ?", key)


def waiting_to_be_told(lab: Lab, key: str) -> str | None:
    """Return the state of an app in the report that the node holds for the centre; None when there is none."""
    found = on_the_node(lab, "SELECT body FROM agent_outbox WHERE route = ?", f"app/{key}")
    return str(json.loads(found[0][0])["status"]["state"]) if found else None


def pods_made(lab: Lab, name: str) -> int:
    """Return how often the node's engine has made a pod of an app; it writes that down."""
    found = databases.look(
        lab.folder / "edge" / "engine" / "engine.sqlite3",
        "SELECT coalesce(sum(count), 0) FROM event WHERE name = ? AND reason = 'Created'",
        name,
    )
    return int(found[0][0])


def times_applied(lab: Lab, key: str) -> int:
    assert lab.agent is not None
    return lab.agent.text().count(f"breakwater.agent {key}: generation")


def test_a_wish_becomes_an_app_an_upgrade_and_nothing(lab: Lab) -> None:
    lab.app("story")
    first = lab.until_reported("story", "ready")
    lab.app("story", generation=2, note="two")
    second = lab.until_reported("story", "ready", generation=2)
    assert second["revision"] == first["revision"] + 1
    lab.ask("delete", kind="app", key="story")
    lab.until_reported("story", "absent", generation=2)
    until(lambda: lab.ask("tombstones") == 0, what="the tombstone to go once it is acknowledged")
    assert on_the_node(lab, "SELECT 1 FROM agent_desired WHERE key = 'story'") == []
    assert applied(lab, "story") == []


VIDEO = {
    "trafficRuleId": "video", "filterType": "FLOW", "priority": 20, "action": "FORWARD_DECAPSULATED",
    "trafficFilter": [{"dstAddress": ["203.0.113.0/24"]}],
    "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.60.0.2"}],
}  # fmt: skip
SIP = {"filterType": "FLOW", "priority": 3, "trafficFilter": [{"protocol": ["UDP"]}], "action": "DROP"}


def steered(lab: Lab) -> dict[str, tuple[int, str, str]]:
    """Return the rules of one app that the node's MEC platform has: priority, state, origin."""
    of_app = "app_id IN (SELECT id FROM mp1_app WHERE name = 'steered')"  # others have left theirs, in whatever order
    found = on_the_node(lab, f"SELECT rule_id, body, state, origin FROM mp1_trafficrule WHERE {of_app}")
    return {name: (json.loads(body)["priority"], state, origin) for name, body, state, origin in found}


def test_a_rule_that_an_operator_changes_at_the_centre_is_the_nodes_rule_and_restarts_nothing(lab: Lab) -> None:
    app = lab.ask("deploy", name="steered", chart=chart().hex(), traffic=[VIDEO])
    lab.until_reported(app, "ready")
    lab.ask("steer", deployment=app, deed="set", name="video", rule={**VIDEO, "priority": 7}, state="ACTIVE")
    lab.ask("steer", deployment=app, deed="add", name="sip", rule=SIP, state="INACTIVE")
    wanted = {"video": (7, "ACTIVE", "centre"), "sip": (3, "INACTIVE", "centre")}
    until(lambda: steered(lab) == wanted, what="the node to have the rules")
    until(lambda: lab.ask("rules_of", deployment=app)["sip"]["outcome"] == "applied", what="the centre to hear of it")
    assert times_applied(lab, "steered") == 1


@pytest.mark.live
def test_rules_outlive_a_cut_link_a_killed_agent_and_an_upgrade_and_a_lost_one_is_said_to_be(lab: Lab) -> None:
    app = lab.ask("deploy", name="outlived", chart=chart().hex(), traffic=[VIDEO])
    lab.until_reported(app, "ready")
    lab.ask("steer", deployment=app, deed="set", name="video", rule={**VIDEO, "priority": 8}, state="ACTIVE")
    until(lambda: lab.ask("rules_of", deployment=app)["video"]["outcome"] == "applied", what="the wish to be heeded")
    lab.wire.cut()
    lab.stop_agent(signal.SIGKILL)
    lab.start_agent()
    lab.ask("steer", deployment=app, deed="set", name="video", rule={**VIDEO, "priority": 9})
    of_app = "SELECT body FROM mp1_trafficrule WHERE app_id IN (SELECT id FROM mp1_app WHERE name = 'outlived')"

    def priorities() -> list[int]:
        return [json.loads(body)["priority"] for (body,) in on_the_node(lab, of_app)]

    assert priorities() == [8], "cut off, the node keeps the last wish"
    assert lab.ask("rules_of", deployment=app)["video"]["outcome"] == "pending"
    lab.wire.mend()
    until(lambda: priorities() == [9], 60, what="the wish to arrive when the link is back")
    other = {**VIDEO, "trafficRuleId": "radio", "priority": 30}
    lab.ask("deploy", name="outlived", chart=chart(replicas=2).hex(), traffic=[other], version="2.0.0")
    lab.until_reported(app, "ready", generation=2)
    assert priorities() == [30]
    assert lab.ask("rules_of", deployment=app)["video"] | {"reason": ""} == {
        "source": "lost", "outcome": "lost", "state": "", "enforcement": "", "reason": "",
    }  # fmt: skip


@pytest.mark.live
def test_what_the_user_plane_made_of_a_change_is_seen_at_the_centre(tmp_path: Path) -> None:
    """The whole node, whose simulated user plane is brought up to date by its own process."""
    with Lab(tmp_path / "whole", edge={"MEP_LINK_PAUSE": "1", "MEP_MP1_PORT": str(free_port())}) as lab:
        lab.start_centre()
        lab.start_agent("edge", "--without", "dns")
        assert lab.enrol().returncode == 0
        app = lab.ask("deploy", name="whole", chart=chart().hex(), traffic=[VIDEO])
        lab.until_reported(app, "ready")
        lab.ask("steer", deployment=app, deed="add", name="sip", rule=SIP, state="ACTIVE")

        def enforced() -> bool:
            return bool(lab.ask("rules_of", deployment=app)["sip"]["enforcement"] == "in-force")

        until(enforced, 60, what="the rule to be in force")


@pytest.mark.live
def test_the_node_reports_itself_and_its_mep(lab: Lab) -> None:
    node = until(lambda: lab.reported("self", kind="node"), what="a report of the node")
    assert (node["status"]["engine"], node["status"]["simulated"]) == ("memory", True)
    assert set(until(lambda: lab.reported("state", kind="mep"), what="a report of the MEP")["status"]) >= {
        *("apps", "services", "subscriptions", "dns_rules", "traffic_rules")
    }


@pytest.mark.live
def test_a_kind_of_a_newer_centre_is_kept_and_told_and_holds_up_nothing(lab: Lab) -> None:
    lab.ask("put", kind="teleporter", key="t", generation=1, spec={"to": "mars"})
    lab.app("beside")
    lab.until_reported("beside", "ready")
    until(lambda: lab.reported("t", kind="teleporter").get("status", {}).get("reason") == "Unsupported")
    assert on_the_node(lab, "SELECT 1 FROM agent_desired WHERE kind = 'teleporter'") == [(1,)]
    until(lambda: lab.ask("sync")["acked_rev"] == lab.ask("sync")["last_rev"], what="all to be acknowledged")


@pytest.mark.live
def test_what_was_wished_while_the_link_was_cut_arrives_and_nothing_else_is_touched(lab: Lab) -> None:
    lab.app("untouched")
    lab.app("changed")
    lab.app("removed")
    for key in ("untouched", "changed", "removed"):
        lab.until_reported(key, "ready")
    lab.wire.cut()
    lab.app("changed", generation=2, note="while cut off")
    lab.ask("delete", kind="app", key="removed")
    lab.app("new")
    lab.wire.mend()
    lab.until_reported("changed", "ready", generation=2)
    lab.until_reported("new", "ready")
    lab.until_reported("removed", "absent")
    assert times_applied(lab, "untouched") == 1
    assert times_applied(lab, "changed") == 2


@pytest.mark.parametrize("runtime", ["kept", "lost"])
def test_a_node_rebuilt_with_an_empty_disk_confirms_the_removals_it_knows_nothing_of(lab: Lab, runtime: str) -> None:
    going, staying = f"going-{runtime}", f"staying-{runtime}"
    lab.app(going)
    lab.app(staying)
    for key in (going, staying):
        lab.until_reported(key, "ready")
    lab.stop_agent(signal.SIGKILL)
    lab.ask("delete", kind="app", key=going)
    disk = lab.folder / "edge"
    for each in disk.iterdir():
        if each.is_dir() and (each.name != "engine" or runtime == "lost"):
            shutil.rmtree(each)
        elif each.is_file():
            each.unlink()
    databases.fresh("edge", disk / "mep.sqlite3")
    lab.start_agent()
    assert lab.enrol().returncode == 0
    lab.until_reported(going, "absent")
    until(lambda: lab.ask("tombstones") == 0, what="the tombstone to go once its end is told")
    held = databases.look(disk / "engine" / "engine.sqlite3", "SELECT name FROM release")
    assert (going,) not in held
    until(lambda: applied(lab, staying) == [(1, "applied")], what="what is still wished for to be there")


@pytest.mark.live
def test_a_killed_agent_brings_its_apps_up_while_the_centre_is_away_and_heals_without_a_restart(lab: Lab) -> None:
    """The memory engine keeps its releases but its pods die with the process: a cold start in small."""
    lab.app("alone")
    revision = lab.until_reported("alone", "ready")["revision"]
    until(lambda: waiting_to_be_told(lab, "alone") is None, 60, what="the centre's receipt for that report")
    lab.wire.cut()
    lab.stop_agent(signal.SIGKILL)
    applied_before, pods = times_applied(lab, "alone"), pods_made(lab, "alone")
    lab.start_agent()
    until(lambda: waiting_to_be_told(lab, "alone") == "ready", 60, what="the app to be ready without the centre")
    assert pods_made(lab, "alone") == pods + 1
    lab.wire.mend()
    until(lambda: waiting_to_be_told(lab, "alone") is None, 60, what="the report to reach the centre")
    lab.app("afterwards")
    lab.until_reported("afterwards", "ready")
    assert lab.until_reported("alone", "ready")["revision"] == revision
    assert times_applied(lab, "alone") == applied_before


@pytest.mark.live
def test_a_store_that_differs_is_noticed_and_made_right(lab: Lab) -> None:
    lab.app("survivor")
    lab.until_reported("survivor", "ready")
    before = lab.ask("sync")
    lost = lab.ask("spoil")
    until(lambda: lab.ask("sync")["snapshots"] > before["snapshots"], what="a snapshot after the digest differed")
    assert lab.ask("sync")["mismatches"] > before["mismatches"]
    until(lambda: applied(lab, lost) == [], what="what the centre does not know to go from the node")
    assert lost == "survivor" or applied(lab, "survivor") == [(1, "applied")]


@pytest.mark.live
def test_a_restored_centre_is_followed_by_a_snapshot(lab: Lab) -> None:
    lab.app("kept")
    lab.until_reported("kept", "ready")
    before = lab.ask("sync")
    lab.wire.cut()
    lab.ask("new_epoch")
    lab.wire.mend()
    until(lambda: lab.ask("sync")["snapshots"] > before["snapshots"], 60, what="a snapshot after the restore")
    lab.app("kept", generation=2)
    lab.until_reported("kept", "ready", generation=2)
    assert times_applied(lab, "kept") == 2


@pytest.mark.live
def test_a_revoked_node_is_hung_up_on_and_may_come_back_by_joining_again(lab: Lab) -> None:
    lab.ask("revoke")
    until(lambda: not lab.ask("sync")["hub"], 15, what="the link of the revoked node to close")
    lab.app("later")
    refused = lab.run_edge("enrol", lab.ask("join"))
    assert "joined a centre already" in refused.stderr
    assert lab.run_edge("enrol", "--again", lab.ask("join")).returncode == 0
    lab.until_reported("later", "ready")


@pytest.mark.live
def test_a_certificate_near_its_end_is_renewed_with_a_new_key_and_the_old_one_falls(lab: Lab) -> None:
    file = lab.folder / "edge" / "identity" / "identity.json"
    identity = json.loads(file.read_text())
    key = serialization.load_pem_private_key(identity["key_pem"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    ending = lab.ask("issue", csr=csr.public_bytes(serialization.Encoding.PEM).decode(), minutes=10)
    lab.stop_agent()
    file.write_text(json.dumps({**identity, "chain_pem": ending + identity["ca_pem"]}))
    lab.start_agent()
    until(lambda: len(lab.ask("valid_serials")) == 1, 60, what="the older certificates to fall")
    renewed = json.loads(file.read_text())
    certificate = x509.load_pem_x509_certificate(renewed["chain_pem"].encode())
    assert renewed["key_pem"] != identity["key_pem"]
    assert lab.ask("valid_serials") == [f"{certificate.serial_number:x}"]
    assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=89)
    lab.app("after-renewal")
    lab.until_reported("after-renewal", "ready")


@pytest.mark.live
def test_the_nodes_key_stays_private_and_specs_are_sealed_on_its_disk(lab: Lab) -> None:
    lab.app("sealed", password="correct-horse")
    lab.until_reported("sealed", "ready")
    identity = Path(lab.folder / "edge" / "identity" / "identity.json")
    assert identity.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" in json.loads(identity.read_text())["key_pem"]
    for file in (lab.folder / "edge").glob("mep.sqlite3*"):
        assert b"correct-horse" not in file.read_bytes()
    assert lab.agent is not None
    assert "correct-horse" not in lab.agent.text()
