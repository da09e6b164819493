"""Deploying, following, upgrading, rolling back and removing, as operators see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node


def text_of(response: Any) -> str:
    """Return the page, which must be one."""
    assert response.status_code == 200
    return response.content.decode()


def test_the_page_says_where_it_fits_and_why_not_elsewhere(pages: Any, package: Any, node: Any, make_node: Any) -> None:
    make_node("too-small", cpu_millis=100)
    text = text_of(pages.get(f"/packages/{package.pk}/deploy"))
    assert text.index("berth-7") < text.index("too-small")
    assert "does not fit" in text
    assert "CPU" in text
    assert 'name="name" value="hello"' in text


def test_the_verdict_follows_what_is_typed(pages: Any, package: Any, node: Any) -> None:
    def judged(**given: Any) -> str:
        return text_of(pages.post(f"/packages/{package.pk}/deploy/plan", {"name": "hello", "values": "", **given}))

    assert "does not fit" not in judged()
    assert "does not fit" in judged(values="replicas: 40")
    assert "Mend what is marked first" in judged(values="replicas: [")
    assert "Mend what is marked first" in judged(name="")
    assert "replicas" in judged(values="replicas: many")


def test_deploying_leads_to_the_deployment(pages: Any, package: Any, node: Any, organisation: Any) -> None:
    wanted = {"node": str(node.pk), "name": "front", "values": "replicas: 2\n"}
    response = pages.post(f"/packages/{package.pk}/deploy", wanted)
    made = Deployment.objects.get()
    assert response.headers["Location"] == f"/deployments/{made.pk}"
    assert (made.organisation, made.name, made.values) == (organisation, "front", {"replicas": 2})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"node": ""}, "Choose a node"),
        ({"node": "x"}, "Choose a node"),
        ({"name": "Not A Name"}, "small letters"),
        ({"values": "replicas: ["}, "Line "),
        ({"values": "global: {mep: {url: x}}"}, "global.mep"),
        ({"values": "replicas: many"}, "replicas"),
        ({"values": "replicas: 400"}, "CPU"),
    ],
)
def test_what_is_wrong_is_told_and_what_was_typed_stays(
    pages: Any, package: Any, node: Any, changes: dict[str, str], words: str
) -> None:
    wanted = {"node": str(node.pk), "name": "front", "values": "cpu: 100m", **changes}
    response = pages.post(f"/packages/{package.pk}/deploy", wanted)
    text = response.content.decode()
    assert 400 <= response.status_code < 500
    assert words in text
    assert wanted["values"].split(":")[0] in text
    assert not Deployment.objects.exists()


def test_nothing_is_deployed_to_the_node_of_others(
    pages: Any, package: Any, make_node: Any, stranger_organisation: Any
) -> None:
    theirs = make_node("theirs", organisation=stranger_organisation)
    assert "theirs" not in text_of(pages.get(f"/packages/{package.pk}/deploy"))
    wanted = {"node": str(theirs.pk), "name": "front", "values": ""}
    assert pages.post(f"/packages/{package.pk}/deploy", wanted).status_code == 404


def test_a_name_that_is_taken_is_not_offered(pages: Any, deployment: Any, package: Any) -> None:
    assert 'name="name" value="hello-2"' in text_of(pages.get(f"/packages/{package.pk}/deploy"))


def test_a_failure_is_shown_with_its_reason_and_never_as_ready(pages: Any, deployment: Any) -> None:
    broken = {"kind": "Deployment", "name": "hello", "state": "failed", "wanted": 2, "ready": 1}
    message = "The image localhost/breakwater/hello:1 is not on the node"
    services.observe(
        deployment.pk,
        2,
        {
            "state": "failed",
            "reason": "ImagePullBackOff",
            "message": message,
            "workloads": [{**broken, "reason": "ImagePullBackOff", "message": message}],
        },
    )
    for address in (f"/deployments/{deployment.pk}", f"/deployments/{deployment.pk}/live"):
        text = text_of(pages.get(address))
        assert message in text
        assert "ImagePullBackOff" in text
        assert "1 of 2" in text
    assert message in text_of(pages.get("/deployments"))


def test_an_endpoint_is_a_link(pages: Any, deployment: Any) -> None:
    endpoint = {
        "service": "hello", "port_name": "http", "protocol": "TCP", "cluster_host": "hello", "cluster_port": 80,
        "address": "127.0.0.1", "port": 18080,
    }  # fmt: skip
    services.observe(deployment.pk, 2, {"state": "ready", "endpoints": [endpoint]})
    text = text_of(pages.get(f"/deployments/{deployment.pk}"))
    assert 'href="http://127.0.0.1:18080/"' in text
    assert "hello:80" in text


def test_events_and_lines_are_shown_as_text(pages: Any, deployment: Any, node: Any) -> None:
    evil = "<script>alert(1)</script>"
    key = str(deployment.pk)
    event = {
        "at": "2026-01-01T00:00:00+00:00",
        "type": "Warning",
        "reason": "Unhealthy",
        "object": "Pod/x",
        "message": evil,
    }
    line = {"at": None, "pod": "hello-1", "container": "web", "text": evil}
    ReportedObject.objects.create(node=node, kind="appEvents", key=key, status={"events": [event, "odd", None]})
    ReportedObject.objects.create(node=node, kind="appLog", key=key, status={"lines": [line, 7, {}]})
    text = text_of(pages.get(f"/deployments/{deployment.pk}/tail"))
    assert evil not in text
    assert "Unhealthy" in text
    assert "hello-1" in text


def test_looking_at_the_page_asks_the_node_for_nothing_but_following_it_does(pages: Any, deployment: Any) -> None:
    from mecm.edge.models import DesiredObject

    pages.get(f"/deployments/{deployment.pk}")
    assert not DesiredObject.objects.filter(kind="logWatch").exists()
    pages.get(f"/deployments/{deployment.pk}/tail")
    assert DesiredObject.objects.filter(kind="logWatch").exists()


def test_a_wish_that_waits_for_a_silent_node_says_so(pages: Any, deployment: Any, node: Any) -> None:
    type(node).objects.filter(pk=node.pk).update(last_seen_at=None)
    text = text_of(pages.get(f"/deployments/{deployment.pk}"))
    assert "it takes the wish when it is back" in text


def test_upgrading_offers_the_releases_of_the_same_application(pages: Any, deployment: Any, make_package: Any) -> None:
    newer = make_package("hello", "2.0.0")
    make_package("other", "3.0.0")
    text = text_of(pages.get(f"/deployments/{deployment.pk}/upgrade"))
    assert "hello 2.0.0" in text
    assert "other" not in text
    assert "replicas: 2" in text
    response = pages.post(
        f"/deployments/{deployment.pk}/upgrade", {"package": str(newer.pk), "values": "replicas: 3", "expected": "2"}
    )
    assert response.status_code == 302
    deployment.refresh_from_db()
    assert (deployment.package_id, deployment.values, deployment.generation) == (newer.pk, {"replicas": 3}, 3)


def test_an_upgrade_that_was_decided_on_an_older_state_is_refused(pages: Any, deployment: Any) -> None:
    wanted = {"package": str(deployment.package_id), "values": "replicas: 3", "expected": "1"}
    response = pages.post(f"/deployments/{deployment.pk}/upgrade", wanted)
    assert response.status_code == 412
    assert "generation 2 by now" in response.content.decode()


def test_going_back_shows_what_changes_and_does_it(pages: Any, deployment: Any) -> None:
    text = text_of(pages.get(f"/deployments/{deployment.pk}/rollback/1"))
    assert "replicas" in text
    assert "as a new generation 3" in text
    pages.post(f"/deployments/{deployment.pk}/rollback/1")
    deployment.refresh_from_db()
    assert (deployment.generation, deployment.values) == (3, {"replicas": 1})


def test_a_generation_that_never_was_is_not_found(pages: Any, deployment: Any) -> None:
    assert pages.get(f"/deployments/{deployment.pk}/rollback/9").status_code == 404


def test_removing_asks_with_the_consequence_and_keeps_the_history(pages: Any, deployment: Any) -> None:
    page = text_of(pages.get(f"/deployments/{deployment.pk}"))
    assert "Others that use its services lose them" in page
    pages.post(f"/deployments/{deployment.pk}/remove")
    services.observe(deployment.pk, 3, {"state": "absent"})
    text = text_of(pages.get(f"/deployments/{deployment.pk}"))
    assert "Nothing is left on the node" in text
    assert "3. remove" in text
    assert "Upgrade" not in text
    assert f"/deployments/{deployment.pk}" not in text_of(pages.get("/deployments"))
    assert f"/deployments/{deployment.pk}" in text_of(pages.get("/deployments?state=removed"))


def test_a_removal_on_a_silent_node_can_be_given_up(pages: Any, deployment: Any) -> None:
    url = f"/deployments/{deployment.pk}"
    pages.post(f"{url}/remove")
    assert "Give it up</button>" not in text_of(pages.get(f"{url}/live"))
    Node.objects.update(last_seen_at=timezone.now() - timedelta(hours=2))
    page = text_of(pages.get(url))
    assert 'commandfor="abandon-deployment"' in page
    assert "the application may go on running there" in page
    told = text_of(pages.post(f"{url}/abandon", follow=True))
    assert "is given up; berth-7 is told to remove it" in told
    assert "It may go on running there" in told
    assert "given up" in told
    assert "Nothing is left on the node" not in told
    assert 'commandfor="abandon-deployment"' not in told
    assert url not in text_of(pages.get("/deployments"))
    assert url in text_of(pages.get("/deployments?state=abandoned"))
    assert "is not asked for logs" in text_of(pages.get(f"{url}/tail"))
    services.observe(deployment.pk, 3, {"state": "absent"})
    assert "berth-7 came back and said" in text_of(pages.get(url))


def test_giving_up_is_refused_with_the_question_when_the_node_is_back(pages: Any, deployment: Any) -> None:
    pages.post(f"/deployments/{deployment.pk}/remove")
    answer = pages.post(f"/deployments/{deployment.pk}/abandon")
    assert answer.status_code == 409
    text = answer.content.decode()
    assert "Give this deployment up?" in text
    assert "wait for it" in text
    deployment.refresh_from_db()
    assert deployment.state == "removing"


def test_failed_work_can_be_asked_for_again(pages: Any, operation: Any) -> None:
    text = text_of(pages.get("/operations"))
    assert "The store has no room" in text
    assert "hello 1.0.0" in text  # the package by its name, not its id
    # A check of a release is refused by its handler, not here.
    assert "is asked for again" in text_of(pages.post(f"/operations/{operation.pk}/retry", follow=True))
    waiting = type(operation).objects.get(state="pending", kind=operation.kind)
    assert "is being cancelled" in text_of(pages.post(f"/operations/{waiting.pk}/cancel", follow=True))
    assert "over already" in text_of(pages.post(f"/operations/{waiting.pk}/cancel", follow=True))
