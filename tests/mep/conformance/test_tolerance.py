"""Friendly to clients in the field: every item of the list of what was met, each read as it was meant.

What is answered follows the standard all the same.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.mep.conformance.world import AVAILABILITY, MGMT, ORIGIN, SUPPORT, World
from tests.mep.conftest import DNS_RULE, TRAFFIC_RULE, service

OWN, OURS = f"{MGMT}/applications/{{app}}", f"{SUPPORT}/applications/{{app}}"


@pytest.mark.parametrize("prefix", ["", "/mep"])
def test_what_a_client_reads_it_may_write_back_whole(world: World, prefix: str) -> None:
    for path in (
        f"{OWN}/services/{{service}}", f"{OURS}/traffic_rules/t1", f"{OURS}/dns_rules/d1", f"{SUPPORT}/registrations/{{app}}"
    ):  # fmt: skip
        where = prefix + world.path(path)
        read = world.app.get(where)
        written = world.app.put(where, read.json(), If_Match=read["ETag"])
        assert written.status_code in (200, 204), written.content
        assert world.app.get(where)["ETag"] == read["ETag"], "nothing has changed"


def test_read_only_members_say_nothing_even_when_they_are_nonsense(world: World) -> None:
    body = service(serInstanceId=7, _links="x", isLocal="far away", livenessInterval=60, somethingNew=[1])
    answer = world.app.put(world.path(f"{OWN}/services/{{service}}"), body)
    assert answer.status_code == 200
    assert answer.json()["serInstanceId"] == world.ids["service"]
    assert answer.json()["isLocal"] is True
    assert "somethingNew" not in answer.json()


def test_the_rule_id_of_the_uri_wins(world: World) -> None:
    for path, key, body in (
        ("traffic_rules/t1", "trafficRuleId", TRAFFIC_RULE),
        ("dns_rules/d1", "dnsRuleId", DNS_RULE),
    ):
        answer = world.app.put(f"{OURS}/{path}", {**body, key: "x", "state": "ACTIVE"})
        assert (answer.status_code, answer.json()[key]) == (200, path[-2:])


ONE = {"interfaceType": "IP", "dstIpAddress": "10.1.1.1"}
TWO = [ONE, {"interfaceType": "IP", "dstIpAddress": "10.1.1.2"}]


@pytest.mark.parametrize(
    ("action", "sent", "answered"),
    [
        ("FORWARD_DECAPSULATED", ONE, ONE), ("FORWARD_DECAPSULATED", [ONE], ONE), ("DUPLICATE_DECAPSULATED", TWO, TWO),
        ("DUPLICATE_DECAPSULATED", ONE, ONE), ("PASSTHROUGH", None, None), ("DROP", None, None), ("DROP", [], None),
    ],
)  # fmt: skip
def test_destinations_are_read_as_one_object_or_a_list_and_one_is_answered_as_one(
    world: World, action: str, sent: Any, answered: Any, settings: Any
) -> None:
    settings.APP_RULES = "free"
    answer = world.app.put(f"{OURS}/traffic_rules/t1", {**TRAFFIC_RULE, "action": action, "dstInterface": sent})
    assert answer.status_code == 200, answer.content
    assert (answer.json().get("dstInterface") or None) == answered


@pytest.mark.parametrize("name", ["tag", "token"])
def test_tag_was_called_token_and_is_answered_as_tag(world: World, name: str, settings: Any) -> None:
    settings.APP_RULES = "free"
    wish = {**TRAFFIC_RULE, "trafficFilter": [{name: ["video"]}]}
    assert world.app.put(f"{OURS}/traffic_rules/t1", wish).json()["trafficFilter"] == [{"tag": ["video"]}]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "application/merge-patch+json", "*/*", "text/plain",
     "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)  # fmt: skip
def test_any_content_type_whose_body_is_json_is_read(world: World, content_type: str) -> None:
    headers = {"Content_Type": content_type}
    assert world.app.post(f"{OWN}/services", service(), **headers).status_code == 201
    beat = world.app.patch(world.path(f"{OWN}/services/{{service}}/liveness"), {"state": "ACTIVE"}, **headers)
    assert beat.status_code == 200
    assert world.app.put(f"{OURS}/dns_rules/d1", {**DNS_RULE, "state": "ACTIVE"}, **headers).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "application/xml;q=0.9", ""])
def test_whatever_a_client_accepts_it_is_answered_in_json(world: World, accept: str) -> None:
    answer = world.app.get(f"{MGMT}/services", Accept=accept)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("prefix", ["", "/mep"])
def test_a_heartbeat_is_patched_or_put_and_answered_with_the_new_liveness(
    world: World, method: str, prefix: str
) -> None:
    where = prefix + world.path(f"{OWN}/services/{{service}}/liveness")
    linked = world.app.get(prefix + world.path(f"{OWN}/services/{{service}}")).json()["_links"]["liveness"]["href"]
    assert linked == ORIGIN + where, "the path of older clients is the one in the link"
    answer = world.app.send(method, where, {"state": "ACTIVE"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"state", "timeStamp", "interval"}
    assert answer.json() == world.app.get(where).json()


def test_links_to_subscriptions_have_the_old_and_the_new_name_of_their_type(world: World) -> None:
    for path, kind in ((OWN, AVAILABILITY["subscriptionType"]), (OURS, "AppTerminationNotificationSubscription")):
        (link,) = world.app.get(f"{path}/subscriptions").json()["_links"]["subscriptions"]
        assert link["subscriptionType"] == link["rel"] == kind
        assert world.app.get(link["href"].removeprefix(ORIGIN)).status_code == 200


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_booleans_are_read_as_python_and_java_write_them(world: World, text: str) -> None:
    assert len(world.app.get(f"{MGMT}/services?is_local={text}").json()) == 1


def test_members_that_are_null_are_absent(world: World) -> None:
    body = service(
        serCategory=None, transportId=None, scopeOfLocality=None, consumedLocalOnly=None, livenessInterval=None
    )
    answer = world.app.post(f"{OWN}/services", body)
    assert answer.status_code == 201
    assert "serCategory" not in answer.json()
    wish = {**AVAILABILITY, "filteringCriteria": {"serNames": None, "states": None, "isLocal": None}}
    assert world.app.post(f"{OWN}/subscriptions", wish).status_code == 201


@pytest.mark.parametrize(
    ("said", "answer"),
    [({}, 400), ({"state": None}, 400), ({"state": "ACTIVE", "timeStamp": {"seconds": 1, "nanoSeconds": 2}}, 200)],
)
def test_a_heartbeat_is_a_merge_patch_of_the_state_alone(world: World, said: dict[str, Any], answer: int) -> None:
    where = world.path(f"{OWN}/services/{{service}}/liveness")
    assert world.app.patch(where, said, Content_Type="application/merge-patch+json").status_code == answer
