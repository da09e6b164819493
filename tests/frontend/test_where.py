"""Where a release could run: the page, the API and the command tell what deploying would say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.urls import reverse

from frontend.store.where import CODES
from mecm.deployments import services, where

pytestmark = pytest.mark.django_db


@pytest.fixture
def harbour(make_node: Any) -> dict[str, Any]:
    """Nodes that differ: one where all is well, and one for each thing that may be wrong."""
    from django.utils import timezone

    from mecm.edge.models import NodeCert

    long_ago = timezone.now() - timezone.timedelta(days=3)
    nodes = {
        "good": make_node("good"),
        "small": make_node("small", cpu_millis=100),
        "silent": make_node("silent", last_seen_at=long_ago),
        "fresh": make_node("fresh", last_seen_at=None, enrolled_at=None),
        "shut": make_node("shut", last_seen_at=long_ago),
    }
    NodeCert.objects.create(
        serial="0a", node=nodes["shut"], certificate="", not_after=timezone.now(), revoked_at=long_ago
    )
    return nodes


def _page(browser: Any, package: Any, **asked: str) -> str:
    answer = browser.get(reverse("frontend:package-where", args=[package.pk]), asked)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_each_node_gets_the_verdict_that_deploying_gives(
    harbour: Any, package: Any, actor: Any, organisation: Any
) -> None:
    found = where.could_run(package, actor=actor, organisation=organisation)
    asked = services.verdicts(list(harbour.values()), package, organisation=organisation, name="free", values={})
    assert {place.node.name: place.placement for place in found.places} == {node.name: told for node, told in asked}
    assert found.fits == 4
    assert found.reasons() == [("cpu", 1)]
    assert dict(found.remarks()) == {"not-online": 2, "shut-out": 1, "services-unknown": 4}
    assert found.places[0].node.name == "good", "the best place comes first"
    assert found.places[-1].node.name == "small", "and what does not fit comes last"


def test_a_page_says_why_not_and_shows_only_what_fits_when_asked(pages: Any, harbour: Any, package: Any) -> None:
    text = _page(pages, package)
    assert "It fits on 4 of 5 nodes" in text
    assert "0.1 free" in text
    assert "has never connected" in text
    assert "was revoked" in text
    assert "They are not known here" in text
    only = _page(pages, package, fits="yes")
    assert "0.1 free" not in only
    assert ">good</a>" in only
    small = _page(pages, package, code="cpu")
    assert ">small</a>" in small
    assert ">good</a>" not in small
    assert "No node is like that" in _page(pages, package, q="nowhere")


def test_what_runs_there_already_is_told(pages: Any, deployment: Any, make_package: Any) -> None:
    text = _page(pages, make_package(version="2.0.0"))
    assert "On 1 node a release of it runs already" in text
    assert reverse("frontend:deployment", args=[deployment.pk]) in text


def test_what_the_rules_forbid_fits_nowhere_and_the_rule_is_told(pages: Any, harbour: Any, make_package: Any) -> None:
    yanked = make_package("yanked", state="yanked", state_reason="It leaks.")
    text = _page(pages, yanked)
    assert "It fits on 0 of 5 nodes" in text
    assert "may run it on no node at present" in text
    assert "It leaks." in text


def test_a_node_of_others_is_not_judged(pages: Any, harbour: Any, package: Any, stranger_organisation: Any) -> None:
    from mecm.nodes.models import Node

    Node.objects.create(organisation=stranger_organisation, name="theirs", engine="memory")
    assert "theirs" not in _page(pages, package)


def test_only_those_who_deploy_may_ask(browser_of: Any, make_user: Any, organisation: Any, package: Any) -> None:
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    assert viewer.get(reverse("frontend:package-where", args=[package.pk])).status_code == 403
    assert viewer.get(f"/api/v1/packages/{package.pk}/where").status_code == 403


def test_the_api_tells_the_same_with_numbers(pages: Any, harbour: Any, package: Any) -> None:
    said = pages.get(f"/api/v1/packages/{package.pk}/where", {"page_size": 2}).json()
    assert (said["nodes"], said["fits"], said["count"], len(said["results"])) == (5, 4, 5, 2)
    assert said["reasons"] == [{"code": "cpu", "nodes": 1}]
    assert said["partners"]["known"] is False
    bad = pages.get(f"/api/v1/packages/{package.pk}/where", {"fits": "false"}).json()
    assert [(row["node"]["name"], row["reasons"][0]["code"]) for row in bad["results"]] == [("small", "cpu")]
    assert pages.get(f"/api/v1/packages/{package.pk}/where", {"fits": "perhaps"}).status_code == 400


def test_a_thousand_nodes_cost_as_many_queries_as_five(
    harbour: Any, package: Any, actor: Any, organisation: Any, django_assert_num_queries: Any
) -> None:
    from mecm.nodes.models import Node

    assert actor.roles
    with django_assert_num_queries(10) as few:
        where.could_run(package, actor=actor, organisation=organisation)
    Node.objects.bulk_create(
        Node(organisation=organisation, name=f"n-{number}", engine="memory") for number in range(1000)
    )
    with django_assert_num_queries(len(few)):
        assert len(where.could_run(package, actor=actor, organisation=organisation).places) == 1005


def test_a_reason_says_the_same_in_english_and_speaks_other_languages() -> None:
    from django.utils import translation

    from engines.contract import Compute
    from frontend import reasons
    from mecm.deployments.placement import Allocation, NodeFacts, Requirement, place

    much = Compute(8000, 2**40, 2**50)
    needed = Requirement("n", "t", much, frozenset({"arm64"}), "vm", frozenset({"rnis"}), uses_mep=True)
    node = NodeFacts("q", "kubernetes", Compute(100, 2**20, 2**20), "new", "amd64", False, frozenset())
    worlds = [node]
    worlds += [
        replace(node, state="offline", services=None),
        replace(node, has_mep=False),
        replace(node, shut_out=True),
    ]
    told = [
        each
        for world in worlds
        for given_up in (False, True)
        for verdict in [place(needed, world, [Allocation("n", "t", given_up=given_up)])]
        for each in (*verdict.reasons, *verdict.remarks)
    ]
    with translation.override("en"):
        assert [reasons.words(each) for each in told] == [each.message for each in told]
    assert {each.code for each in told} >= {*reasons.SENTENCES, "not-online", "no-mep"}
    assert set(CODES) >= {each.code for each in told}
