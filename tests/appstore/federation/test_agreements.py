"""Terms are in force once both have signed the same bytes, and not a moment longer than agreed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from appstore.federation import agreements, services, terms
from appstore.federation.models import Agreement, Peer
from appstore.federation.models_peers import OutMessage
from appstore.federation.terms import Limits, Offer, Terms
from core import dsse
from core.accounts.access import Actor
from core.errors import Conflict, Invalid, Missing
from tests.appstore.federation.conftest import Store, our_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def peer(harbour: Store, serve: Any, organisation: Any) -> Peer:
    harbour.open(serve)
    return harbour.peer(organisation)


def proposal(store: Store, version: int = 1, **changed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the other store proposes and its signature under it."""
    facts = {"us": store.id, "them": our_id(), "out": Offer(), "incoming": None, "expires": None, **changed}
    document = terms.document(Terms(version=version, **facts))
    return document, dsse.sign(terms.PAYLOAD, terms.canonical(document), store.key)


def test_nothing_is_stored_of_what_nobody_signed(peer: Peer, harbour: Store) -> None:
    envelope = proposal(harbour)[1]
    beside = {
        **envelope,
        "note": "\x00",
        "signatures": [{**envelope["signatures"][0], "cert": "\ud800"}, {"sig": "\x00"}],
    }
    assert harbour.tell("agreement.propose", envelope=beside).status_code == 204
    assert Agreement.objects.get().their_signature == envelope


def proposed(peer: Peer, actor: Any, **facts: Any) -> Agreement:
    usual = {"out": Offer(), "incoming": Offer(), "expires": None, "contact": "noc@acme.example"}
    return agreements.propose(peer, actor=actor, **{**usual, **facts})


def accepted_by(store: Store, made: Agreement) -> Any:
    envelope = dsse.sign(terms.PAYLOAD, terms.canonical(made.terms), store.key)
    return store.tell("agreement.accept", version=made.version, digest=made.digest, envelope=envelope)


def test_our_proposal_is_in_force_when_the_partner_has_signed_it(peer: Peer, harbour: Store, actor: Any) -> None:
    made = proposed(peer, actor)
    assert peer.agreement() is None
    services.deliver(peer)
    envelope = harbour.heard[0][1]["envelope"]
    payload, _ = dsse.verify(envelope, terms.PAYLOAD, [dsse.load_public(_our_pem())])
    assert payload == terms.canonical(made.terms)
    assert accepted_by(harbour, made).status_code == 204
    found = peer.agreement()
    assert found is not None
    assert found.digest == made.digest
    assert found.our_signature
    assert found.their_signature
    assert found.read().direction == "both"


def test_their_proposal_is_in_force_when_we_have_signed_it(peer: Peer, harbour: Store, actor: Any) -> None:
    document, envelope = proposal(harbour, incoming=Offer(categories=("Video",)))
    assert harbour.tell("agreement.propose", envelope=envelope).status_code == 204
    assert peer.agreement() is None
    agreements.accept(Agreement.objects.get(), actor=actor)
    found = peer.agreement()
    assert found is not None
    # What they take is what we give.
    assert found.read().out == Offer(categories=("Video",))
    services.deliver(peer)
    sent = harbour.heard[-1][1]
    payload, _ = dsse.verify(sent["envelope"], terms.PAYLOAD, [dsse.load_public(_our_pem())])
    assert payload == terms.canonical(document)
    assert sent["digest"] == terms.digest(document)


def test_a_proposal_that_arrives_twice_is_one(peer: Peer, harbour: Store) -> None:
    _, envelope = proposal(harbour)
    for _ in range(2):
        assert harbour.tell("agreement.propose", envelope=envelope).status_code == 204
    assert Agreement.objects.count() == 1


def test_a_counter_proposal_is_the_next_version_and_replaces_the_open_one(
    peer: Peer, harbour: Store, actor: Any
) -> None:
    harbour.tell("agreement.propose", envelope=proposal(harbour)[1])
    counter = proposed(peer, actor)
    assert counter.version == 2
    first = Agreement.objects.get(version=1)
    assert (first.state, first.reason) == ("declined", "Replaced by version 2")
    with pytest.raises(Conflict):
        agreements.accept(first, actor=actor)


def test_what_we_replaced_cannot_be_accepted_any_more(peer: Peer, harbour: Store, actor: Any) -> None:
    wide = proposed(peer, actor)
    proposed(peer, actor, out=Offer(categories=("Video",)))
    assert accepted_by(harbour, wide).status_code == 409
    assert peer.agreement() is None


def test_a_newer_agreement_follows_the_older_one(peer: Peer, harbour: Store, actor: Any) -> None:
    for number in (1, 2):
        accepted_by(harbour, proposed(peer, actor, out=Offer(limits=Limits(apps=number))))
    assert list(Agreement.objects.order_by("version").values_list("state", flat=True)) == ["superseded", "accepted"]
    found = peer.agreement()
    assert found is not None
    assert found.version == 2


def test_a_signature_under_other_terms_is_refused(peer: Peer, harbour: Store, actor: Any) -> None:
    made = proposed(peer, actor)
    wider = {**made.terms, "expires": "2099-01-01T00:00:00+00:00"}
    envelope = dsse.sign(terms.PAYLOAD, terms.canonical(wider), harbour.key)
    answer = harbour.tell("agreement.accept", version=1, digest=made.digest, envelope=envelope)
    assert answer.status_code == 400
    assert peer.agreement() is None


def test_a_signature_of_somebody_else_is_refused(peer: Peer, harbour: Store, mallory: Store, actor: Any) -> None:
    made = proposed(peer, actor)
    envelope = dsse.sign(terms.PAYLOAD, terms.canonical(made.terms), mallory.key)
    answer = harbour.tell("agreement.accept", version=1, digest=made.digest, envelope=envelope)
    assert answer.status_code == 400
    # Nor does our own signature count as theirs.
    assert (
        harbour.tell("agreement.accept", version=1, digest=made.digest, envelope=made.our_signature).status_code == 400
    )
    assert peer.agreement() is None


def test_terms_between_two_others_are_refused(peer: Peer, harbour: Store, mallory: Store) -> None:
    for facts in ({"them": mallory.id}, {"us": mallory.id}):
        assert harbour.tell("agreement.propose", envelope=proposal(harbour, **facts)[1]).status_code == 400
    assert not Agreement.objects.exists()


@pytest.mark.parametrize(
    "envelope", [None, [], {}, "x", {"payloadType": terms.PAYLOAD, "payload": "!", "signatures": []}]
)
def test_a_proposal_without_terms_is_refused(peer: Peer, harbour: Store, envelope: Any) -> None:
    assert harbour.tell("agreement.propose", envelope=envelope).status_code == 400


def test_signed_bytes_in_another_writing_are_refused(peer: Peer, harbour: Store) -> None:
    document, _ = proposal(harbour)
    envelope = dsse.sign(terms.PAYLOAD, json.dumps(document, indent=1).encode(), harbour.key)
    assert harbour.tell("agreement.propose", envelope=envelope).status_code == 400


def test_an_expired_agreement_stops_at_once(peer: Peer, harbour: Store, actor: Any) -> None:
    made = proposed(peer, actor, expires=timezone.now() + timedelta(days=30))
    accepted_by(harbour, made)
    assert peer.agreement() is not None
    Agreement.objects.update(expires_at=timezone.now())
    assert peer.agreement() is None


def test_terms_that_end_before_they_begin_are_refused(peer: Peer, harbour: Store, actor: Any) -> None:
    past = timezone.now().replace(microsecond=0) - timedelta(seconds=1)
    with pytest.raises(Invalid) as refused:
        proposed(peer, actor, expires=past)
    assert refused.value.context["errors"][0]["field"] == "expires"
    assert harbour.tell("agreement.propose", envelope=proposal(harbour, expires=past)[1]).status_code == 400


@pytest.mark.parametrize("by_us", [True, False])
def test_either_side_ends_it_and_tells_why(peer: Peer, harbour: Store, actor: Any, by_us: bool) -> None:
    made = proposed(peer, actor)
    accepted_by(harbour, made)
    if by_us:
        made.refresh_from_db()
        agreements.end(made, reason="not needed", actor=actor)
        services.deliver(peer)
        assert harbour.heard[-1][1]["reason"] == "not needed"
    else:
        assert harbour.tell("agreement.end", version=1, digest=made.digest, reason="over").status_code == 204
    assert peer.agreement() is None
    assert Agreement.objects.get().state == "ended"


def test_a_no_travels_with_its_reason(peer: Peer, harbour: Store, actor: Any) -> None:
    harbour.tell("agreement.propose", envelope=proposal(harbour)[1])
    with pytest.raises(Invalid):
        agreements.decline(Agreement.objects.get(), reason=" ", actor=actor)
    agreements.decline(Agreement.objects.get(), reason="too wide", actor=actor)
    services.deliver(peer)
    assert harbour.heard[-1][1]["reason"] == "too wide"
    made = proposed(peer, actor)
    assert harbour.tell("agreement.decline", version=2, digest=made.digest, reason="no").status_code == 204
    assert accepted_by(harbour, made).status_code == 409


def test_suspension_by_either_side_stops_the_exchange(peer: Peer, harbour: Store, actor: Any) -> None:
    accepted_by(harbour, proposed(peer, actor))
    harbour.tell("suspend", reason="x")
    assert peer.agreement() is None
    harbour.tell("resume")
    assert peer.agreement() is not None
    Peer.objects.update(state="suspended")
    assert Peer.objects.get().agreement() is None


def test_two_proposals_of_one_version_end_the_same_on_both_sides(organisation: Any, serve: Any, actor: Any) -> None:
    lower, higher = _sorted_around_us()
    for store, status in ((lower, 204), (higher, 409)):
        store.open(serve)
        peer = store.peer(organisation)
        proposed(peer, actor)
        assert store.tell("agreement.propose", envelope=proposal(store)[1]).status_code == status
        assert Agreement.objects.get(peer=peer).proposed_by_us == (status == 409)


def test_nobody_uses_the_numbers_up(peer: Peer, harbour: Store) -> None:
    assert harbour.tell("agreement.propose", envelope=proposal(harbour, 500_000)[1]).status_code == 409
    assert harbour.tell("agreement.propose", envelope=proposal(harbour, 2)[1]).status_code == 204
    assert harbour.tell("agreement.propose", envelope=proposal(harbour, 1)[1]).status_code == 409


def test_a_partner_cannot_propose_without_end(peer: Peer, harbour: Store, monkeypatch: Any) -> None:
    Agreement.objects.bulk_create(
        Agreement(peer=peer, version=n, proposed_by_us=False, terms={}, digest="a" * 64, state="declined")
        for n in range(1, agreements.PER_DAY + 1)
    )
    assert harbour.tell("agreement.propose", envelope=proposal(harbour, agreements.PER_DAY + 1)[1]).status_code == 403


def test_an_acceptance_that_the_partner_refuses_leaves_nothing_in_force(peer: Peer, harbour: Store, actor: Any) -> None:
    harbour.tell("agreement.propose", envelope=proposal(harbour)[1])
    agreements.accept(Agreement.objects.get(), actor=actor)
    harbour.refuses = {"status": 409, "type": "urn:breakwater:problem:conflict", "detail": "taken back"}
    services.deliver(peer)
    found = Agreement.objects.get()
    assert found.state == "ended"
    assert "taken back" in found.reason


def test_a_proposal_that_the_partner_refuses_waits_for_nobody(peer: Peer, harbour: Store, actor: Any) -> None:
    proposed(peer, actor)
    harbour.refuses = {"status": 403, "detail": "too many"}
    services.deliver(peer)
    assert Agreement.objects.get().state == "declined"
    assert OutMessage.objects.get().refusal


def test_an_agreement_outlives_a_change_of_our_key(peer: Peer, harbour: Store, actor: Any) -> None:
    from appstore.federation import meeting

    accepted_by(harbour, proposed(peer, actor, out=Offer(categories=("Video",)), incoming=None))
    meeting.change_key(actor=actor)
    found = peer.agreement()
    assert found is not None
    assert found.read().out == Offer(categories=("Video",))


def test_nothing_is_agreed_with_a_partner_that_is_not_active(peer: Peer, actor: Any, stranger: Any) -> None:
    Peer.objects.update(state="suspended")
    with pytest.raises(Conflict):
        proposed(peer, actor)
    with pytest.raises(Missing):
        proposed(peer, Actor(stranger))


def _our_pem() -> str:
    from appstore.keys import services as keys

    return keys.current("store").public_pem


def _sorted_around_us() -> tuple[Store, Store]:
    """Return a store with a smaller id than ours and one with a larger."""
    found: dict[bool, Store] = {}
    while len(found) < 2:
        store = Store(f"Store {len(found)}")
        found.setdefault(store.id < our_id(), store)
    return found[True], found[False]
