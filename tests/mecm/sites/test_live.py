"""The picture of all nodes: one for all who look, told in changes, and never of somebody else's nodes."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.accounts.access import Actor
from mecm.nodes.models import Node
from mecm.sites import live, services
from mecm.sites.api import follow
from mecm.sites.live import Picture, Scope
from mecm.sites.models import Site

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what another test's nodes were."""
    live.picture.forget()


def node(organisation: Any, name: str, **facts: Any) -> Node:
    now = timezone.now()
    usual = {"engine": "memory", "latitude": 60.1, "longitude": 24.9, "last_seen_at": now, "enrolled_at": now}
    return Node.objects.create(organisation=organisation, name=name, **{**usual, **facts})


def told(content: bytes | None) -> dict[str, Any]:
    assert content is not None
    found: dict[str, Any] = json.loads(content)
    return found


def test_whoever_looks_later_is_told_only_what_changed(organisation: Any, actor: Actor) -> None:
    moment = [0.0]
    picture, scope = Picture(clock=lambda: moment[0]), Scope.of(actor)
    first, second = node(organisation, "a"), node(organisation, "b", labels={"tier": "1"})
    picture.refresh()
    whole = picture.whole(scope)
    assert told(whole.plain)["nodes"]["name"] == ["a", "b"]
    assert gzip.decompress(whole.packed) == whole.plain
    Node.objects.filter(pk=second.pk).update(last_seen_at=timezone.now() - timedelta(hours=1))
    went = first.pk.hex
    first.delete()
    picture.refresh()
    assert picture.whole(scope) is whole, "within a second nobody reads again"
    moment[0] = 100
    picture.refresh()
    news = told(picture.since(scope, whole.tag))
    assert news["nodes"]["name"] == ["b"]
    assert live.STATES[news["nodes"]["state"][0]] == "offline"
    assert news["gone"] == [went]
    nothing = told(picture.since(scope, news["version"]))
    assert nothing["nodes"]["id"] == nothing["gone"] == []
    assert picture.since(scope, "another-1") is None
    assert picture.since(scope, f"{picture.epoch}{scope.mark}-٣") is None
    moment[0] = 200
    picture.refresh()
    assert picture.tag(scope) == news["version"], "a heartbeat alone is no news"


@pytest.mark.parametrize(
    ("seen", "enrolled", "state"),
    [(0, True, "online"), (3600, True, "offline"), (None, True, "enrolled"), (None, False, "new")],
)
def test_the_database_tells_the_state_that_the_node_tells(
    organisation: Any, actor: Actor, seen: int | None, enrolled: bool, state: str
) -> None:
    now = timezone.now()
    last = None if seen is None else now - timedelta(seconds=seen)
    made = node(organisation, "a", last_seen_at=last, enrolled_at=now if enrolled else None)
    picture = Picture()
    picture.refresh()
    (row,) = picture.rows(Scope.of(actor))
    assert live.STATES[row.state] == made.state == state


def test_what_many_nodes_share_is_sent_once(organisation: Any, actor: Actor) -> None:
    for name in ("C", "a", "b"):
        node(
            organisation,
            name,
            labels={"tier": "1", "zone": "quay"} if name != "b" else {"zone": "quay"},
            simulated=name == "b",
        )
    picture = Picture()
    picture.refresh()
    sent = told(picture.whole(Scope.of(actor)).plain)["nodes"]
    assert sent["name"] == ["a", "b", "C"], "as the page sorts them"
    assert sent["labels"] == [0, 1, 0]
    assert [[sent["label_words"][code] for code in each] for each in sent["label_sets"]] == [
        ["tier=1", "zone=quay"],
        ["zone=quay"],
    ]
    assert sent["apps"] == [0, 0, 0]
    assert sent["app_sets"] == [[]]
    assert sent["simulated"] == [1]


def test_two_hundred_pages_read_once(
    organisation: Any, actor: Actor, stranger: Any, django_assert_num_queries: Any
) -> None:
    for number in range(30):
        node(organisation, f"n-{number}")
    scope, other = Scope.of(actor), Scope.of(Actor(stranger))
    moment = [0.0]
    picture = Picture(clock=lambda: moment[0])
    with django_assert_num_queries(4):
        for _ in range(200):
            picture.refresh()
            picture.whole(scope)
    Node.objects.update(latitude=1)
    moment[0] = 60
    with django_assert_num_queries(4):
        for _ in range(200):
            picture.refresh()
    assert len(told(picture.since(scope, picture.whole(scope).tag.rsplit("-", 1)[0] + "-1"))["nodes"]["id"]) == 30
    assert told(picture.whole(other).plain)["nodes"]["id"] == []
    assert told(picture.since(other, f"{picture.epoch}{other.mark}-1"))["nodes"]["id"] == []


def test_who_gets_another_role_is_told_everything_anew(
    organisation: Any, stranger_organisation: Any, admin: Any, django_user_model: Any
) -> None:
    from core.accounts.models import Membership

    node(organisation, "ours")
    node(stranger_organisation, "theirs")
    picture = Picture()
    picture.refresh()
    before = picture.whole(Scope.of(Actor(admin)))
    assert told(before.plain)["nodes"]["name"] == ["ours"]
    Membership.objects.create(user=admin, organisation=stranger_organisation, role="viewer")
    after = Scope.of(Actor(admin))
    assert picture.since(after, before.tag) is None
    assert told(picture.whole(after).plain)["nodes"]["name"] == ["ours", "theirs"]


def test_a_node_without_a_place_stands_where_its_site_is(organisation: Any, actor: Actor) -> None:
    site = services.add_site(actor=actor, organisation=organisation, name="Quay", latitude=53.5, longitude=9.9)
    services.place_node(node(organisation, "a", latitude=None, longitude=None), site, actor=actor)
    node(organisation, "lost", latitude=None, longitude=None)
    picture = Picture()
    picture.refresh()
    rows = {row.name: row for row in picture.rows(Scope.of(actor))}
    assert (rows["a"].latitude, rows["a"].longitude, rows["a"].site) == (53.5, 9.9, "Quay")
    assert (rows["lost"].latitude, rows["lost"].site) == (None, "")


def test_a_token_that_may_not_read_deployments_hears_of_none(organisation: Any, actor: Actor, admin: Any) -> None:
    from appstore.packages.models import Package
    from mecm.deployments.models import Deployment

    where = node(organisation, "a", cpu_millis=4000)
    package = Package.objects.create(
        organisation=organisation, uploaded_by=admin, filename="a.csar", sha256="0" * 64, size=1, name="crane"
    )
    common: dict[str, Any] = {"organisation": organisation, "node": where, "package": package, "cpu_millis": 500}
    Deployment.objects.create(**common, name="crane", namespace="t-acme", state="failed")
    Deployment.objects.create(**common, name="tried", namespace="trial-1", state="failed")
    picture = Picture()
    picture.refresh()
    scope = Scope.of(actor)
    (row,) = picture.rows(scope)
    assert (row.apps, row.deployed, row.failed, row.cpu_free) == (("crane",), 1, 1, 3000)
    assert live.STATES[row.state] == "troubled"
    (less,) = picture.rows(Scope(scope.nodes, frozenset()))
    assert (less.apps, less.deployed, live.STATES[less.state]) == ((), 0, "online")


def test_the_api_answers_everything_then_changes_then_nothing(
    api: Any, stranger_api: Any, organisation: Any, django_assert_max_num_queries: Any
) -> None:
    kept = node(organisation, "a")
    with django_assert_max_num_queries(8):
        first = api.get("/api/v1/map/nodes", HTTP_ACCEPT_ENCODING="gzip")
    assert first["Content-Encoding"] == "gzip"
    whole = json.loads(gzip.decompress(first.content))
    assert whole["nodes"]["id"] == [kept.pk.hex]
    again = api.get("/api/v1/map/nodes", HTTP_ACCEPT_ENCODING="gzip", HTTP_IF_NONE_MATCH=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    plain = api.get("/api/v1/map/nodes")
    assert plain["ETag"] != first["ETag"]
    Node.objects.filter(pk=kept.pk).update(latitude=1)
    live.picture.hurry()
    news = api.get("/api/v1/map/nodes", {"since": whole["version"]}).json()
    assert "states" not in news
    assert news["nodes"]["lat"] == [1]
    assert "states" in api.get("/api/v1/map/nodes", {"since": "x" * 5000}).json()
    assert stranger_api.get("/api/v1/map/nodes").json()["nodes"]["id"] == []
    assert stranger_api.get("/api/v1/map/nodes", HTTP_IF_NONE_MATCH=plain["ETag"]).status_code == 200


def test_a_stream_says_what_changed_and_when_to_read_anew(organisation: Any, actor: Actor) -> None:
    moment = [0.0]
    picture, scope = Picture(clock=lambda: moment[0]), Scope.of(actor)
    kept = node(organisation, "a")
    picture.refresh()
    begun = picture.tag(scope)
    Node.objects.filter(pk=kept.pk).update(name="b")
    moment[0] = 60
    picture.refresh()

    async def hear(since: str, count: int) -> bytes:
        heard = b""
        stream = follow(scope, since, look=0, life=5, picture=picture)
        for _ in range(count):
            heard += await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    known = asyncio.run(hear(begun, 2)).decode()
    assert f"id: {picture.tag(scope)}\ndata: " in known
    assert json.loads(known.split("data: ")[1])["nodes"]["name"] == ["b"]
    assert b"event: again" in asyncio.run(hear("long-ago", 2))


def test_a_site_that_goes_leaves_its_nodes(organisation: Any, actor: Actor) -> None:
    site = services.add_site(actor=actor, organisation=organisation, name="Quay", latitude=53.5, longitude=9.9)
    kept = node(organisation, "a")
    services.place_node(kept, site, actor=actor)
    services.remove_site(site, actor=actor)
    assert not Site.objects.exists()
    assert Node.objects.filter(pk=kept.pk, placement=None).exists()
