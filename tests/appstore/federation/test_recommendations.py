"""Take this one: notices between partners, their answers, and their limits."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.utils import timezone

from appstore.federation import recommendations, services, terms
from appstore.federation.models import Agreement, Peer, ReleaseGrant, RemoteRelease
from appstore.federation.models_peers import Recommendation
from appstore.federation.terms import Limits, Offer, Terms
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.errors import Conflict, Invalid, Missing, Unavailable
from tests.appstore.federation.conftest import Store, our_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def peer(harbour: Store, serve: Any, organisation: Any) -> Peer:
    harbour.open(serve)
    found = harbour.peer(organisation)
    agree(found, Offer(), Offer())
    return found


@pytest.fixture
def release(organisation: Any) -> Package:
    now = timezone.now()
    return Package.objects.create(
        organisation=organisation, sha256="a" * 64, size=100, state="published", published_at=now,
        name="hello", provider="Acme", version="1.0",
    )  # fmt: skip


def agree(peer: Peer, out: Offer | None, incoming: Offer | None) -> None:
    document = terms.document(Terms(1, our_id(), peer.store_id, out, incoming, None))
    Agreement.objects.update_or_create(
        peer=peer,
        version=1,
        defaults={
            "state": "accepted", "proposed_by_us": True, "terms": document, "digest": terms.digest(document),
            "our_signature": {}, "their_signature": {},
        },
    )  # fmt: skip


def notice(**changed: Any) -> dict[str, Any]:
    usual = {
        "key": str(uuid.uuid4()), "ref": str(uuid.uuid4()), "name": "hello", "provider": "Acme", "version": "1.0",
        "sha256": "b" * 64, "size": 10, "note": "good one",
    }  # fmt: skip
    return {**usual, **changed}


def test_a_release_is_recommended_and_the_answer_comes_back(
    peer: Peer, harbour: Store, release: Package, actor: Any
) -> None:
    made = recommendations.recommend(release, peer, note="our best", actor=actor)
    services.deliver(peer)
    sent = harbour.heard[-1][1]
    assert (sent["kind"], sent["ref"], sent["sha256"]) == ("recommendation", str(release.pk), "a" * 64)
    answer = {"key": str(made.key), "state": "declined", "reason": "no GPU here"}
    assert harbour.tell("recommendation.answer", **answer).status_code == 204
    made.refresh_from_db()
    assert (made.state, made.reason) == ("declined", "no GPU here")
    # An answer is given once.
    harbour.tell("recommendation.answer", **{**answer, "state": "accepted"})
    made.refresh_from_db()
    assert made.state == "declined"


def test_a_notice_is_shown_and_nothing_is_fetched(peer: Peer, harbour: Store) -> None:
    said = notice()
    for _ in range(2):
        assert harbour.tell("recommendation", **said).status_code == 204
    found = Recommendation.objects.get()
    assert (found.incoming, found.name, found.note, found.state) == (True, "hello", "good one", "open")
    assert len(harbour.heard) == 0


def test_a_no_travels_back_with_its_reason(peer: Peer, harbour: Store, actor: Any) -> None:
    said = notice()
    harbour.tell("recommendation", **said)
    found = Recommendation.objects.get()
    with pytest.raises(Invalid):
        recommendations.decline(found, reason="", actor=actor)
    recommendations.decline(found, reason="too large", actor=actor)
    services.deliver(peer)
    assert harbour.heard[-1][1] == {
        "kind": "recommendation.answer", "key": said["key"], "state": "declined", "reason": "too large",
    }  # fmt: skip
    with pytest.raises(Conflict):
        recommendations.decline(found, reason="again", actor=actor)


def test_without_the_fetching_half_it_is_said_in_plain_words() -> None:
    with pytest.raises(Unavailable, match="not part of this installation"):
        recommendations.port("appstore.federation.no_such_half.request_import")
    assert not recommendations.can("appstore.federation.no_such_half.request_import")


def test_limits_of_a_day_bind_both_sides(peer: Peer, harbour: Store, release: Package, actor: Any) -> None:
    one = Offer(limits=Limits(recommendations_per_day=1))
    agree(peer, one, one)
    recommendations.recommend(release, peer, note="", actor=actor)
    other = Package.objects.create(
        organisation=release.organisation, sha256="c" * 64, size=1, state="published", published_at=timezone.now(),
        name="other", version="1",
    )  # fmt: skip
    with pytest.raises(Conflict, match="1 recommendations a day"):
        recommendations.recommend(other, peer, note="", actor=actor)
    assert harbour.tell("recommendation", **notice()).status_code == 204
    assert harbour.tell("recommendation", **notice(sha256="d" * 64)).status_code == 403


def test_the_same_release_is_recommended_once_at_a_time(
    peer: Peer, harbour: Store, release: Package, actor: Any
) -> None:
    recommendations.recommend(release, peer, note="", actor=actor)
    with pytest.raises(Conflict, match="already"):
        recommendations.recommend(release, peer, note="", actor=actor)
    harbour.tell("recommendation", **notice())
    assert harbour.tell("recommendation", **notice()).status_code == 409


def test_only_what_may_go_there_is_recommended(peer: Peer, release: Package, actor: Any) -> None:
    def refused(**facts: Any) -> None:
        Package.objects.filter(pk=release.pk).update(**facts)
        release.refresh_from_db()
        with pytest.raises(Conflict):
            recommendations.recommend(release, peer, note="", actor=actor)

    refused(visibility="organisation")
    refused(visibility="partners")
    refused(visibility="public", origin="f" * 64)
    Package.objects.filter(pk=release.pk).update(origin="", visibility="partners")
    release.refresh_from_db()
    ReleaseGrant.objects.create(package=release, peer=peer)
    assert recommendations.recommend(release, peer, note="", actor=actor).state == "open"
    refused(state="yanked")


def test_nothing_is_recommended_against_the_agreement(peer: Peer, harbour: Store, release: Package, actor: Any) -> None:
    agree(peer, None, Offer())
    with pytest.raises(Conflict):
        recommendations.recommend(release, peer, note="", actor=actor)
    agree(peer, Offer(), None)
    assert harbour.tell("recommendation", **notice()).status_code == 403
    Agreement.objects.all().delete()
    with pytest.raises(Conflict):
        recommendations.recommend(release, peer, note="", actor=actor)
    assert harbour.tell("recommendation", **notice()).status_code == 409


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "x"}, {"sha256": "A" * 64}, {"sha256": 7}, {"size": -1}, {"size": "1"}, {"size": True}, {"ref": ""},
        {"name": "a\x00"}, {"name": ["x"]}, {"version": "9" * 65}, {"provider": None},
    ],
)  # fmt: skip
def test_a_notice_that_is_written_wrong_is_refused(peer: Peer, harbour: Store, changed: dict[str, Any]) -> None:
    assert harbour.tell("recommendation", **notice(**changed)).status_code == 400
    assert not Recommendation.objects.exists()


def test_a_notice_that_the_partner_refuses_says_so(peer: Peer, harbour: Store, release: Package, actor: Any) -> None:
    harbour.refuses = {"status": 403, "detail": "enough for today"}
    made = recommendations.recommend(release, peer, note="", actor=actor)
    services.deliver(peer)
    made.refresh_from_db()
    assert made.state == "declined"
    assert "enough for today" in made.reason


def test_strangers_recommend_and_answer_nothing(
    peer: Peer, mallory: Store, harbour: Store, release: Package, actor: Any, stranger: Any
) -> None:
    made = recommendations.recommend(release, peer, note="", actor=actor)
    mallory.peer(peer.organisation)
    assert mallory.tell("recommendation.answer", key=str(made.key), state="accepted").status_code == 400
    with pytest.raises(Missing):
        recommendations.recommend(release, peer, note="", actor=Actor(stranger))


def test_what_is_fetched_is_what_was_recommended(peer: Peer, harbour: Store, actor: Any) -> None:
    said = notice(name="hello  world")
    offer = RemoteRelease.objects.create(
        peer=peer, ref=said["ref"], name="hello world", provider="Acme", version="1.0", sha256="c" * 64, size=10
    )
    harbour.tell("recommendation", **said)
    found = Recommendation.objects.get()
    with pytest.raises(Conflict, match="not the release that it recommends"):
        recommendations.accept(found, actor=actor)
    RemoteRelease.objects.filter(pk=offer.pk).update(sha256=said["sha256"])
    assert recommendations.accept(found, actor=actor).kind == "federation.import"
    found.refresh_from_db()
    assert found.state == "accepted"
