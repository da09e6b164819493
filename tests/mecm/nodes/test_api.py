"""Nodes over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node

pytestmark = pytest.mark.django_db

NEW = {"name": "berth-7", "engine": "memory", "latitude": 60.17, "longitude": 24.94, "labels": {"site": "harbour"}}


@pytest.fixture
def node(api: Any) -> Any:
    """A node that was registered over HTTP."""
    answer = api.post("/api/v1/nodes", NEW, format="json")
    assert answer.status_code == 201, answer.content
    return Node.objects.get(pk=answer.json()["id"])


def test_a_node_is_shown_with_its_load(api: Any, node: Any) -> None:
    shown = api.get(f"/api/v1/nodes/{node.pk}").json()
    assert (shown["name"], shown["state"], shown["organisation"]["slug"]) == ("berth-7", "new", "acme")
    assert shown["allocated"] == {"cpu_millis": 0, "memory_bytes": 0, "storage_bytes": 0}
    assert not {"kubeconfig", "mep_token", "mep_ca"} & set(shown)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**NEW, "latitude": 95}, "latitude"),
        ({**NEW, "longitude": "east"}, "longitude"),
        ({**NEW, "name": "B 7"}, "name"),
        ({**NEW, "engine": "abacus"}, "engine"),
        ({**NEW, "cpu_millis": -1}, "cpu_millis"),
        ({**NEW, "memory_bytes": 2**70}, "memory_bytes"),
        ({**NEW, "labels": []}, "labels"),
        ({"engine": "memory"}, "name"),
        ({**NEW, "name": "nul\x00"}, "name"),
    ],
)
def test_bad_input_is_told_by_field(api: Any, body: dict[str, Any], field: str) -> None:
    answer = api.post("/api/v1/nodes", body, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert field in [each["field"] for each in answer.json()["errors"]]


def test_a_second_node_of_that_name_is_a_conflict(api: Any, node: Any) -> None:
    assert api.post("/api/v1/nodes", NEW, format="json").status_code == 409


def test_a_node_is_changed_and_removed(api: Any, node: Any) -> None:
    url = f"/api/v1/nodes/{node.pk}"
    changed = api.patch(url, {"labels": {"site": "airport"}, "cpu_millis": 4000}, format="json").json()
    assert (changed["labels"], changed["cpu_millis"], changed["latitude"]) == ({"site": "airport"}, 4000, 60.17)
    assert api.patch(url, {"latitude": None, "longitude": None}, format="json").json()["latitude"] is None
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_lists_are_filtered(api: Any, node: Any) -> None:
    api.post("/api/v1/nodes", {"name": "quay-1", "engine": "kubernetes", "link": "direct"}, format="json")

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"/api/v1/nodes?{query}").json()["results"]]

    assert names("") == ["berth-7", "quay-1"]
    assert names("q=BERTH") == names("engine=memory") == names("link=agent") == ["berth-7"]
    assert names("state=new&organisation=acme") == ["berth-7", "quay-1"]
    assert names("state=online") == names("state=nonsense") == []
    assert api.get("/api/v1/nodes?q=%00").status_code == 400
    assert api.get("/api/v1/nodes?organisation=other").status_code == 404


def test_a_stranger_sees_an_empty_list(stranger_api: Any, node: Any) -> None:
    assert stranger_api.get("/api/v1/nodes").json()["count"] == 0
    assert stranger_api.get("/api/v1/geo/nodes").json()["features"] == []


def test_the_number_of_queries_does_not_grow_with_the_list(
    api: Any, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    Node.objects.bulk_create(
        Node(organisation=organisation, name=f"n{at}", engine="memory", latitude=1, longitude=at) for at in range(50)
    )
    with django_assert_max_num_queries(6):
        assert len(api.get("/api/v1/nodes?page_size=50").json()["results"]) == 50


def test_the_map_is_one_query_beside_who_asks(api: Any, organisation: Any, django_assert_max_num_queries: Any) -> None:
    Node.objects.bulk_create(
        Node(organisation=organisation, name=f"n{at}", engine="memory", latitude=1, longitude=at) for at in range(50)
    )
    with django_assert_max_num_queries(4):  # session, person, roles, nodes
        assert len(api.get("/api/v1/geo/nodes").json()["features"]) == 50


def test_the_map_is_geojson_with_a_tag(api: Any, node: Any) -> None:
    answer = api.get("/api/v1/geo/nodes")
    assert answer["Content-Type"] == "application/geo+json"
    (feature,) = answer.json()["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [24.94, 60.17]}
    assert feature["properties"]["state"] == "new"
    same = api.get("/api/v1/geo/nodes", headers={"If-None-Match": f'"other", W/{answer["ETag"]}'})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", answer["ETag"])
    Node.objects.update(last_seen_at=timezone.now())
    assert api.get("/api/v1/geo/nodes", headers={"If-None-Match": answer["ETag"]}).status_code == 200


def test_a_heartbeat_alone_does_not_change_the_tag(api: Any, node: Any) -> None:
    Node.objects.update(last_seen_at=timezone.now())
    tag = api.get("/api/v1/geo/nodes")["ETag"]
    Node.objects.update(last_seen_at=timezone.now())
    assert api.get("/api/v1/geo/nodes")["ETag"] == tag


def test_the_mep_is_shown_as_last_reported(api: Any, node: Any) -> None:
    url = f"/api/v1/nodes/{node.pk}/mep"
    assert api.get(url).json()["reported_at"] is None
    ReportedObject.objects.create(node=node, kind="mep", key="state", status={"services": [{"serName": "greeting"}]})
    shown = api.get(url).json()
    assert (shown["services"], shown["dns_rules"], bool(shown["reported_at"])) == ([{"serName": "greeting"}], [], True)


def test_a_join_string_is_made_for_agents_only(api: Any, node: Any) -> None:
    answer = api.post(f"/api/v1/nodes/{node.pk}/enrolment-tokens")
    assert answer.status_code == 201
    assert answer.json()["join"].startswith("mec1.")
    direct = api.post("/api/v1/nodes", {**NEW, "name": "quay", "link": "direct"}, format="json").json()["id"]
    assert api.post(f"/api/v1/nodes/{direct}/enrolment-tokens").status_code == 409


def test_a_viewer_reads_and_changes_nothing(client_of: Any, make_user: Any, organisation: Any, node: Any) -> None:
    viewer = client_of(make_user("vic", organisation, "viewer"))
    assert viewer.get(f"/api/v1/nodes/{node.pk}").status_code == 200
    assert viewer.patch(f"/api/v1/nodes/{node.pk}", {"name": "mine"}, format="json").status_code == 403
    assert viewer.post(f"/api/v1/nodes/{node.pk}/enrolment-tokens").status_code == 403
    assert viewer.post("/api/v1/nodes", NEW, format="json").status_code == 403
