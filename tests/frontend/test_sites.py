"""The pages of sites: forms that keep what was typed, a file that is taken whole or not, a picture that says what is."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from frontend.sites import picture
from mecm.edge.models import ReportedObject
from mecm.nodes.models import Node
from mecm.sites import services, topology
from mecm.sites.models import Site, SiteLink


def upload(document: Any) -> SimpleUploadedFile:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return SimpleUploadedFile("sites.geojson", content)


def test_a_site_is_added_changed_and_removed_by_forms(pages: Any, organisation: Any) -> None:
    wrong = pages.post("/sites/new", {"name": "Quay 7", "kind": "edge", "latitude": "99", "longitude": "9.9"})
    text = wrong.content.decode()
    assert wrong.status_code == 400
    assert 'value="Quay 7"' in text
    assert 'id="id_latitude_error"' in text
    nowhere = pages.post("/sites/new", {"name": "Quay 7", "kind": "edge"})
    assert "Give a position or an area" in nowhere.content.decode()
    ring = '{"type": "Polygon", "coordinates": [[[9, 53], [10, 53], [10, 99], [9, 53]]]}'
    bad = pages.post("/sites/new", {"name": "Quay 7", "kind": "edge", "area": ring}).content.decode()
    assert "area.coordinates[0][2]: is not on Earth" in bad
    done = pages.post("/sites/new", {"name": "Quay 7", "kind": "edge", "area": ring.replace("99", "54")})
    site = Site.objects.get()
    assert done.headers["Location"] == f"/sites/{site.pk}"
    twice = pages.post("/sites/new", {"name": "Quay 7", "kind": "edge", "latitude": "1", "longitude": "1"})
    assert "has a site named" in twice.content.decode()
    form = {"name": "Quay 8", "kind": "radio", "latitude": "1", "longitude": "2", "radius_m": "500", "labels": "a=b"}
    pages.post(f"/sites/{site.pk}/change", form)
    site.refresh_from_db()
    assert (site.name, site.kind, site.radius_m, site.labels, site.area) == ("Quay 8", "radio", 500, {"a": "b"}, None)
    pages.post(f"/sites/{site.pk}/remove")
    assert not Site.objects.exists()


def test_a_file_is_taken_whole_or_its_faults_are_named(pages: Any, organisation: Any) -> None:
    good = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [9, 53]}, "properties": {"name": "A"}}
    bad = {**good, "geometry": {"type": "Point", "coordinates": [9, 200]}, "properties": {"name": "<b>B"}}
    document = {"type": "FeatureCollection", "features": [good, bad]}
    refused = pages.post("/sites/import", {"file": upload(document)})
    text = refused.content.decode()
    assert refused.status_code == 400
    assert "features[1].geometry.coordinates" in text
    assert "&lt;b&gt;B" in text
    assert not Site.objects.exists()
    for content in (b"", b"[" * 5000, b"{}", b"\x00\xff"):
        assert pages.post("/sites/import", {"file": upload(content)}).status_code == 400
    assert pages.post("/sites/import", {}).status_code == 400
    document["features"] = [good]
    assert pages.post("/sites/import", {"file": upload(document)}, follow=True).status_code == 200
    assert Site.objects.get().name == "A"


def test_nodes_are_placed_and_sites_are_connected_by_name(
    pages: Any, actor: Any, organisation: Any, stranger_organisation: Any, make_node: Any
) -> None:
    place = {"actor": actor, "organisation": organisation, "longitude": 9.9}
    quay = services.add_site(name="Quay", latitude=53.5, **place)
    mast = services.add_site(name="Mast", kind="radio", latitude=53.6, **place)
    make_node("berth-7")
    Node.objects.create(organisation=stranger_organisation, name="theirs", engine="memory")
    for name in ("theirs", "no-such"):
        answer = pages.post(f"/sites/{quay.pk}/place", {"node": name})
        assert answer.status_code == 400
        assert "There is no node of that name" in answer.content.decode()
        assert f'value="{name}"' in answer.content.decode()
    pages.post(f"/sites/{quay.pk}/place", {"node": "berth-7"})
    assert quay.placements.count() == 1
    assert pages.post(f"/sites/{mast.pk}/connect", {"target": "Nowhere", "state": "up"}).status_code == 400
    assert pages.post(f"/sites/{mast.pk}/connect", {"target": "Quay", "state": "up"}).status_code == 302
    link = SiteLink.objects.get()
    pages.post(f"/sites/{quay.pk}/link", {"link": str(link.pk), "state": "down"})
    link.refresh_from_db()
    assert link.state == "down"
    assert pages.post(f"/sites/{quay.pk}/link", {"link": str(quay.pk), "state": "down"}).status_code == 404
    pages.post(f"/sites/{quay.pk}/disconnect", {"link": str(link.pk)})
    pages.post(f"/sites/{quay.pk}/take-away", {"node": "berth-7"})
    assert not SiteLink.objects.exists()
    assert not quay.placements.exists()


def test_the_picture_says_what_was_reported_and_no_more(
    pages: Any,
    actor: Any,
    organisation: Any,
    deployment: Any,
    node: Any,
    make_node: Any,
    django_assert_max_num_queries: Any,
) -> None:
    place = {"actor": actor, "organisation": organisation, "longitude": 9.9}
    quay = services.add_site(name="Quay", latitude=53.5, **place)
    mast = services.add_site(name="Mast <North>", kind="radio", latitude=53.6, **place)
    services.connect(mast, quay, actor=actor, state="degraded")
    services.place_node(node, quay, actor=actor)
    told = {
        "user_plane": {"adapter": "nftables", "simulated": False},
        "traffic_rules": [
            {"state": "ACTIVE", "enforcement": "in-force"}, {"state": "ACTIVE", "enforcement": "refused"}, "x",
        ],
        "services": [{"serName": "greeting", "state": "ACTIVE", "appInstanceId": str(deployment.app_instance_id)}, 7],
        "alarms": None,
    }  # fmt: skip
    row = ReportedObject.objects.create(node=node, kind="mep", key="state", status=told)
    text = pages.get(f"/sites/{quay.pk}").content.decode()
    for words in ("Mast &lt;North&gt;", "link degraded", "in service", "2 rules", "greeting", "hello", "berth-7"):
        assert words in text
    (stand,) = topology.of(quay, actor).stands
    assert (stand.plane.look, stand.steering.word, stand.mep.look) == ("ok", "1 not in force", "ok")
    row.status = {**told, "alarms": [{"subject": "user-plane=nftables"}]}
    row.save()
    assert topology.of(quay, actor).stands[0].plane.word == "does not answer"
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(hours=1))
    (stand,) = topology.of(quay, actor).stands
    assert stand.mep.word == "offline"
    assert {stand.plane.look, stand.steering.look, *(each.look for each in [*stand.apps, *stand.services])} == {"quiet"}
    for number in range(14):
        services.place_node(make_node(f"more-{number}"), quay, actor=actor)
    with django_assert_max_num_queries(4):
        found = topology.of(quay, actor)
    assert (len(found.stands), found.left_out) == (12, 3)
    # From the radio side one sees the nodes that it is connected to.
    assert len(topology.of(mast, actor).stands) == 12
    row.status = ["hostile"]
    row.save()
    assert pages.get(f"/sites/{quay.pk}").status_code == 200


def test_a_service_of_the_mep_itself_is_not_drawn_from_an_application() -> None:
    app = topology.Part("crane", "Crane 1.0", "ok", "ready", instance="one")
    services_ = [topology.Part("telemetry", instance="one"), topology.Part("location", look="ok")]
    part = topology.Part("berth-7", look="ok")
    drawn = picture.draw(topology.Topology([], [topology.Stand(part, part, part, [app, app], services_)], []))
    # Nothing is known of the radio side, so no empty column stands for it.
    assert (len(drawn.heads), drawn.left) == (4, min(box.x for box in drawn.boxes) - 8)
    boxes = {box.name: box for box in drawn.boxes}
    (line,) = [each for each in drawn.lines if each.path.endswith(f"{boxes['location'].x} {boxes['location'].middle}")]
    assert line.path.startswith(f"M{boxes['berth-7'].right} ")
    level = int(line.path.split("H")[0].split()[-1])
    assert all(not box.y <= level <= box.y + picture.TALL for box in drawn.boxes if box.x == boxes["crane"].x)


def test_the_map_of_a_site_shows_where_its_links_go(pages: Any, actor: Any, organisation: Any) -> None:
    place = {"actor": actor, "organisation": organisation, "longitude": 9.9}
    quay = services.add_site(name="Quay", latitude=53.5, radius_m=400, **place)
    mast = services.add_site(name="Mast", kind="radio", latitude=53.6, **place)
    services.add_site(name="Elsewhere", latitude=50, **place)
    services.connect(mast, quay, actor=actor, state="degraded")
    text = pages.get(f"/sites/{quay.pk}").content.decode()
    shape = json.loads(html.unescape(re.search(r'data-shape="([^"]+)"', text)[1]))  # type: ignore[index]
    assert [(each["properties"]["kind"], each["properties"].get("name")) for each in shape["features"]] == [
        ("edge", "Quay"), ("radio", "Mast"), ("link", None),
    ]  # fmt: skip
    assert f"/map/street?at={quay.latitude}" in text
