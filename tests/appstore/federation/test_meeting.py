"""Two stores meet: nothing before both have confirmed, and every trick to shorten that fails."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone

from appstore.federation import identity, meeting, services
from appstore.federation.models import Agreement, Peer
from appstore.federation.models_peers import OutMessage
from appstore.packages.models import Package
from core import dsse
from core.accounts.access import Actor
from core.audit.models import Entry
from core.errors import Conflict, Denied, Invalid, Missing, Unavailable
from tests.appstore.federation.conftest import Store, our_id

pytestmark = pytest.mark.django_db
DOOR = "/api/v1/federation/messages"


@pytest.fixture
def known(harbour: Store, serve: Any, organisation: Any) -> Store:
    """Harbour, at an address where it answers."""
    harbour.open(serve)
    return harbour


def row(store: Store) -> Peer:
    return Peer.objects.get(store_id=store.id)


def confirming(store: Store, **changed: Any) -> dict[str, Any]:
    return {"kind": "confirm", "from": store.id, "to": our_id(), **changed}


def test_we_introduce_ourselves_and_it_confirms(known: Store, actor: Any) -> None:
    peer = meeting.introduce(known.url, fingerprint=identity.fingerprint(known.id), actor=actor)
    assert peer.state == "pending"
    services.deliver(peer)
    door, said = known.heard[0]
    assert door == "introductions"
    assert identity.read(said["identity"]).store_id == our_id()
    assert row(known).state == "pending"
    assert known.post(DOOR, confirming(known)).status_code == 204
    assert row(known).state == "active"


def test_it_introduces_itself_and_we_confirm(known: Store, actor: Any) -> None:
    assert known.introduce().status_code == 202
    peer = row(known)
    assert peer.state == "pending"
    meeting.confirm(peer, fingerprint=known.id, actor=actor)
    assert row(known).state == "active"
    services.deliver(peer)
    assert known.heard == [("messages", {"kind": "confirm", "from": our_id(), "to": known.id})]


def test_two_that_introduce_themselves_at_once_are_partners(known: Store, actor: Any) -> None:
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    assert known.introduce().status_code == 202
    assert row(known).state == "active"


def test_an_introduction_alone_opens_no_door(known: Store) -> None:
    known.introduce()
    answer = known.tell("agreement.propose", envelope={})
    assert answer.status_code == 403
    assert row(known).agreement() is None


def test_a_fingerprint_that_was_not_compared_is_not_taken(known: Store, actor: Any, mallory: Store) -> None:
    for typed in ("", "yes", mallory.id, known.id[:-1]):
        with pytest.raises(Invalid) as refused:
            meeting.introduce(known.url, fingerprint=typed, actor=actor)
        assert refused.value.context["errors"][0]["field"] == "fingerprint"
    assert not Peer.objects.exists()


def test_a_confirmation_is_not_made_twice_by_replay(known: Store, actor: Any) -> None:
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    body = json.dumps(confirming(known)).encode()
    headers = known.headers("POST", DOOR, body)
    assert known.send("POST", DOOR, body, headers).status_code == 204
    meeting.end(row(known), reason="enough", actor=actor)
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    # What it said for the first meeting is not good for the second one.
    assert known.send("POST", DOOR, body, headers).status_code == 401
    assert row(known).state == "pending"


def test_an_old_confirmation_is_refused_by_its_date(known: Store, actor: Any) -> None:
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    assert known.post(DOOR, confirming(known), now=time.time() - 400).status_code == 401
    assert row(known).state == "pending"


def test_a_key_swapped_between_look_and_confirmation_is_refused(known: Store, mallory: Store, actor: Any) -> None:
    assert meeting.look(known.url, actor=actor).store_id == known.id
    mallory.url = known.url
    known.shown = mallory.identity()
    with pytest.raises(Invalid, match="fingerprint"):
        meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    assert not Peer.objects.exists()


def test_a_key_swapped_before_our_confirmation_is_refused(known: Store, mallory: Store, actor: Any) -> None:
    known.introduce()
    mallory.url = known.url
    known.shown = mallory.identity()
    with pytest.raises(Conflict, match="another key"):
        meeting.confirm(row(known), fingerprint=known.id, actor=actor)
    assert row(known).state == "pending"


def test_somebody_elses_confirmation_confirms_nothing(known: Store, mallory: Store, actor: Any) -> None:
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    # Unknown to us: it cannot speak at all.
    assert mallory.post(DOOR, confirming(known)).status_code == 401
    # Known to us, it still speaks only for itself.
    mallory.peer(Peer.objects.get().organisation, state="pending", confirmed_at=None, they_confirmed_at=None)
    assert mallory.post(DOOR, confirming(known)).status_code == 400
    assert row(known).state == row(mallory).state == "pending"


def test_a_confirmation_for_another_store_passed_on_to_us_is_refused(known: Store, actor: Any) -> None:
    meeting.introduce(known.url, fingerprint=known.id, actor=actor)
    body = json.dumps(confirming(known, to="e" * 64)).encode()
    assert known.send("POST", DOOR, body, known.headers("POST", DOOR, body, audience="e" * 64)).status_code == 401
    assert known.post(DOOR, confirming(known, to="e" * 64)).status_code == 400
    assert row(known).state == "pending"


def test_an_introduction_signed_by_another_key_than_its_own_is_refused(known: Store, mallory: Store) -> None:
    answer = mallory.post("/api/v1/federation/introductions", {"identity": known.identity()})
    assert answer.status_code == 401
    assert "another key than the one that it introduces" in answer.json()["detail"]
    assert not Peer.objects.exists()


def test_an_introduction_makes_us_call_nobody(known: Store) -> None:
    known.url = "http://127.0.0.1:1"  # nobody is there, and nobody notices
    assert known.introduce().status_code == 202
    known.url = "https://metadata.internal"
    assert known.introduce().status_code == 202
    assert not OutMessage.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b'{"identity": null}', b'{"identity": []}', b"[" * 50_000])
def test_garbage_at_the_door_for_strangers_is_refused(harbour: Store, organisation: Any, body: bytes) -> None:
    path = "/api/v1/federation/introductions"
    answer = harbour.send("POST", path, body, harbour.headers("POST", path, body))
    assert answer.status_code in (400, 401)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_strangers_cannot_fill_the_table(organisation: Any, settings: Any) -> None:
    settings.FEDERATION_INTRODUCTIONS = 3
    answers = [Store(url=f"http://127.0.0.1:{port}").introduce().status_code for port in range(20, 26)]
    assert answers == [202, 202, 202, 429, 429, 429]
    assert Peer.objects.count() == 3
    from appstore.federation.models_peers import SeenRequest

    assert SeenRequest.objects.count() == 3


def test_a_stranger_that_never_rests_leaves_a_short_trail(known: Store, organisation: Any) -> None:
    for _ in range(3):
        assert known.introduce().status_code == 202
        assert known.tell("suspend", reason="x").status_code == 403
        assert known.post(DOOR, confirming(known)).status_code == 204
    statuses = []
    for _ in range(5):
        old, known.key = known.key, ec.generate_private_key(ec.SECP256R1())
        said = {"from": dsse.key_id(old.public_key()), "to": known.id, "publicKey": known.pem}
        statement = dsse.sign(identity.ROTATION, json.dumps(said).encode(), old, known.key)
        statuses.append(known.post("/api/v1/federation/rotations", {"statement": statement}).status_code)
        if statuses[-1] != 204:
            known.key = old
    assert statuses == [204, 204, 204, 403, 403]
    assert known.tell("end", reason="x").status_code == 204
    assert known.introduce().status_code == 403
    deeds = Entry.objects.values_list("action", flat=True)
    assert sorted(deeds) == ["peer.end", "peer.introduced", *["peer.rekey"] * 3]


def test_a_full_table_keeps_nobody_from_being_met_by_us(known: Store, actor: Any, settings: Any) -> None:
    settings.FEDERATION_INTRODUCTIONS = 0
    assert known.introduce().status_code == 429
    assert meeting.introduce(known.url, fingerprint=known.id, actor=actor).state == "pending"
    # It is no stranger now: its word gets through.
    assert known.introduce().status_code == 202


def test_an_introduction_that_nobody_answers_is_forgotten(known: Store, organisation: Any, settings: Any) -> None:
    settings.FEDERATION_INTRODUCTIONS = 1
    Store(url="http://127.0.0.1:20").introduce()
    Peer.objects.update(created_at=timezone.now() - timedelta(days=8))
    assert known.introduce().status_code == 202
    assert Peer.objects.get().store_id == known.id


def test_a_refused_store_stays_away_for_a_day(known: Store, actor: Any) -> None:
    known.introduce()
    meeting.refuse(row(known), reason="who are you", actor=actor)
    assert known.introduce().status_code == 403
    services.deliver(row(known))
    assert known.heard[-1][1] == {"kind": "refuse", "reason": "who are you"}


def test_another_key_at_the_address_of_a_partner_is_refused_and_shown(known: Store, mallory: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    mallory.url = known.url
    assert mallory.introduce().status_code == 409
    known.shown = mallory.identity()
    with pytest.raises(Conflict, match="known at that address by another key"):
        meeting.look(known.url, actor=actor)
    peer.refresh_from_db()
    assert peer.acquaintance.strange_key == mallory.id
    assert (peer.store_id, peer.state) == (known.id, "active")


def test_a_squatter_on_an_address_keeps_its_owner_out_of_nothing(known: Store, mallory: Store, actor: Any) -> None:
    mallory.url = known.url
    assert mallory.introduce().status_code == 202
    assert meeting.introduce(known.url, fingerprint=known.id, actor=actor).store_id == known.id


def test_a_new_key_that_the_old_one_vouches_for_is_taken(known: Store, mallory: Store, actor: Any) -> None:
    organisation = _operator()
    peer = known.peer(organisation)
    package = Package.objects.create(organisation=organisation, sha256="a" * 64, size=1, origin=known.id)
    successor = Store(known.name, known.url)
    said = {"from": known.id, "to": successor.id, "publicKey": successor.pem}
    statement = dsse.sign(identity.ROTATION, json.dumps(said).encode(), known.key)
    answer = successor.post("/api/v1/federation/rotations", {"statement": statement})
    assert answer.status_code == 204
    peer.refresh_from_db()
    package.refresh_from_db()
    assert peer.store_id == package.origin == successor.id
    assert successor.tell("suspend", reason="x").status_code == 204
    assert known.tell("suspend", reason="x").status_code == 401
    # Once more, since our answer was lost: the partner is told the same, nobody else is told anything.
    assert successor.post("/api/v1/federation/rotations", {"statement": statement}).status_code == 204
    assert mallory.post("/api/v1/federation/rotations", {"statement": statement}).status_code == 404


def test_a_new_key_without_the_word_of_the_old_one_is_refused(known: Store, mallory: Store) -> None:
    known.peer(_operator())
    said = {"from": known.id, "to": mallory.id, "publicKey": mallory.pem}
    statement = dsse.sign(identity.ROTATION, json.dumps(said).encode(), mallory.key)
    assert mallory.post("/api/v1/federation/rotations", {"statement": statement}).status_code == 400
    assert row(known).store_id == known.id


def test_a_store_cannot_take_the_key_of_another_one_for_its_own(known: Store, mallory: Store) -> None:
    # The old key vouches, but who holds the other one has not agreed: its requests would count as those of this partner.
    known.peer(_operator())
    said = {"from": known.id, "to": mallory.id, "publicKey": mallory.pem}
    statement = dsse.sign(identity.ROTATION, json.dumps(said).encode(), known.key)
    assert known.post("/api/v1/federation/rotations", {"statement": statement}).status_code == 400
    assert row(known).store_id == known.id
    both = dsse.sign(identity.ROTATION, json.dumps(said).encode(), known.key, mallory.key)
    assert known.post("/api/v1/federation/rotations", {"statement": both}).status_code == 204


def test_a_message_that_was_kept_back_comes_too_late(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    assert known.tell("suspend", reason="x", number=5).status_code == 204
    assert known.tell("resume", number=6).status_code == 204
    # The first attempt to send the suspension, which somebody on the line kept: with a nonce that nobody has seen.
    assert known.tell("suspend", reason="x", number=5).status_code == 204
    assert Peer.objects.get().acquaintance.their_state == ""
    assert known.tell("suspend", reason="x", number=6).status_code == 204
    assert Peer.objects.get().acquaintance.their_state == "suspended"
    for number in (0, -1, True, "7", 2**63, 1.5):
        assert known.tell("resume", number=number).status_code == 400
    # Ours are numbered, too, and no clock that is set back makes them go down.
    far = services.tell(peer, "resume")
    far.body["number"] = 2**61
    far.save()
    assert services.tell(peer, "resume").body["number"] == 2**61 + 1


def test_our_own_new_key_is_told_to_every_partner_first(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    services.tell(peer, "suspend", reason="later")
    old = our_id()
    meeting.change_key(actor=actor)
    services.deliver(peer)
    assert [door for door, _ in known.heard] == ["rotations", "messages"]
    assert identity.predecessor(known.heard[0][1]["statement"]) == old


def test_suspending_stops_everything_and_is_told(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    meeting.suspend(peer, reason="odd packages", actor=actor)
    assert row(known).agreement() is None
    assert known.tell("recommendation").status_code == 403
    services.deliver(peer)
    assert known.heard[-1][1] == {"kind": "suspend", "reason": "odd packages"}
    meeting.resume(peer, actor=actor)
    assert row(known).state == "active"


def test_what_the_partner_does_is_shown_and_ours_to_undo_is_ours(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    meeting.suspend(peer, reason="odd", actor=actor)
    assert known.tell("suspend", reason="your certificates").status_code == 204
    assert known.tell("resume").status_code == 204
    assert row(known).state == "suspended"  # our own word stands
    assert known.tell("end", reason="over\x00").status_code == 204
    peer.refresh_from_db()
    assert (peer.state, peer.acquaintance.their_reason) == ("ended", "over")
    assert known.tell("resume").status_code == 403


@pytest.mark.parametrize(
    ("state", "event"),
    [("pending", "suspend"), ("pending", "resume"), ("active", "refuse"), ("active", "resume"), ("ended", "end")],
)
def test_a_step_that_makes_no_sense_is_a_conflict(state: str, event: str) -> None:
    with pytest.raises(Conflict):
        meeting.after(state, event)


@pytest.mark.parametrize("message", [None, [], {}, {"kind": "nonsense"}, {"kind": 7}, {"kind": ["end"]}])
def test_a_message_that_is_none_is_refused(known: Store, message: Any) -> None:
    known.peer(_operator())
    assert known.post(DOOR, message).status_code == 400


def test_only_the_operators_administrators_deal_with_partners(
    known: Store, actor: Any, stranger: Any, make_user: Any, organisation: Any
) -> None:
    viewer = Actor(make_user("viewer", organisation, "viewer"))
    for who, error in ((Actor(stranger), Missing), (viewer, Denied)):
        with pytest.raises(error):
            meeting.look(known.url, actor=who)
        with pytest.raises(error):
            meeting.end(known.peer(organisation) if not Peer.objects.exists() else row(known), reason="x", actor=who)
    assert row(known).state == "active"


def test_what_cannot_be_delivered_waits_and_is_shown(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    known.url, peer.url = peer.url, "http://127.0.0.1:1"
    peer.save()
    meeting.suspend(peer, reason="x", actor=actor)
    with pytest.raises(Unavailable):
        services.deliver(peer)
    assert row(known).problem["code"] == "unavailable"
    peer.url = known.url
    peer.save()
    assert services.deliver(peer) == 1
    assert row(known).problem is None
    assert services.deliver(peer) == 0


def test_a_message_that_is_refused_is_not_sent_again(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    known.refuses = {"status": 403, "type": "urn:breakwater:problem:denied", "detail": "not you"}
    services.tell(peer, "suspend", reason="x")
    services.deliver(peer)
    assert services.deliver(peer) == 0
    assert "not you" in OutMessage.objects.get().refusal["detail"]


def test_ending_ends_what_was_agreed(known: Store, actor: Any) -> None:
    peer = known.peer(_operator())
    Agreement.objects.create(peer=peer, version=1, proposed_by_us=True, terms={}, digest="a" * 64)
    meeting.end(peer, reason="over", actor=actor)
    assert Agreement.objects.get().state == "ended"


def test_partners_are_listed_for_their_managers_alone(known: Store, api: Any, stranger_api: Any) -> None:
    peer = known.peer(_operator())
    assert [each["store_id"] for each in api.get("/api/v1/federation/peers").json()["results"]] == [known.id]
    assert stranger_api.get("/api/v1/federation/peers").json()["results"] == []
    for path in (f"/api/v1/federation/peers/{peer.pk}", f"/api/v1/federation/peers/{peer.pk}/agreements"):
        assert api.get(path).status_code == 200
        assert stranger_api.get(path).status_code == 404


def _operator() -> Any:
    from core.accounts.services import operator

    return operator()
