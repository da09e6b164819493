"""Deployments over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from mecm.deployments import logs, services
from mecm.deployments.api import snapshot
from mecm.deployments.models import Deployment
from mecm.edge.models import DesiredObject, ReportedObject

pytestmark = pytest.mark.django_db

URL = "/api/v1/deployments"


@pytest.fixture
def body(package: Any, node: Any) -> dict[str, Any]:
    """A request that succeeds."""
    return {"package": str(package.pk), "node": str(node.pk), "name": "hello", "values": {"message": "ahoy"}}


@pytest.fixture
def deployment(api: Any, body: dict[str, Any]) -> Deployment:
    """A deployment that was asked for over HTTP."""
    answer = api.post(URL, body, format="json")
    assert answer.status_code == 202, answer.content
    return Deployment.objects.get(pk=answer.json()["id"])


def ready(deployment: Deployment, generation: int = 1) -> None:
    services.observe(deployment.pk, generation, {"state": "ready"}, node_id=deployment.node_id)


def test_the_answer_shows_the_wish(api: Any, deployment: Deployment) -> None:
    shown = api.get(f"{URL}/{deployment.pk}").json()
    assert (shown["state"], shown["generation"], shown["values"]) == ("pending", 1, {"message": "ahoy"})
    assert (shown["node"]["name"], shown["package"]["version"], shown["organisation"]) == ("berth-7", "1.0.0", "acme")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "Not A Name"}, 400),
        ({"name": "x" * 60}, 400),
        ({"values": {"replicas": "many"}}, 400),
        ({"values": []}, 400),
        ({"values": {"global": {"mep": {}}}}, 400),
        ({"values": {"message": "x" * 70_000}}, 413),
        ({"values": {"message": "nul\x00"}}, 400),
        ({"node": "nonsense"}, 400),
        ({"node": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"package": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"organisation": "nowhere"}, 404),
        ({"values": {"replicas": 40}}, 409),
    ],
    ids=str,
)
def test_bad_input_is_a_problem_and_never_a_crash(
    api: Any, body: dict[str, Any], node: Any, change: dict[str, Any], status: int
) -> None:
    type(node).objects.update(cpu_millis=2000)
    answer = api.post(URL, {**body, **change}, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"values": NaN}'])
def test_a_body_that_is_no_request_is_a_problem(api: Any, raw: bytes) -> None:
    answer = api.post(URL, raw, content_type="application/json")
    assert answer.status_code == 400, answer.content


def test_a_refusal_lists_every_reason(api: Any, body: dict[str, Any], deployment: Deployment, node: Any) -> None:
    type(node).objects.update(cpu_millis=1000)
    answer = api.post(URL, {**body, "values": {"replicas": 3}}, format="json")
    assert answer.status_code == 409
    assert [reason["code"] for reason in answer.json()["reasons"]] == ["name-taken", "cpu"]


def test_upgrade_rollback_and_removal(api: Any, deployment: Deployment, make_package: Any) -> None:
    url = f"{URL}/{deployment.pk}"
    ready(deployment)
    second = make_package("2.0.0")
    upgraded = api.patch(url, {"package": str(second.pk), "values": {"message": "two"}}, format="json")
    assert (upgraded.status_code, upgraded.json()["generation"], upgraded["ETag"]) == (202, 2, '"2"')
    back = api.post(f"{url}/rollback", {}, format="json")
    assert (back.status_code, back.json()["values"], back.json()["package"]["version"]) == (
        202,
        {"message": "ahoy"},
        "1.0.0",
    )
    assert [row["action"] for row in api.get(f"{url}/revisions").json()["results"]] == [
        "rollback",
        "upgrade",
        "install",
    ]
    gone = api.delete(url)
    assert (gone.status_code, gone.json()["state"]) == (202, "removing")
    assert api.patch(url, {"values": {}}, format="json").status_code == 409
    assert api.delete(url).status_code == 202


def test_an_editor_who_was_overtaken_gets_412(api: Any, deployment: Deployment) -> None:
    url = f"{URL}/{deployment.pk}"
    tag = api.get(url)["ETag"]
    assert api.patch(url, {"values": {"message": "two"}}, format="json", headers={"If-Match": tag}).status_code == 202
    assert api.patch(url, {"values": {"message": "three"}}, format="json", headers={"If-Match": tag}).status_code == 412
    assert api.patch(url, {"values": {}}, format="json", headers={"If-Match": "nonsense"}).status_code == 412


@pytest.mark.parametrize("change", [{}, {"values": "text"}, {"package": "x"}, {"values": None}])
def test_an_upgrade_says_what_to_change(api: Any, deployment: Deployment, change: dict[str, Any]) -> None:
    assert api.patch(f"{URL}/{deployment.pk}", change, format="json").status_code == 400


@pytest.mark.parametrize(("revision", "status"), [(7, 404), (0, 400), ("x", 400), (2**40, 400), (None, 409)])
def test_a_rollback_needs_a_real_target(api: Any, deployment: Deployment, revision: Any, status: int) -> None:
    answer = api.post(f"{URL}/{deployment.pk}/rollback", {"revision": revision}, format="json")
    assert answer.status_code == status


def test_lists_are_filtered(api: Any, deployment: Deployment, node: Any, package: Any, actor: Any) -> None:
    def names(query: str = "") -> list[str]:
        return [row["name"] for row in api.get(f"{URL}?{query}").json()["results"]]

    assert names() == names(f"node={node.pk}&package={package.pk}&state=pending&q=HELL&organisation=acme") == ["hello"]
    assert names(f"node={uuid4()}") == names("state=ready") == names("q=other") == []
    assert api.get(f"{URL}?node=x").status_code == 400
    assert api.get(f"{URL}?q=%00").status_code == 400
    services.remove(deployment, actor=actor)
    services.observe(deployment.pk, 2, {"state": "absent"})
    assert (names(), names("state=removed")) == ([], ["hello"])


def test_the_number_of_queries_does_not_grow_with_the_list(
    api: Any, organisation: Any, node: Any, package: Any, django_assert_max_num_queries: Any
) -> None:
    Deployment.objects.bulk_create(
        Deployment(organisation=organisation, node=node, package=package, name=f"d{at}", namespace="t-acme")
        for at in range(50)
    )
    with django_assert_max_num_queries(6):
        assert len(api.get(f"{URL}?page_size=50").json()["results"]) == 50
    deployment = Deployment.objects.first()
    with django_assert_max_num_queries(5):
        api.get(f"{URL}/{deployment.pk}")


def test_a_plan_for_many_nodes_asks_the_database_a_few_times(
    api: Any, make_node: Any, package: Any, django_assert_max_num_queries: Any
) -> None:
    for at in range(20):
        make_node(f"n{at}", cpu_millis=400 if at % 2 else 4000)
    # Six of them are gates: recalls, the policies of signatures and of certification.
    with django_assert_max_num_queries(14):
        answer = api.post(f"{URL}/plan", {"package": str(package.pk)}, format="json")
    assert (answer.status_code, answer.json()["fits"], len(answer.json()["results"])) == (200, 10, 20)
    refused = next(row for row in answer.json()["results"] if not row["fits"])
    assert refused["reasons"] == [{"code": "cpu", "message": "does not fit: needs 0.5 CPU, 0.4 free"}]
    assert not Deployment.objects.exists()


def test_a_plan_names_only_ones_own_nodes(api: Any, package: Any, make_node: Any, stranger_organisation: Any) -> None:
    theirs = make_node("theirs", organisation=stranger_organisation)
    assert api.post(f"{URL}/plan", {"package": str(package.pk)}, format="json").json()["results"] == []
    asked = {"package": str(package.pk), "nodes": [str(theirs.pk)]}
    assert api.post(f"{URL}/plan", asked, format="json").status_code == 404


def test_another_tenant_may_deploy_a_published_package_but_not_to_our_node(
    stranger_api: Any, body: dict[str, Any], make_node: Any, stranger_organisation: Any
) -> None:
    assert stranger_api.post(URL, body, format="json").status_code == 404
    own = make_node("theirs", organisation=stranger_organisation)
    answer = stranger_api.post(URL, {**body, "node": str(own.pk)}, format="json")
    assert (answer.status_code, answer.json()["namespace"]) == (202, "t-other")


def test_a_draft_of_somebody_else_is_not_there(
    stranger_api: Any, make_package: Any, make_node: Any, stranger_organisation: Any
) -> None:
    own = make_node("theirs", organisation=stranger_organisation)
    draft = make_package("7.0.0", state="checked")
    asked = {"package": str(draft.pk), "node": str(own.pk), "name": "hello"}
    assert stranger_api.post(URL, asked, format="json").status_code == 404


def test_an_agent_is_asked_for_log_lines_while_somebody_looks(api: Any, deployment: Deployment) -> None:
    url = f"{URL}/{deployment.pk}/logs"
    first = api.get(url).json()
    assert first["lines"] == []
    watch = DesiredObject.objects.get(kind="logWatch", key=str(deployment.pk))
    assert watch.spec["until"] == first["watching_until"] > time.time() + 20
    lines = [{"pod": "hello", "text": str(number)} for number in range(9)]
    ReportedObject.objects.create(
        node_id=deployment.node_id, kind="appLog", key=str(deployment.pk), status={"lines": lines}
    )
    assert [line["text"] for line in api.get(f"{url}?tail=2").json()["lines"]] == ["7", "8"]
    for left, renewed in ((20, False), (10, True)):
        watch.spec, watch.sha256 = {"until": time.time() + left}, ""
        watch.save(update_fields=["spec", "sha256"])
        api.get(url)
        again = DesiredObject.objects.get(pk=watch.pk)
        assert (again.rev > watch.rev) is renewed, "a second look within seconds writes nothing"
    assert api.get(f"{url}?tail=-1").status_code == 400


def test_a_log_watch_ends_when_nobody_looks(api: Any, deployment: Deployment) -> None:
    api.get(f"{URL}/{deployment.pk}/logs")
    assert logs.end_watches() == 0
    assert logs.end_watches(now=time.time() + 120) == 1
    assert DesiredObject.objects.get(kind="logWatch").deleted


def test_events_are_shown_as_last_reported(api: Any, deployment: Deployment) -> None:
    url = f"{URL}/{deployment.pk}/events"
    assert api.get(url).json() == {"events": [], "reported_at": None}
    told = {"events": [{"reason": "Pulled"}]}
    ReportedObject.objects.create(node_id=deployment.node_id, kind="appEvents", key=str(deployment.pk), status=told)
    assert api.get(url).json()["events"] == [{"reason": "Pulled"}]


def test_a_viewer_reads_and_changes_nothing(
    client_of: Any, make_user: Any, organisation: Any, deployment: Deployment, body: dict[str, Any]
) -> None:
    viewer = client_of(make_user("vic", organisation, "viewer"))
    assert viewer.get(f"{URL}/{deployment.pk}").status_code == 200
    assert viewer.delete(f"{URL}/{deployment.pk}").status_code == 403
    assert viewer.post(URL, body, format="json").status_code == 403
    assert viewer.post(f"{URL}/{deployment.pk}/rollback", {}, format="json").status_code == 403


def test_what_a_page_follows_ends_with_the_removal(deployment: Deployment, actor: Any) -> None:
    assert snapshot(deployment.pk)["finished"] is False
    services.remove(deployment, actor=actor)
    services.observe(deployment.pk, 2, {"state": "absent"})
    assert (snapshot(deployment.pk)["finished"], snapshot(deployment.pk)["state"]) == (True, "removed")
    assert snapshot(uuid4()) is None


@pytest.mark.usefixtures("threads_db")
def test_the_stream_sends_the_deployment_as_an_event(api: Any, deployment: Deployment) -> None:
    answer = api.get(f"{URL}/{deployment.pk}/stream", HTTP_ACCEPT="text/event-stream")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")

    async def first() -> bytes:
        async for chunk in answer.streaming_content:
            if chunk.startswith(b"data:"):
                return chunk
        return b""

    event = json.loads(asyncio.run(first()).removeprefix(b"data: "))
    assert (event["id"], event["state"], event["finished"]) == (str(deployment.pk), "pending", False)
