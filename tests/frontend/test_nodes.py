"""Nodes as operators see them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from mecm.edge.models import DesiredObject, NodeSync, ReportedObject
from mecm.nodes.models import Node

KUBECONFIG = """apiVersion: v1
kind: Config
current-context: edge
contexts: [{name: edge, context: {cluster: edge, user: edge-user}}]
clusters: [{name: edge, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: edge-user, user: {token: very-secret-token}}]
"""


def text_of(response: Any) -> str:
    """Return the page, which must be one."""
    assert response.status_code == 200
    return response.content.decode()


def report(node: Node, **state: Any) -> None:
    """Let the node's MEP have said this."""
    ReportedObject.objects.create(node=node, kind="mep", key="state", status=state)


def test_no_nodes_is_no_dead_end(pages: Any) -> None:
    for address in ("/nodes", "/map"):
        assert "/nodes/new" in text_of(pages.get(address))


def test_a_node_is_registered_by_its_form(pages: Any, organisation: Any) -> None:
    wanted = {
        "name": "harbour-1",
        "engine": "docker",
        "link": "agent",
        "latitude": "60.17",
        "longitude": "24.94",
        "labels": "site=harbour\ntier = edge\n",
    }
    response = pages.post("/nodes/new", wanted)
    node = Node.objects.get()
    assert response.headers["Location"] == f"/nodes/{node.pk}"
    assert (node.organisation, node.labels) == (organisation, {"site": "harbour", "tier": "edge"})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "Harbour One", "small letters"),
        ("name", "", "required"),
        ("latitude", "91", "less than or equal to 90"),
        ("latitude", "", "both|neither|coordinate"),
        ("labels", "no sign here", "line 1 is not key=value"),
        ("engine", "magic", "valid choice"),
        ("link", "direct", "beside an agent only"),
    ],
)
def test_bad_input_is_told_beside_its_field_and_stays(pages: Any, field: str, value: str, words: str) -> None:
    wanted = {
        "name": "harbour-1",
        "engine": "docker",
        "link": "agent",
        "latitude": "60",
        "longitude": "24",
        "labels": "a=b",
    }
    response = pages.post("/nodes/new", {**wanted, field: value})
    text = response.content.decode()
    assert response.status_code == 400
    assert f'id="id_{field}_error"' in text
    assert re.search(words, text)
    assert 'value="24' in text
    assert not Node.objects.exists()


def test_a_name_is_given_once(pages: Any, node: Any) -> None:
    response = pages.post("/nodes/new", {"name": node.name, "engine": "docker", "link": "agent"})
    assert response.status_code == 400
    assert "already" in response.content.decode()


def test_place_and_labels_can_be_changed(pages: Any, node: Any) -> None:
    response = pages.post(
        f"/nodes/{node.pk}/change", {"name": "quay-2", "latitude": "1.5", "longitude": "2.5", "labels": "a=b"}
    )
    assert response.status_code == 302
    node.refresh_from_db()
    assert (node.name, node.latitude, node.labels) == ("quay-2", 1.5, {"a": "b"})


def test_a_join_string_is_shown_once_with_the_command(pages: Any, node: Any) -> None:
    response = pages.post(f"/nodes/{node.pk}/join")
    join = re.search(r'id="join-string">(mec1\.[^<]+)<', text_of(response))
    assert join
    assert f"manage.py enrol {join[1]} --again" in response.content.decode()  # a machine holds this node already
    assert "no-store" in response.headers["Cache-Control"]
    assert join[1].split(".")[-1] not in text_of(pages.get(f"/nodes/{node.pk}"))


def test_revoking_shuts_the_machine_out(pages: Any, node: Any) -> None:
    from mecm.edge.models import EnrolmentToken

    pages.post(f"/nodes/{node.pk}/join")
    assert "is shut out" in text_of(pages.post(f"/nodes/{node.pk}/revoke", follow=True))
    assert not EnrolmentToken.objects.exists()


def test_a_direct_node_is_joined_by_nobody(pages: Any, make_node: Any) -> None:
    node = make_node(link="direct", engine="kubernetes")
    text = text_of(pages.post(f"/nodes/{node.pk}/join"))
    assert "no agent joins it" in text
    assert "mec1." not in text


@pytest.mark.parametrize("way", ["text", "file"])
def test_a_kubeconfig_goes_in_and_never_comes_out(pages: Any, make_node: Any, way: str) -> None:
    node = make_node(link="direct", engine="kubernetes")
    given = {"text": KUBECONFIG} if way == "text" else {"file": SimpleUploadedFile("config", KUBECONFIG.encode())}
    text = text_of(pages.post(f"/nodes/{node.pk}/kubeconfig", given, follow=True))
    node.refresh_from_db()
    assert node.kubeconfig
    assert "One is stored, encrypted" in text
    for address in (f"/nodes/{node.pk}", "/audit", "/operations", f"/nodes/{node.pk}/change"):
        assert "very-secret-token" not in text_of(pages.get(address))


@pytest.mark.parametrize("given", ["", "not: [a kubeconfig", "very-secret-token: {"])
def test_a_bad_kubeconfig_is_told_without_showing_it(pages: Any, make_node: Any, given: str) -> None:
    node = make_node(link="direct", engine="kubernetes")
    response = pages.post(f"/nodes/{node.pk}/kubeconfig", {"text": given}, follow=True)
    text = response.content.decode()
    assert "very-secret-token" not in text
    assert 'role="alert"' in text
    node.refresh_from_db()
    assert not node.kubeconfig


def test_the_token_of_a_mep_is_not_repeated_when_its_address_is_wrong(pages: Any, make_node: Any) -> None:
    node = make_node(link="direct", engine="kubernetes")
    response = pages.post(f"/nodes/{node.pk}/mep", {"url": "http://mep.example", "token": "very-secret-token"})
    text = response.content.decode()
    assert response.status_code == 400
    assert "must be https" in text
    assert "very-secret-token" not in text


def test_what_the_mep_reported_is_shown_with_its_time(pages: Any, node: Any) -> None:
    report(
        node,
        services=[{"serName": "greeting", "state": "ACTIVE", "version": "1"}],
        apps=[{"appName": "hello", "state": "READY"}],
        dns_rules=[{"dnsRuleId": "d", "domainName": "hello.example", "ipAddress": "192.0.2.9", "state": "ACTIVE"}],
        traffic_rules=[
            {"trafficRuleId": "t", "priority": 1, "action": "DROP", "state": "INACTIVE", "trafficFilter": [{}]},
            {
                "trafficRuleId": "f",
                "priority": 2,
                "action": "FORWARD_DECAPSULATED",
                "state": "ACTIVE",
                "trafficFilter": [{}],
                "dstInterface": {"interfaceType": "IP", "dstIpAddress": "192.0.2.7"},
                "enforcement": "refused",
                "reason": "no such thing here",
            },
        ],
        alarms=[
            {"kind": "notification-given-up", "subject": "subscription=1", "severity": "major", "text": "not heard"}
        ],
        user_plane={"adapter": "memory", "simulated": True},
        subscriptions=[{"subscriptionType": "SerAvailabilityNotificationSubscription", "delivered": 4}],
    )
    text = text_of(pages.get(f"/nodes/{node.pk}"))
    for fact in (
        "greeting",
        "hello.example",
        "DROP",
        "SerAvailability",
        "as reported",
        "192.0.2.7",
        "no such thing here",
    ):
        assert fact in text
    for fact in ("not heard", "major", "user plane memory, simulated"):
        assert fact in text


@pytest.mark.parametrize("odd", [None, "text", 7, [1, None, "x", []], [{}], {"a": 1}, [{"serName": {"a": [1]}}]])
def test_a_node_that_reports_nonsense_breaks_no_page(pages: Any, node: Any, odd: Any) -> None:
    report(
        node, services=odd, apps=odd, dns_rules=odd, traffic_rules=odd, subscriptions=odd, alarms=odd, user_plane=odd
    )
    text_of(pages.get(f"/nodes/{node.pk}"))


def test_use_is_what_deployments_ask_for(pages: Any, deployment: Any, node: Any) -> None:
    text = text_of(pages.get(f"/nodes/{node.pk}"))
    assert "1 CPU of 4 CPU" in text  # two replicas of half a CPU
    assert "128 MiB of 8 GiB" in text


def test_a_node_says_what_keeps_its_tenants_apart_and_does_not_promise_it(pages: Any, make_node: Any) -> None:
    node = make_node(
        "walls", facts={"isolation": {"state": "not-enforced", "by": "Flannel"}, "limits": {"memory": 512}}
    )
    page = text_of(pages.get(f"/nodes/{node.pk}"))
    assert "no: Flannel does not enforce NetworkPolicies" in page
    assert "Limits of a container" in page
    assert "nothing here is known to enforce" in text_of(pages.get(f"/nodes/{make_node('silent').pk}"))


def test_a_simulated_node_says_so(pages: Any, make_node: Any) -> None:
    node = make_node(simulated=True)
    for address in ("/nodes", f"/nodes/{node.pk}"):
        assert "simulated" in text_of(pages.get(address))


def test_a_node_that_holds_something_is_not_removed(pages: Any, deployment: Any, node: Any) -> None:
    text = text_of(pages.post(f"/nodes/{node.pk}/remove", follow=True))
    assert "remove these deployments first" in text
    assert Node.objects.exists()


def test_an_empty_node_is_removed(pages: Any, node: Any) -> None:
    assert "is gone" in text_of(pages.post(f"/nodes/{node.pk}/remove", follow=True))
    assert not Node.objects.exists()


def test_silence_makes_a_node_offline(pages: Any, make_node: Any) -> None:
    make_node(last_seen_at=timezone.now() - timezone.timedelta(hours=1))
    assert "offline" in text_of(pages.get("/nodes"))


def test_a_node_becomes_a_sandbox_by_a_switch_and_is_one_no_more_by_another(pages: Any, make_node: Any) -> None:
    from mecm.trials.models import Sandbox

    node = make_node("lab-1")
    assert "Not a sandbox" in text_of(pages.get(f"/nodes/{node.pk}"))
    assert pages.post(f"/nodes/{node.pk}/sandbox", {"on": "on"}).status_code == 302
    assert Sandbox.objects.filter(node=node).exists()
    assert "may run packages here that are not published" in text_of(pages.get(f"/nodes/{node.pk}"))
    pages.post(f"/nodes/{node.pk}/sandbox", {})
    assert not Sandbox.objects.exists()


def test_only_who_may_change_a_node_makes_it_a_sandbox(
    browser_of: Any, make_user: Any, organisation: Any, make_node: Any
) -> None:
    from mecm.trials.models import Sandbox

    node, viewer_pages = make_node("lab-1"), browser_of(make_user("viewer", organisation, "viewer"))
    assert viewer_pages.post(f"/nodes/{node.pk}/sandbox", {"on": "on"}).status_code == 403
    assert "Sandbox for certification" not in text_of(viewer_pages.get(f"/nodes/{node.pk}"))
    assert not Sandbox.objects.exists()


def test_what_nobody_wishes_for_is_shown_and_removed_after_a_question(pages: Any, organisation: Any) -> None:
    node = Node.objects.create(organisation=organisation, name="edge-1", engine="memory", link="agent")
    NodeSync.objects.create(node=node)
    assert "Nobody wishes" not in text_of(pages.get(f"/nodes/{node.pk}"))
    ReportedObject.objects.create(node=node, kind="node", key="self", status={"unwished": ["t-acme/old"]})
    page = text_of(pages.get(f"/nodes/{node.pk}"))
    assert "its data too" in page, "the question says what follows"
    (action,) = re.findall(r'action="(/nodes/[^"]+/orphans/[^"]+)"', page)
    response = pages.post(action)
    assert response.headers["Location"] == f"/nodes/{node.pk}"
    assert DesiredObject.objects.get(kind="orphan").key == "t-acme/old"
    after = text_of(pages.get(f"/nodes/{node.pk}"))
    assert "it is gone when the node says so" in after
    assert "/orphans/" not in after, "it is asked once"
