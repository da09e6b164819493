"""A rule about one UE as an application session at its PCF: what is sent, what survives, what is refused, what is heard."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import upf_adapter
from core.errors import Conflict, Invalid, Missing, Rejected, Unavailable
from tests.contracts.upf import PLAIN, about, rule
from tests.upf.core5g import schemas
from tests.upf.core5g.conftest import CALLBACK, UE, pcf_options
from tests.upf.core5g.peers import Bsf, Pcf, merge
from tests.waiting import until
from upf_adapter import sessions
from upf_adapter.contract import Refused
from upf_adapter.pcf import MOST_LOST, PcfUpf

Make = Callable[..., PcfUpf]
DROP = rule(action="DROP")


def only(pcf: Pcf) -> dict[str, Any]:
    (found,) = pcf.sessions.values()
    return dict(found["ascReqData"])


@pytest.fixture
def other_pcf() -> Iterator[Pcf]:
    with Pcf() as peer:
        yield peer


# What is sent


def test_a_rule_is_a_session_with_routing_and_flows_in_both_directions(pcf: Pcf, to_pcf: Make) -> None:
    to_pcf(af_app_id="mec-app-1").put(about(rule(), dSCP=46))
    sent = only(pcf)
    assert sent["notifUri"].startswith(f"{CALLBACK}/pcf/")
    assert sent.pop("evSubsc")["notifUri"] == sent.pop("notifUri")
    assert sent == {
        "suppFeat": "1",
        "ueIpv4": UE,
        "dnn": "internet",
        "sliceInfo": {"sst": 1},
        "afAppId": "mec-app-1",
        "afRoutReq": {
            "appReloc": False, "routeToLocs": [{"dnai": "edge-dnai-1", "routeProfId": "mec-local-breakout"}],
        },
        "medComponents": {
            "1": {
                "medCompN": 1,
                "fStatus": "ENABLED",
                "medSubComps": {
                    "1": {
                        "fNum": 1,
                        "tosTrCl": "B8FC",
                        "fDescs": [
                            "permit out 17 from 203.0.113.5 4000 to 10.45.0.2",
                            "permit in 17 from 10.45.0.2 to 203.0.113.5 4000",
                        ],
                        "flowUsage": "NO_INFO",
                    }
                },
            }
        },
    }  # fmt: skip


def test_drop_closes_the_gate_and_routes_nothing(pcf: Pcf, to_pcf: Make) -> None:
    to_pcf().put(DROP)
    assert only(pcf)["medComponents"]["1"]["fStatus"] == "DISABLED"
    assert "afRoutReq" not in only(pcf)


def test_several_filters_are_several_flows_each_with_its_own_class(pcf: Pcf, to_pcf: Make) -> None:
    wanted = rule(filters=({**PLAIN, "dSCP": 46}, {**PLAIN, "dstPort": ["1", "2"]}))
    to_pcf().put(wanted)
    parts = only(pcf)["medComponents"]["1"]["medSubComps"]
    assert {key: part["fNum"] for key, part in parts.items()} == {"1": 1, "2": 2, "3": 3}
    assert [part.get("tosTrCl") for part in parts.values()] == ["B8FC", None, None]


def test_a_ue_of_ipv6_with_a_traffic_class(pcf: Pcf, bsf: Bsf, to_pcf: Make) -> None:
    bsf.bindings["2001:db8::2/128"] = pcf.url
    to_pcf().put(rule(filters=({"srcAddress": "2001:db8::2", "tC": 184},)))
    assert only(pcf)["ueIpv6"] == "2001:db8::2"
    assert only(pcf)["medComponents"]["1"]["medSubComps"]["1"]["tosTrCl"] == "B8FF"


def test_what_some_pcfs_need_can_be_set(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf(media_type="AUDIO", uplink="41 Kbps", downlink="41 Kbps", qos_reference="gold", snssai={"sst": 2})
    upf.put(rule())
    media = only(pcf)["medComponents"]["1"]
    assert (media["medType"], media["marBwUl"], media["marBwDl"]) == ("AUDIO", "41 Kbps", "41 Kbps")
    assert (media["qosReference"], only(pcf)["sliceInfo"]) == ("gold", {"sst": 2})


def test_the_schemas_of_these_tests_catch_what_the_standard_forbids(pcf: Pcf, to_pcf: Make) -> None:
    to_pcf().put(rule())
    good = only(pcf)
    assert schemas.complaint({"ascReqData": good}, schemas.APP_SESSION) == ""
    for wrong in ({"ueMac": "x"}, {"ueIpv6": "2001:db8::1"}, {"suppFeat": "x"}, {"medComponents": {}}, {"more": 1}):
        assert schemas.complaint({"ascReqData": {**good, **wrong}}, schemas.APP_SESSION), wrong
    for missing in ("notifUri", "suppFeat", "ueIpv4"):
        less = {name: value for name, value in good.items() if name != missing}
        assert schemas.complaint({"ascReqData": less}, schemas.APP_SESSION), missing


# Changes


def test_a_change_is_a_merge_patch(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    old = rule(filters=({**PLAIN, "dSCP": 46, "dstPort": ["1", "2", "3"]},))
    upf.put(old)
    for new in (rule(), dataclasses.replace(DROP, id="app/r1"), old):
        upf.put(new)
        assert upf.rules() == {"app/r1": new}
        sent = {name: value for name, value in only(pcf).items() if name in upf._wish(new).form}
        assert sent == upf._wish(new).form
        assert ("afRoutReq" in only(pcf)) == (new.action != "DROP")
    assert set(pcf.sessions) == {"1"}
    assert [verb for verb, _, _ in pcf.requests] == ["POST", "PATCH", "PATCH", "PATCH"]


def test_a_change_whose_answer_was_lost_is_made_good(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule(filters=({**PLAIN, "dstPort": ["1", "2", "3"]},)))
    for mood in ({"lose": True}, {"status": 503}):
        pcf.misbehave(only="PATCH", times=1, **mood)
        with pytest.raises(Unavailable):
            upf.put(rule(filters=({**PLAIN, "dstPort": ["1", "2"]},)))
        assert upf.rules()["app/r1"].filter_type == "", "which version is in force is not known"
    upf.put(rule())
    assert only(pcf)["medComponents"] == upf._wish(rule()).form["medComponents"]
    assert upf.rules() == {"app/r1": rule()}


def test_a_rule_that_is_now_about_another_ue_is_a_new_session(pcf: Pcf, bsf: Bsf, to_pcf: Make) -> None:
    bsf.bindings["10.45.0.9"] = pcf.url
    upf = to_pcf()
    upf.put(rule())
    upf.put(about(rule(), srcAddress=["10.45.0.9"]))
    assert only(pcf)["ueIpv4"] == "10.45.0.9"


def test_a_session_that_is_gone_at_a_change_is_made_anew(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule())
    pcf.sessions.clear()
    upf.put(about(rule(), dstPort=["5000"]))
    assert set(pcf.sessions) == {"2"}


plain_json = st.recursive(
    st.booleans() | st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
objects = st.dictionaries(st.sampled_from("abc"), plain_json, max_size=3)


@given(st.lists(objects, min_size=1, max_size=3), objects)
def test_a_patch_makes_any_version_the_wanted_one(before: list[Any], after: Any) -> None:
    patch = sessions.patch(before, after)
    for each in before:
        assert merge(each, patch) == after


# Finding the PCF


def test_the_bsf_is_asked_once_for_a_ue(pcf: Pcf, bsf: Bsf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.replace([rule("app/r1"), rule("app/r2")])
    assert [path for _, path, _ in bsf.requests] == [f"/nbsf-management/v1/pcfBindings?ipv4Addr={UE}"]


@pytest.mark.parametrize("mood", ["cut", "busy", "unknown"])
def test_a_pcf_that_no_longer_serves_the_ue_is_looked_up_again(
    pcf: Pcf, bsf: Bsf, other_pcf: Pcf, to_pcf: Make, mood: str
) -> None:
    upf = to_pcf()
    upf.put(rule("app/r1"))
    bsf.bindings[UE] = other_pcf.url
    if mood == "cut":
        pcf.cut()
    else:
        pcf.misbehave(status=503 if mood == "busy" else 404)
    if mood == "cut":
        # The connection was open, so nobody knows whether the request arrived.
        with pytest.raises(Unavailable):
            upf.put(rule("app/r2"))
    upf.put(rule("app/r2"))
    assert len(other_pcf.sessions) == 1
    assert len(bsf.requests) == 2


def test_a_pcf_that_is_away_is_retried_and_not_hammered(pcf: Pcf, bsf: Bsf, to_pcf: Make) -> None:
    upf = to_pcf()
    pcf.cut()
    for _ in range(2):
        with pytest.raises(Unavailable, match="PCF cannot be reached"):
            upf.put(rule())
    pcf.mend()
    upf.put(rule())
    assert len(pcf.sessions) == 1


def test_a_ue_without_a_session_waits_and_the_bsf_is_not_hammered(bsf: Bsf, to_pcf: Make) -> None:
    upf = to_pcf(retry_first=30.0)
    bsf.bindings.clear()
    for _ in range(5):
        with pytest.raises(Unavailable, match=r"The UE 10\.45\.0\.2 has no session in the core at the moment"):
            upf.put(rule())
    assert len(bsf.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"pcfIpEndPoints": "x"},
        {"pcfIpEndPoints": [{"ipv4Address": "evil.example/", "port": 80}]},
        {"pcfIpEndPoints": [{"ipv4Address": "127.0.0.1", "port": "80"}]},
        {"pcfIpEndPoints": [{"ipv4Address": "127.0.0.1", "port": 99999}]},
        {"pcfIpEndPoints": [None]},
        {"pcfFqdn": "user@evil.example"},
        {"pcfFqdn": "evil.example/path"},
    ],
)
def test_a_binding_that_names_no_usable_pcf_is_nonsense(bsf: Bsf, to_pcf: Make, answer: Any) -> None:
    bsf.misbehave(status=200, body=json.dumps(answer).encode())
    with pytest.raises(Rejected, match="BSF") as caught:
        to_pcf().put(rule())
    assert caught.value.retryable


def test_pcfs_outside_the_networks_that_are_set_are_not_used(pcf: Pcf, to_pcf: Make) -> None:
    with pytest.raises(Rejected, match="no PCF that may be used"):
        to_pcf(pcf_networks=["10.0.0.0/8"]).put(rule())
    assert pcf.requests == []
    to_pcf(pcf_networks=["127.0.0.0/8"]).put(rule())
    assert len(pcf.sessions) == 1


def test_a_core_with_one_pcf_needs_no_bsf(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf(bsf="", pcf=pcf.url, dnn="internet")
    upf.put(rule())
    assert "PCF at" in upf.ping()
    assert only(pcf)["dnn"] == "internet"


# Restarts, lost answers, repair


def test_sessions_survive_a_restart(pcf: Pcf, to_pcf: Make) -> None:
    to_pcf().replace([rule("app/r1"), rule("app/r2")])
    pcf.requests.clear()
    again = to_pcf()
    assert again.rules() == {"app/r1": rule("app/r1"), "app/r2": rule("app/r2")}
    again.replace([rule("app/r2")])
    assert [verb for verb, _, _ in pcf.requests] == ["POST"]
    assert set(pcf.sessions) == {"2"}


def test_under_other_options_a_session_is_changed(pcf: Pcf, to_pcf: Make) -> None:
    to_pcf().put(rule())
    again = to_pcf(af_app_id="new")
    assert again.rules() != {"app/r1": rule()}
    again.replace([rule()])
    assert only(pcf)["afAppId"] == "new"


def test_a_pcf_that_knows_repetitions_names_the_session_of_a_lost_answer(pcf: Pcf, to_pcf: Make) -> None:
    pcf.knows_repetitions = True
    upf = to_pcf()
    pcf.misbehave(lose=True, only="POST", times=1)
    with pytest.raises(Unavailable):
        upf.put(rule())
    upf.put(rule())
    assert set(pcf.sessions) == {"1"}


def test_the_session_of_a_lost_answer_is_ended_when_it_makes_itself_heard(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    pcf.misbehave(lose=True, only="POST", times=1)
    with pytest.raises(Unavailable):
        upf.put(rule())
    orphan = only(pcf)["evSubsc"]["notifUri"].removeprefix(f"{CALLBACK}/")
    upf.put(rule())
    assert set(pcf.sessions) == {"1", "2"}
    upf = to_pcf()  # also after a restart
    told = {
        "evSubsUri": "http://elsewhere/app-sessions/1/events-subscription",
        "evNotifs": [{"event": "SUCCESSFUL_RESOURCES_ALLOCATION"}],
    }
    with pytest.raises(Conflict):
        upf.notified({"path": f"{orphan}/notify", "body": {}})
    upf.notified({"path": f"{orphan}/notify", "body": told})
    assert set(pcf.sessions) == {"2"}
    with pytest.raises(Missing):
        upf.notified({"path": f"{orphan}/notify", "body": told})


def test_lost_attempts_are_remembered_within_bounds(to_pcf: Make) -> None:
    upf = to_pcf()
    upf.ledger.facts.update({f"attempt:{n}": "http://127.0.0.1:1" for n in range(MOST_LOST + 5)})
    upf.put(rule())
    assert sum(key.startswith("attempt:") for key in upf.ledger.facts) < MOST_LOST


def test_a_pcf_without_get_is_not_asked_again(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule())
    pcf.misbehave(status=405, only="GET")
    for _ in range(3):
        assert upf.intact()
    assert [verb for verb, _, _ in pcf.requests] == ["POST", "GET"]


def test_a_session_whose_pcf_is_gone_for_good_can_be_taken_out(
    pcf: Pcf, bsf: Bsf, other_pcf: Pcf, to_pcf: Make
) -> None:
    upf = to_pcf()
    upf.put(rule())
    pcf.cut()
    with pytest.raises(Unavailable):
        upf.delete("app/r1")
    assert upf.rules()
    bsf.bindings[UE] = other_pcf.url
    upf.delete("app/r1")
    assert upf.rules() == {}
    assert other_pcf.requests == []


def test_a_state_file_of_another_kind_loses_no_start(pcf: Pcf, bsf: Bsf, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text('["rule:app/r1", {"pcf": 5}]\n["rule:app/r2", null]\n["attempt:x", 1]\nnonsense\n')
    upf = upf_adapter.create("pcf", pcf_options(bsf, state))
    assert upf.rules() == {}
    upf.put(rule())
    assert len(pcf.sessions) == 1
    upf.close()


# Refusals beyond those of the contract


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"filter_type": "PACKET"}, "no filterType PACKET; the nearest it can do: FLOW"),
        ({"action": "PASSTHROUGH", "destinations": ()}, "no PASSTHROUGH"),
        ({"action": "DUPLICATE_DECAPSULATED"}, "the nearest it can do: FORWARD_DECAPSULATED"),
        ({"filters": ({"dstAddress": "203.0.113.5"},)}, "the nearest it can do: the user plane nef"),
        ({"filters": ({"srcAddress": "10.45.0.0/24"},)}, "the address of one UE"),
        ({"filters": (PLAIN, {**PLAIN, "srcAddress": "10.45.0.3"})}, "the address of one UE"),
        ({"destinations": ({"interfaceType": "IP", "dstIpAddress": "192.0.2.1"},)}, "a destination in 10.60.0.0/24"),
        ({"filters": ({**PLAIN, "dstPort": [str(n) for n in range(40)]},)}, "more than 32 IP flows"),
        ({"filters": ({**PLAIN, "qCI": 9},)}, "cannot match qCI"),
    ],
)
def test_what_cannot_be_expressed_is_refused_before_anything_is_sent(
    pcf: Pcf, bsf: Bsf, to_pcf: Make, changes: dict[str, Any], says: str
) -> None:
    upf = to_pcf()
    bad = dataclasses.replace(rule(), **changes)
    for attempt in (upf.check, upf.put):
        with pytest.raises(Refused) as caught:
            attempt(bad)
        assert says in str(caught.value)
    assert bsf.requests == pcf.requests == []


def test_a_pcf_that_says_it_routes_nothing_gets_no_half_of_a_rule(pcf: Pcf, to_pcf: Make) -> None:
    pcf.features = "0"
    upf = to_pcf()
    with pytest.raises(Refused, match="leads no traffic.*the nearest it can do: DROP"):  # noqa: RUF043
        upf.put(rule())
    assert pcf.sessions == {}
    assert upf.rules() == {}
    upf.put(DROP)
    to_pcf(insist_on_routing=False, state_file=upf.options.state_file + "2").put(rule())
    assert len(pcf.sessions) == 2


def test_what_real_pcfs_make_of_it_is_told(to_pcf: Make) -> None:
    assert any("Open5GS" in note and "DROP" in note for note in to_pcf().capabilities().notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bsf": ""}, "either bsf or pcf"),
        ({"pcf": "http://pcf"}, "either bsf or pcf"),
        ({"state_file": ""}, "state_file is needed"),
        ({"notification_url": "mep"}, "notification_url"),
        ({"pcf_networks": ["10.0.0.300"]}, "10.0.0.300"),
        ({"media_type": "SMELL"}, "media_type"),
        ({"access": {"timeout": 0}}, "timeout"),
    ],
)
def test_options_that_cannot_work_are_told_at_the_start(bsf: Bsf, tmp_path: Path, changes: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        upf_adapter.create("pcf", pcf_options(bsf, tmp_path / "state", **changes))


# Notifications


def address(pcf: Pcf) -> str:
    return str(only(pcf)["notifUri"]).removeprefix(f"{CALLBACK}/")


def test_a_termination_takes_the_rule_out_of_force_and_it_is_put_again(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf(retry_first=0.1)
    upf.put(rule())
    event = {"path": f"{address(pcf)}/terminate", "body": {"termCause": "ALL_SDF_DEACTIVATION", "resUri": "http://x/1"}}
    upf.notified(event)
    assert pcf.sessions == {}, "the consumer deletes what the PCF ended"
    assert upf.rules() == {}
    with pytest.raises(Missing):
        upf.notified(event)  # told twice
    with pytest.raises(Unavailable, match="The PCF ended the session .ALL_SDF_DEACTIVATION.; tried again in"):  # noqa: RUF043
        upf.put(rule())
    until(lambda: not upf.replace([rule()]).problems, every=0.01)
    assert set(pcf.sessions) == {"2"}
    assert upf.intact()


def test_a_termination_is_noticed_as_a_loss(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule())
    upf.notified({"path": f"{address(pcf)}/terminate", "body": {}})
    assert not upf.intact()


def test_a_network_without_resources_takes_the_rule_out_of_force(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule())
    event = {
        "path": f"{address(pcf)}/notify",
        "body": {"evSubsUri": "x", "evNotifs": [{"event": "FAILED_RESOURCES_ALLOCATION"}]},
    }
    for _ in range(2):
        upf.notified(event)
    assert not upf.intact()
    assert only(pcf)["ueIpv4"] == UE, "it is made anew when it is put again"
    assert upf.rules()["app/r1"] != rule()
    until(lambda: not upf.replace([rule()]).problems, every=0.01)
    assert set(pcf.sessions) == {"2"}
    assert upf.rules() == {"app/r1": rule()}


def test_missing_resources_told_several_times_are_one_setback(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf(retry_first=10.0)
    upf.put(rule())
    for _ in range(3):
        upf.notified(
            {"path": f"{address(pcf)}/notify", "body": {"evNotifs": [{"event": "FAILED_RESOURCES_ALLOCATION"}]}}
        )
    with pytest.raises(Unavailable, match="no resources for the rule; tried again in 10 seconds"):
        upf.put(rule())


def test_good_news_changes_nothing(pcf: Pcf, to_pcf: Make) -> None:
    upf = to_pcf()
    upf.put(rule())
    for body in ({"evNotifs": [{"event": "SUCCESSFUL_RESOURCES_ALLOCATION"}]}, {}, {"evNotifs": [None, {"event": []}]}):
        assert upf.notified({"path": f"{address(pcf)}/notify", "body": body}) is None
    assert upf.intact()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({}, Invalid),
        ({"path": "nef", "body": {}}, Invalid),
        ({"path": "pcf/0123/other", "body": {}}, Invalid),
        ({"path": "pcf/0123/notify/more", "body": {}}, Invalid),
        ({"path": "pcf/0123/notify", "body": []}, Invalid),
        ({"path": "pcf/0123/notify", "body": {}}, Missing),
    ],
)
def test_what_is_about_nothing_of_ours_is_refused(to_pcf: Make, event: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        to_pcf().notified(event)
