"""Sites over HTTP: made, drawn, connected, carried away as GeoJSON and brought back."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit.models import Entry
from mecm.nodes.models import Node
from mecm.sites.models import Placement, Site, SiteLink

pytestmark = pytest.mark.django_db
RING = [[9.0, 53.0], [10.0, 53.0], [10.0, 54.0], [9.0, 53.0]]


def test_a_site_is_made_changed_connected_and_removed(api: Any, organisation: Any) -> None:
    quay = api.post(
        "/api/v1/sites", {"name": "Quay", "latitude": 53.5, "longitude": 9.9, "radius_m": 900}, format="json"
    )
    assert quay.status_code == 201
    area = {"type": "Polygon", "coordinates": [RING]}
    mast = api.post("/api/v1/sites", {"name": "Mast", "kind": "radio", "area": area}, format="json").json()
    assert (round(mast["longitude"], 3), round(mast["latitude"], 3)) == (9.667, 53.333)
    where = f"/api/v1/sites/{quay.json()['id']}"
    assert api.patch(where, {"labels": {"tier": "1"}}, format="json").json()["labels"] == {"tier": "1"}
    assert api.post("/api/v1/sites", {"name": "Quay", "latitude": 1, "longitude": 1}, format="json").status_code == 409
    node = Node.objects.create(organisation=organisation, name="a", engine="memory")
    assert api.post(f"{where}/nodes", {"node": str(node.pk)}, format="json").status_code == 204
    assert Placement.objects.get(node=node).site.name == "Quay"
    link = api.post(f"/api/v1/sites/{mast['id']}/links", {"target": quay.json()["id"]}, format="json").json()
    assert (link["state"], link["told_at"]) == ("unknown", None)
    back = api.post(f"{where}/links", {"target": mast["id"]}, format="json")
    assert back.status_code == 409
    told = api.patch(f"/api/v1/site-links/{link['id']}", {"state": "down", "note": "cut"}, format="json").json()
    assert (told["state"], told["note"], bool(told["told_at"])) == ("down", "cut", True)
    assert len(api.get(f"{where}/links").json()) == 1
    assert api.delete(where).status_code == 204
    assert not SiteLink.objects.exists()
    actions = set(Entry.objects.values_list("action", flat=True))
    assert {"site.add", "site.change", "node.place", "site.connect", "site.link", "site.remove"} <= actions


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "A"}, "latitude"),
        ({"name": "A", "latitude": 91, "longitude": 1}, "latitude"),
        ({"name": "", "latitude": 1, "longitude": 1}, "name"),
        ({"name": "A", "latitude": 1, "longitude": 1, "kind": "castle"}, "kind"),
        ({"name": "A", "latitude": 1, "longitude": 1, "radius_m": 2**40}, "radius_m"),
        ({"name": "A", "area": {"type": "Polygon", "coordinates": [[[1, 1]]]}}, "area"),
        ({"name": "A", "area": "x"}, "area"),
        ({"name": "A", "latitude": 1, "longitude": 1, "labels": {"k": "x" * 200}}, "labels"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field(api: Any, organisation: Any, body: Any, field: str) -> None:
    answer = api.post("/api/v1/sites", body, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert field in str(problem.get("errors", problem.get("field")))
    assert not Site.objects.exists()


def test_what_is_exported_can_be_imported(
    api: Any, stranger_api: Any, organisation: Any, stranger_organisation: Any, django_assert_max_num_queries: Any
) -> None:
    ring = {"type": "Polygon", "coordinates": [RING]}
    features = [
        {"type": "Feature", "geometry": ring, "properties": {"name": "Quay", "labels": {"a": "b"}}},
        *[
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [n, 50]}, "properties": {"name": f"M{n}"}}
            for n in range(40)
        ],
        *[
            {"type": "Feature", "geometry": None,
             "properties": {"kind": "link", "source": f"M{n}", "target": "Quay", "state": "up"}}
            for n in range(40)
        ],
    ]  # fmt: skip
    document = {"type": "FeatureCollection", "features": features}
    with django_assert_max_num_queries(18):
        done = api.post("/api/v1/map/sites", document, format="json")
    assert done.json() == {"made": 41, "changed": 0, "links": 40}
    with django_assert_max_num_queries(5):
        exported = api.get("/api/v1/map/sites")
    assert exported["Content-Type"] == "application/geo+json"
    assert api.post("/api/v1/map/sites", exported.json(), format="json").json() == {
        "made": 0, "changed": 41, "links": 40,
    }  # fmt: skip
    assert stranger_api.post("/api/v1/map/sites", exported.json(), format="json").json()["made"] == 41
    copied = stranger_api.get("/api/v1/map/sites").json()["features"]

    def plain(found: list[Any]) -> list[Any]:
        return [(each["geometry"], each["properties"]) for each in found]

    assert plain(copied) == plain(exported.json()["features"])
    assert Site.objects.filter(organisation=organisation).count() == 41


def test_one_wrong_feature_leaves_nothing_behind(api: Any, organisation: Any) -> None:
    good = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": {"name": "A"}}
    bad = {**good, "properties": {"name": "B", "kind": "castle"}}
    lost = {**good, "properties": {"kind": "link", "source": "A", "target": "Nowhere"}}
    for features in ([good, bad], [good, lost]):
        answer = api.post("/api/v1/map/sites", {"type": "FeatureCollection", "features": features}, format="json")
        assert answer.status_code == 400
        assert "B" in answer.content.decode() or "Nowhere" in answer.content.decode()
        assert not Site.objects.exists()


def test_a_viewer_draws_nothing(client_of: Any, make_user: Any, organisation: Any) -> None:
    viewer = client_of(make_user("viewer", organisation, "viewer"))
    body = {"name": "A", "latitude": 1, "longitude": 1, "organisation": organisation.slug}
    assert viewer.post("/api/v1/sites", body, format="json").status_code == 403
    collection = {"type": "FeatureCollection", "features": [], "organisation": organisation.slug}
    assert viewer.post("/api/v1/map/sites", collection, format="json").status_code == 403
    assert viewer.get("/api/v1/map/sites").status_code == 200
