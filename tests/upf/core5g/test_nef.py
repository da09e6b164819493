"""A rule as a traffic influence subscription: what is sent, what survives, what is refused, what is heard."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import upf_adapter
from core.errors import Denied, Invalid, Missing, Rejected, Unavailable
from tests.contracts.upf import PLAIN, about, rule
from tests.upf.core5g import schemas
from tests.upf.core5g.conftest import CALLBACK, UE, nef_options
from tests.upf.core5g.peers import Nef
from tests.waiting import until
from upf_adapter.contract import Refused, TrafficRule
from upf_adapter.nef import NefUpf

Make = Callable[..., NefUpf]
ANY_UE = {"dstAddress": ["203.0.113.5"]}


def only(nef: Nef) -> dict[str, Any]:
    (found,) = nef.subscriptions.values()
    return found


# What is sent


def test_a_rule_is_the_subscription_that_a_real_nef_accepted(nef: Nef, to_nef: Make) -> None:
    to_nef().put(rule(filters=(ANY_UE,)))
    sent = only(nef)
    assert sent.pop("afTransId").startswith("edge-7.")
    assert sent == {
        "afServiceId": "mec-svc-1",
        "appReloInd": False,
        "dnn": "internet",
        "snssai": {"sst": 1, "sd": "000001"},
        "anyUeInd": True,
        "subscribedEvents": ["UP_PATH_CHANGE"],
        "dnaiChgType": "EARLY_LATE",
        "notificationDestination": f"{CALLBACK}/nef",
        "trafficFilters": [
            {
                "flowId": 1,
                "flowDescriptions": ["permit in ip from any to 203.0.113.5", "permit out ip from 203.0.113.5 to any"],
            }
        ],
        "trafficRoutes": [{"dnai": "edge-dnai-1", "routeProfId": "mec-local-breakout"}],
        "suppFeat": "0",
    }


@pytest.mark.parametrize(
    ("filters", "options", "target"),
    [
        ((PLAIN,), {}, {"ipv4Addr": UE}),
        (({"srcAddress": "2001:db8::2"},), {}, {"ipv6Addr": "2001:db8::2"}),
        (({"srcAddress": "10.45.0.0/16"},), {}, {"anyUeInd": True}),
        ((ANY_UE,), {}, {"anyUeInd": True}),
        ((ANY_UE,), {"external_group": "fleet@example.org"}, {"externalGroupId": "fleet@example.org"}),
        ((PLAIN,), {"external_group": "fleet@example.org"}, {"ipv4Addr": UE}),
        ((PLAIN, {**PLAIN, "srcAddress": "10.45.0.3"}), {}, {"anyUeInd": True}),
    ],
)
def test_the_source_address_says_whom_a_rule_is_about(
    nef: Nef, to_nef: Make, filters: Any, options: Any, target: dict[str, Any]
) -> None:
    to_nef(**options).put(rule(filters=filters))
    names = {"ipv4Addr", "ipv6Addr", "macAddr", "gpsi", "externalGroupId", "anyUeInd"}
    assert {name: value for name, value in only(nef).items() if name in names} == target


def test_every_option_makes_a_body_that_the_standard_allows(nef: Nef, to_nef: Make) -> None:
    for options in (
        {"notification_url": ""},
        {"acknowledge": True, "relocatable": True, "dnai_change": "LATE"},
        {"af_service_id": ""},
        {"dnn": "", "snssai": None},
        {"protocol_names": True, "supp_feat": "1F"},
    ):
        upf = to_nef(**options)
        body = upf.body(rule(destinations=({"interfaceType": "IP", "dstIpAddress": "10.60.1.7"},)))
        assert schemas.complaint(body, schemas.TRAFFIC_INFLUENCE) == ""
        assert body["trafficRoutes"] == [
            {"dnai": "edge-dnai-2", "routeInfo": {"ipv4Addr": "203.0.113.1", "portNumber": 2152}}
        ]
        assert ("subscribedEvents" in body) == ("notificationDestination" in body)


def test_the_schemas_of_these_tests_catch_what_the_standard_forbids(to_nef: Make) -> None:
    good = to_nef().body(rule())
    for wrong in (
        {"anyUeInd": True},
        {"afAppId": "x"},
        {"trafficRoutes": [{"dnai": "x"}]},
        {"trafficRoutes": [{"dnai": "x", "routeInfo": {"ipv4Addr": "203.0.113.1"}}]},
        {"trafficFilters": [{"flowId": 1, "flowDescriptions": ["permit in ip from any to any"] * 3}]},
        {"trafficFilters": [{"flowId": 1, "flowDescriptions": ["deny in ip from any to any"]}]},
        {"suppFeat": ""},
        {"unknown": 1},
    ):
        assert schemas.complaint({**good, **wrong}, schemas.TRAFFIC_INFLUENCE), wrong
    without = {name: value for name, value in good.items() if name != "notificationDestination"}
    assert schemas.complaint(without, schemas.TRAFFIC_INFLUENCE)


# Changes


def test_a_changed_rule_of_the_same_ue_is_put_in_its_place(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    upf.put(about(rule(), dstPort=["5000"]))
    assert [verb for verb, _, _ in nef.requests] == ["GET", "POST", "PUT"]
    assert "5000" in only(nef)["trafficFilters"][0]["flowDescriptions"][0]


def test_a_rule_that_is_now_about_another_ue_is_a_new_subscription(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    upf.put(about(rule(), srcAddress=["10.45.0.9"]))
    assert [verb for verb, _, _ in nef.requests] == ["GET", "POST", "DELETE", "POST"]
    assert only(nef)["ipv4Addr"] == "10.45.0.9"


def test_a_nef_without_put_gets_a_new_subscription(nef: Nef, to_nef: Make) -> None:
    nef.puts = False
    upf = to_nef()
    upf.put(rule())
    upf.put(about(rule(), dstPort=["5000"]))
    assert [verb for verb, _, _ in nef.requests] == ["GET", "POST", "PUT", "DELETE", "POST"]
    assert len(nef.subscriptions) == 1


def test_what_is_right_already_costs_no_request(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    wanted = [rule(f"app/r{n}") for n in range(3)]
    upf.replace(wanted)
    before = len(nef.requests)
    assert not upf.replace(wanted).problems
    assert len(nef.requests) == before


# Restarts and lost answers


def test_after_a_restart_the_nefs_list_is_enough(nef: Nef, to_nef: Make) -> None:
    to_nef().replace([rule("app/r1"), rule("app/r2")])
    nef.requests.clear()
    again = to_nef()
    assert set(again.rules()) == {"app/r1", "app/r2"}
    assert not again.replace([rule("app/r1"), rule("app/r2")]).problems
    assert [verb for verb, _, _ in nef.requests] == ["GET"]
    assert again.rules() == {"app/r1": rule("app/r1"), "app/r2": rule("app/r2")}


def test_a_state_file_tells_the_rules_themselves(nef: Nef, to_nef: Make, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    to_nef(state_file=state).put(rule())
    assert to_nef(state_file=state).rules() == {"app/r1": rule()}
    changed = to_nef(state_file=state, dnn="other")
    assert changed.rules() != {"app/r1": rule()}, "under other options it is another subscription"
    changed.put(rule())
    assert only(nef)["dnn"] == "other"


def test_a_state_file_of_another_kind_loses_no_start(nef: Nef, to_nef: Make, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text('["app/r1", {"subscription": 5}]\n["app/r2", null]\nnonsense\n')
    upf = to_nef(state_file=str(state))
    assert upf.rules() == {}
    upf.put(rule())
    assert to_nef(state_file=str(state)).rules() == {"app/r1": rule()}


def test_only_our_own_subscriptions_are_touched(nef: Nef, to_nef: Make) -> None:
    to_nef(owner="edge-8").put(rule())
    nef.subscriptions["foreign"] = {"afTransId": "someone else", "anyUeInd": True}
    nef.subscriptions["odd"] = {"afTransId": "edge-7.nonsense", "anyUeInd": True}
    upf = to_nef()
    assert upf.rules() == {}
    upf.replace([rule("app/mine")])
    upf.replace([])
    assert len(nef.subscriptions) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_lost_answer_doubles_nothing(nef: Nef, to_nef: Make, method: str) -> None:
    upf = to_nef()
    if method != "POST":
        upf.put(rule())
    changed = about(rule(), dstPort=["5000"])
    act = (lambda: upf.delete("app/r1")) if method == "DELETE" else (lambda: upf.put(changed))
    nef.misbehave(lose=True, only=method, times=1)
    with pytest.raises(Unavailable, match="broke off"):
        act()
    act()
    assert len(nef.sent(method)) == 1, "the NEF's list told that it was done"
    assert len(nef.subscriptions) == (0 if method == "DELETE" else 1)
    assert upf.rules() == ({} if method == "DELETE" else {"app/r1": changed})
    assert upf.intact()


def test_a_nef_that_drops_our_mark_shows_where_it_notifies(nef: Nef, to_nef: Make, tmp_path: Path) -> None:
    nef.drops = {"afTransId"}
    upf = to_nef(state_file=str(tmp_path / "state"))
    upf.put(rule("app/r1"))
    nef.subscriptions["foreign"] = {"anyUeInd": True, "notificationDestination": "http://elsewhere/nef"}
    nef.misbehave(lose=True, only="POST", times=1)
    with pytest.raises(Unavailable):
        upf.put(rule("app/r2"))
    upf.put(rule("app/r2"))
    assert set(upf.rules()) == {"app/r1", "app/r2"}
    assert len(nef.subscriptions) == 3, "what was made by the lost request is gone"


def test_a_lost_repair_is_made_again(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    assert upf.intact()
    only(nef)["trafficRoutes"] = [{"dnai": "elsewhere", "routeProfId": "x"}]
    assert not upf.intact()
    nef.misbehave(status=504, only="PUT", times=1)
    assert upf.replace([rule()]).problems["app/r1"].retryable
    assert not upf.replace([rule()]).problems
    assert only(nef)["trafficRoutes"][0]["dnai"] == "edge-dnai-1"


def test_an_answer_that_comes_too_late_is_a_lost_one(nef: Nef, to_nef: Make) -> None:
    upf = to_nef(access={"timeout": 0.2})
    nef.misbehave(delay=0.5, only="POST", times=1)
    with pytest.raises(Unavailable, match=r"did not answer within 0\.2 seconds"):
        upf.put(rule())
    until(lambda: nef.subscriptions)
    upf.put(rule())
    assert len(nef.subscriptions) == 1


def test_twins_of_a_rule_are_removed(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    nef.subscriptions["twin"] = only(nef)
    assert upf.intact()
    assert set(nef.subscriptions) == {"sub 1"}


def test_a_nef_that_does_not_say_where_the_subscription_is_is_asked(nef: Nef, to_nef: Make) -> None:
    nef.with_location = False
    nef.misbehave(garbage=b"<html>", only="POST")
    upf = to_nef()
    upf.put(rule())
    upf.delete("app/r1")
    assert nef.subscriptions == {}


# Repair


def test_a_foreign_hand_is_noticed_and_undone(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    assert upf.intact()
    only(nef)["trafficRoutes"] = [{"dnai": "elsewhere", "routeProfId": "x"}]
    assert not upf.intact()
    assert upf.rules()["app/r1"] != rule()
    upf.replace([rule()])
    assert only(nef)["trafficRoutes"][0]["dnai"] == "edge-dnai-1"
    assert upf.intact()


def test_a_lost_rule_that_is_not_wanted_any_more_troubles_nobody(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    nef.subscriptions.clear()
    assert not upf.intact()
    upf.replace([])
    assert upf.intact()


def test_the_list_is_not_asked_for_all_the_time(nef: Nef, to_nef: Make) -> None:
    upf = to_nef(check_every=3600.0)
    upf.put(rule())
    for _ in range(20):
        assert upf.intact()
    assert [verb for verb, _, _ in nef.requests] == ["GET", "POST"]


def test_a_nef_that_is_away_is_no_sign_of_loss(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    nef.cut()
    assert upf.intact()
    nef.mend()


# A NEF that misbehaves


@pytest.mark.parametrize(
    ("mood", "kind", "says"),
    [
        ({"status": 500, "body": b'{"title": "Boom"}'}, Unavailable, "answered 500: Boom"),
        ({"status": 503}, Unavailable, "answered 503"),
        ({"status": 400, "body": b'{"title": "Parameter mismatch"}'}, Rejected, "answered 400: Parameter mismatch"),
        ({"status": 403, "body": b"<html>no</html>"}, Rejected, "answered 403"),
        ({"status": 307, "headers": {"Location": "http://192.0.2.1/"}}, Rejected, "redirects are not followed"),
        ({"status": 200, "body": b"not json"}, Rejected, "not JSON"),
        ({"status": 200, "body": b"{}"}, Rejected, "no list"),
        ({"status": 200, "body": b"[" * 100_000}, Rejected, "not JSON"),
        ({"status": 200, "body": b"[" + b" " * 10_000_000 + b"]"}, Rejected, "larger than 4194304 bytes"),
        ({"status": 200, "body": b"[]", "headers": {"Content-Encoding": "gzip"}}, Rejected, "compressed"),
    ],
)
def test_an_answer_that_is_none_becomes_an_error_that_says_so(
    nef: Nef, to_nef: Make, mood: dict[str, Any], kind: type[Exception], says: str
) -> None:
    upf = to_nef()
    nef.misbehave(**mood)
    with pytest.raises(kind, match=says) as caught:
        upf.put(rule())
    if mood["status"] in (200, 307):
        assert caught.value.retryable, "nonsense is no judgement of the rule"  # type: ignore[attr-defined]
    nef.misbehave()
    upf.put(rule())
    assert len(nef.subscriptions) == 1


def test_json_labelled_as_text_is_read(nef: Nef, to_nef: Make) -> None:
    nef.misbehave(content_type="text/plain")
    upf = to_nef()
    upf.replace([rule()])
    assert set(to_nef().rules()) == {"app/r1"}


def test_entries_that_cannot_be_read_are_left_alone(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    odd = b'[null, 1, {}, {"self": 5}, {"self": "x/"}, {"self": "/a/..", "afTransId": []}]'
    nef.misbehave(status=200, body=odd)
    assert upf.rules() == {}


def test_a_reason_is_told_in_one_short_line(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule("app/r0"))
    loud = (
        b'{"title": "a\\u0007\\n\\tb' + b"x" * 5000 + b'", "invalidParams": [{"param": "dnn", "reason": "unknown"}, 3]}'
    )
    nef.misbehave(status=400, body=loud)
    with pytest.raises(Rejected) as caught:
        upf.put(rule())
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 400
    assert caught.value.detail.endswith("dnn: unknown")


def test_a_rule_that_the_nef_rejects_leaves_the_others(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.replace([rule("app/r1")])
    nef.misbehave(status=400, body=b'{"title": "No"}', only="POST", times=1)
    outcome = upf.replace([rule("app/r1"), rule("app/r2"), rule("app/r3")])
    assert set(outcome.problems) == {"app/r2"}
    assert set(upf.rules()) == {"app/r1", "app/r3"}


# Refusals beyond those of the contract


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"filter_type": "PACKET"}, "no filterType PACKET; the nearest it can do: FLOW"),
        ({"action": "DROP", "destinations": ()}, "no DROP"),
        ({"action": "PASSTHROUGH", "destinations": ()}, "no PASSTHROUGH"),
        ({"action": "FORWARD_ENCAPSULATED"}, "the nearest it can do: FORWARD_DECAPSULATED"),
        ({"destinations": ({"interfaceType": "IP", "dstIpAddress": "192.0.2.1"},)}, "a destination in 10.60.0.0/24"),
        ({"filters": ({"dstPort": [str(n) for n in range(40)]},)}, "more than 32 IP flows"),
        (
            {"filters": ({"dstAddress": "203.0.113.5", "dSCP": 46},)},
            "cannot match dSCP; the nearest it can do: the same",
        ),
    ],
)
def test_what_cannot_be_expressed_is_refused_before_anything_is_sent(
    nef: Nef, to_nef: Make, changes: dict[str, Any], says: str
) -> None:
    upf = to_nef()
    bad = dataclasses.replace(rule(), **changes)
    for attempt in (upf.check, upf.put):
        with pytest.raises(Refused) as caught:
            attempt(bad)
        assert says in str(caught.value)
    assert nef.requests == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "ftp://nef"}, "url must be"),
        ({"url": "http://user:secret@nef"}, "url must be"),
        ({"owner": "two words"}, "owner"),
        ({"af_id": ""}, "af_id"),
        ({"af_service_id": "", "dnn": ""}, "af_service_id is needed"),
        ({"routes": [{"destination": "10.0.0.0/8", "dnai": "x"}]}, "either a profile"),
        ({"routes": [{"destination": "nowhere", "dnai": "x", "profile": "p"}]}, "nowhere"),
        ({"routes": [{"destination": "10.0.0.0/8", "dnai": "x", "address": "10.0.0.1"}]}, "a port"),
        ({"most_flows": 0}, "most_flows"),
        ({"colour": "red"}, "colour"),
        ({"access": {"token_url": "https://as/token"}}, "belong together"),
        ({"access": {"ca_file": "/nowhere/ca.pem"}}, "cannot be used"),
    ],
)
def test_options_that_cannot_work_are_told_at_the_start(nef: Nef, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        upf_adapter.create("nef", nef_options(nef, **changes))


# Notifications


def news(upf: NefUpf, wanted: TrafficRule, **members: Any) -> dict[str, Any]:
    body = {"afTransId": upf.body(wanted)["afTransId"], "subscribedEvent": "UP_PATH_CHANGE", "dnaiChgType": "LATE"}
    return {"path": "nef", "body": {**body, **members}}


def test_the_notification_that_a_real_nef_sent_is_understood(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    route = {"routeInfo": {"portNumber": 0}}
    event = news(
        upf,
        rule(),
        dnaiChgType="EARLY",
        sourceTrafficRoute={"dnai": "edge-dnai-0", **route},
        targetTrafficRoute={"dnai": "edge-dnai-1", **route},
    )
    assert upf.notified(event) is None
    assert upf.intact()


def test_an_acknowledgement_is_given_when_it_is_asked_for(nef: Nef, to_nef: Make) -> None:
    upf = to_nef(acknowledge=True)
    upf.put(rule())
    upf.notified(news(upf, rule(), targetDnai="edge-dnai-1", gpsi="msisdn-49170", afAckUri=f"{nef.url}/ack/1"))
    upf.notified(news(upf, rule(), targetDnai="other", dnaiChgType="EARLY", afAckUri=f"{nef.url}/ack/2"))
    first, second = nef.acks
    assert first["gpsi"] == "msisdn-49170"
    assert first["ackResult"] == {
        "afStatus": "SUCCESS", "trafficRoute": {"dnai": "edge-dnai-1", "routeProfId": "mec-local-breakout"},
    }  # fmt: skip
    assert second["ackResult"] == {"afStatus": "RELOC_NO_ALLOWED"}
    assert upf.intact(), "EARLY only announces"


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/ack",
        "https://127.0.0.1:{port}/ack",
        "http://127.0.0.1:{port}@192.0.2.1/ack",
        "http://localhost:{port}/ack",
        "//127.0.0.1:{port}/ack",
        "file:///etc/passwd",
        "http://[::1",
        "http://127.0.0.1:99999/",
    ],
)
def test_an_acknowledgement_goes_nowhere_but_to_the_nef(nef: Nef, to_nef: Make, uri: str) -> None:
    upf = to_nef()
    upf.put(rule())
    before = len(nef.requests)
    with pytest.raises(Denied, match="elsewhere"):
        upf.notified(news(upf, rule(), targetDnai="edge-dnai-1", afAckUri=uri.format(port=nef.port)))
    assert len(nef.requests) == before


@pytest.mark.parametrize(
    "members",
    [
        {"targetDnai": "elsewhere"},
        {"targetTrafficRoute": {"dnai": "elsewhere", "routeInfo": {"portNumber": 0}}},
        {"sourceDnai": "edge-dnai-1"},
        {"subscribedEvent": "UP_PATH_CHG_FAILURE"},
    ],
)
def test_a_path_that_left_the_edge_takes_the_rule_out_of_force_and_it_is_put_again(
    nef: Nef, to_nef: Make, members: dict[str, Any]
) -> None:
    upf = to_nef(retry_first=0.1)
    upf.put(rule())
    for _ in range(3):  # told thrice is told once
        upf.notified(news(upf, rule(), **members))
    assert not upf.intact()
    assert upf.rules()["app/r1"] != rule()
    outcome = upf.replace([rule()])
    assert outcome.in_force == frozenset()
    assert "tried again in" in outcome.problems["app/r1"].detail
    assert upf.intact(), "what a put has told is not told again"
    began = time.monotonic()
    until(lambda: not upf.replace([rule()]).problems, every=0.01)
    assert time.monotonic() - began < 5
    assert [verb for verb, _, _ in nef.requests].count("PUT") == 1
    assert upf.rules() == {"app/r1": rule()}


def test_a_path_that_left_several_times_at_once_is_one_setback(nef: Nef, to_nef: Make) -> None:
    upf = to_nef(retry_first=10.0)
    upf.put(rule())
    for _ in range(3):
        upf.notified(news(upf, rule(), targetDnai="elsewhere"))
    with pytest.raises(Unavailable, match="goes to elsewhere now; tried again in 10 seconds"):
        upf.put(rule())


def test_news_right_after_a_restart_are_understood(nef: Nef, to_nef: Make) -> None:
    to_nef().put(rule())
    again = to_nef()
    again.notified(news(again, rule(), targetDnai="elsewhere"))
    assert not again.intact()


def test_one_ue_that_moves_says_nothing_about_a_rule_for_all(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    wanted = rule(filters=(ANY_UE,))
    upf.put(wanted)
    upf.notified(news(upf, wanted, targetDnai="elsewhere"))
    assert upf.intact()


def test_a_rule_that_left_its_path_can_still_be_taken_out(nef: Nef, to_nef: Make) -> None:
    upf = to_nef()
    upf.put(rule())
    upf.notified(news(upf, rule(), targetDnai="elsewhere"))
    upf.replace([])
    assert nef.subscriptions == {}
    assert upf.intact()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({}, Invalid),
        ({"path": "pcf/1/notify", "body": {}}, Invalid),
        ({"path": "nef", "body": []}, Invalid),
        ({"path": "nef", "body": {}}, Invalid),
        ({"path": "nef", "body": {"afTransId": 5}}, Invalid),
        ({"path": "nef", "body": {"afTransId": "someone.else"}}, Missing),
        ({"path": "nef", "body": {"afTransId": "edge-7." + "0" * 32 + ".YXBwL3Ix"}}, Missing),
        ({"path": "nef", "body": {"afTransId": "edge-7." + "0" * 32 + ".\u00fc"}}, Missing),
    ],
)
def test_what_is_about_nothing_of_ours_is_refused(to_nef: Make, event: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        to_nef().notified(event)


def test_a_test_notification_is_fine(to_nef: Make) -> None:
    assert to_nef().notified({"path": "nef", "body": {"subscription": "http://nef/x"}}) is None
