"""What a sync writes: all of it or nothing, only what is the partner's, and the cursor last."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from appstore.federation import feed, ports, sync, terms
from appstore.federation.feed import Refused
from appstore.federation.models import Peer, PeerSync, RemoteRelease
from appstore.packages import gates, life, states
from appstore.packages.models import Package
from core.accounts.access import SYSTEM
from core.errors import Conflict, Unavailable
from tests.appstore.federation.forge import Forge, Memory, agree, forge, ref, release  # noqa: F401

US = "0" * 64


@pytest.fixture
def peer(forge: Forge, organisation: Any) -> Peer:  # noqa: F811
    return forge.peer(organisation)


def run(peer: Peer, forge: Forge) -> sync.Done:  # noqa: F811
    return sync.sync(peer, Memory(forge.files), now=forge.now)


def state() -> dict[str, Any]:
    """Everything that a sync may write, but for the telling of what went wrong."""
    cursor = PeerSync.objects.values("peer", "serial", "etag", "trusted", "full_at", "synced_at")
    return {
        "offers": list(RemoteRelease.objects.order_by("pk").values()),
        "packages": list(Package.objects.order_by("pk").values()),
        "cursor": list(cursor),
    }


def copy_of(offer: RemoteRelease, organisation: Any, **facts: Any) -> Package:
    """A copy of a partner's release that we hold."""
    usual = {"state": "published", "published_at": timezone.now(), "origin": offer.peer.store_id}
    package = Package.objects.create(
        organisation=organisation, sha256=offer.sha256, size=offer.size, name=offer.name, provider=offer.provider,
        version=offer.version, origin_ref=offer.ref, **{**usual, **facts},
    )  # fmt: skip
    RemoteRelease.objects.filter(pk=offer.pk).update(package=package)
    return package


def test_a_first_sync_takes_over_the_listing(peer: Peer, forge: Forge) -> None:  # noqa: F811
    done = run(peer, forge)
    assert (done.put, done.serial, done.full) == (2, 1, True)
    assert list(RemoteRelease.objects.values_list("name", "sha256")) == [
        (name, forge.index[ref(n)]["sha256"]) for n, name in ((1, "one"), (2, "two"))
    ]
    assert PeerSync.objects.get(peer=peer).serial == 1


def test_an_idle_sync_is_one_request_and_touches_no_offer(peer: Peer, forge: Forge) -> None:  # noqa: F811
    run(peer, forge)
    before = state()
    done = run(peer, forge)
    assert (done.requests, done.bytes_in, done.put) == (1, 0, 0)
    assert state()["offers"] == before["offers"]


def test_a_diff_changes_adds_and_removes(peer: Peer, forge: Forge) -> None:  # noqa: F811
    run(peer, forge)
    kept = RemoteRelease.objects.get(ref=ref(2)).pk
    forge.say({ref(1): None, ref(2): release("two", description="more"), ref(3): release("three")})
    done = run(peer, forge)
    assert (done.put, done.removed, done.full) == (2, 1, False)
    assert set(RemoteRelease.objects.values_list("ref", flat=True)) == {ref(2), ref(3)}
    changed = RemoteRelease.objects.get(ref=ref(2))
    assert (changed.pk, changed.metadata["description"]) == (kept, "more")


def test_whoever_was_away_arrives_where_the_others_are(peer: Peer, forge: Forge) -> None:  # noqa: F811
    run(peer, forge)
    for number in range(3, 12):
        forge.say({ref(number): release(f"app-{number}"), ref(number - 2): None})
    run(peer, forge)
    assert {row.ref: row.metadata for row in RemoteRelease.objects.all()} == forge.index


def test_a_sync_of_a_listing_has_a_fixed_number_of_queries(
    peer: Peer,
    forge: Forge,  # noqa: F811
    django_assert_max_num_queries: Any,
) -> None:
    forge.say({ref(number): release(f"app-{number}") for number in range(10, 400)})
    # About half of them are the catalogue's, which takes a thousand entries with as many.
    with django_assert_max_num_queries(70):
        run(peer, forge)


def test_a_release_that_lost_a_member_loses_it_here(peer: Peer, forge: Forge) -> None:  # noqa: F811
    forge.say({ref(1): release("one", category="Video")})
    run(peer, forge)
    forge.say({ref(1): release("one")})
    run(peer, forge)
    assert "category" not in RemoteRelease.objects.get(ref=ref(1)).metadata


def test_only_offers_of_that_partner_are_touched(peer: Peer, forge: Forge, organisation: Any) -> None:  # noqa: F811
    other = Forge().say({ref(1): release("theirs"), ref(7): release("seven")})
    friend = other.peer(organisation)
    run(friend, other)
    before = list(RemoteRelease.objects.filter(peer=friend).values())
    run(peer, forge)
    forge.say({ref(1): None, ref(2): None, ref(7): None, ref(8): release("eight")})
    run(peer, forge)
    assert list(RemoteRelease.objects.filter(peer=friend).values()) == before


def test_a_removed_offer_leaves_our_copy_as_it_is(peer: Peer, forge: Forge, organisation: Any) -> None:  # noqa: F811
    run(peer, forge)
    copy = copy_of(RemoteRelease.objects.get(ref=ref(1)), organisation)
    forge.say({ref(1): None})
    run(peer, forge)
    copy.refresh_from_db()
    assert copy.state == "published"
    assert RemoteRelease.objects.get(ref=ref(1)).state == sync.REMOVED


@pytest.mark.parametrize(
    ("fate", "here"),
    [("withdrawn", "yanked"), ("yanked", "yanked"), ("deprecated", "deprecated"), ("recalled", "quarantined")],
)
def test_a_withdrawal_reaches_our_copy_within_one_sync(
    peer: Peer,
    forge: Forge,  # noqa: F811
    organisation: Any,
    fate: str,
    here: str,
) -> None:
    """A recall itself comes with the signed list; until that is here, the copy is held."""
    run(peer, forge)
    copy = copy_of(RemoteRelease.objects.get(ref=ref(1)), organisation)
    forge.say({ref(1): release("one", state=fate, reason="It leaks")})
    run(peer, forge)
    copy.refresh_from_db()
    assert copy.state == here
    assert copy.state_reason == "It leaks"
    forge.say({ref(1): release("one")})
    run(peer, forge)
    copy.refresh_from_db()
    assert copy.state == states.PUBLISHED


def test_what_we_decided_about_our_copy_stays(peer: Peer, forge: Forge, organisation: Any) -> None:  # noqa: F811
    run(peer, forge)
    copy = copy_of(RemoteRelease.objects.get(ref=ref(1)), organisation)
    life.quarantine(copy, actor=SYSTEM, reason="We look into it")
    for state in ("yanked", "published"):
        forge.say({ref(1): release("one", state=state)})
        run(peer, forge)
        copy.refresh_from_db()
        assert copy.state == states.QUARANTINED


@pytest.mark.parametrize("fate", ["yanked", "quarantined", "withdrawn", "recalled"])
@pytest.mark.parametrize("deed", ["publish", "deploy"])
def test_a_copy_goes_no_further_than_the_original(
    peer: Peer,
    forge: Forge,  # noqa: F811
    organisation: Any,
    fate: str,
    deed: Any,
) -> None:
    run(peer, forge)
    copy = copy_of(RemoteRelease.objects.get(ref=ref(1)), organisation)
    forge.say({ref(1): release("one", state=fate, reason="It leaks")})
    run(peer, forge)
    with pytest.raises(Conflict, match="It leaks"):
        gates.registry.get("federation")(deed, copy, organisation.pk)


def test_the_room_that_knows_recalls_is_told(peer: Peer, forge: Forge, organisation: Any) -> None:  # noqa: F811
    told: list[Any] = []

    class Room:
        names = staticmethod(lambda: ["room"])
        get = staticmethod(lambda name: lambda copy, fate, reason: told.append((copy.pk, fate, reason)))

    run(peer, forge)
    copy = copy_of(RemoteRelease.objects.get(ref=ref(1)), organisation)
    forge.say({ref(1): release("one", state="recalled", reason="It burns")})
    present, ports.foreign = ports.foreign, Room()  # type: ignore[assignment]
    try:
        run(peer, forge)
    finally:
        ports.foreign = present
    assert told == [(copy.pk, "recalled", "It burns")]


def test_the_recall_list_is_taken_over_before_the_cursor(peer: Peer, forge: Forge) -> None:  # noqa: F811
    told: list[Any] = []

    class Room:
        names = staticmethod(lambda: ["room"])

        @staticmethod
        def get(name: str) -> Any:
            def take_over(envelope: Any, of: Peer) -> None:
                told.append((envelope, of))
                if envelope.get("broken"):
                    raise Conflict("This list is older than the one held.")

            return take_over

    present, ports.recalls = ports.recalls, Room()  # type: ignore[assignment]
    try:
        run(peer, forge)  # it has no list yet
        run(peer, forge)
        assert told == []
        forge.files["recalls"] = b'{"serial": 1}'
        forge.say({ref(1): release("one", state="recalled")})
        run(peer, forge)
        assert told == [({"serial": 1}, peer)]
        forge.files["recalls"] = b'{"broken": true}'
        forge.say({ref(2): release("two", state="recalled")})
        with pytest.raises(Conflict, match="older"):
            run(peer, forge)
    finally:
        ports.recalls = present
    assert PeerSync.objects.get(peer=peer).serial == 2


def test_a_release_that_came_from_us_is_not_taken_back(peer: Peer, forge: Forge) -> None:  # noqa: F811
    forge.say({ref(3): release("ours", via=[sync.our_id()])})
    run(peer, forge)
    assert RemoteRelease.objects.get(ref=ref(3)).problem["code"] == "loop"


def test_bytes_of_an_own_release_are_known_for_ours(peer: Peer, forge: Forge, organisation: Any) -> None:  # noqa: F811
    Package.objects.create(
        organisation=organisation, sha256=release("one")["sha256"], size=1, name="one", version="1", state="published",
        published_at=timezone.now(),
    )  # fmt: skip
    run(peer, forge)
    assert RemoteRelease.objects.get(ref=ref(1)).problem["code"] == "own"


def test_what_is_outside_of_the_agreement_is_shown_as_such(forge: Forge, organisation: Any) -> None:  # noqa: F811
    peer = forge.peer(organisation, categories=("Video",))
    forge.say({ref(3): release("film", category="Video")})
    run(peer, forge)
    assert RemoteRelease.objects.get(ref=ref(1)).problem["code"] == "not-agreed"
    assert RemoteRelease.objects.get(ref=ref(3)).problem is None


def test_more_releases_than_agreed_are_refused_as_a_whole(forge: Forge, organisation: Any) -> None:  # noqa: F811
    peer = forge.peer(organisation, limits=terms.Limits(apps=1))
    with pytest.raises(Refused) as refused:
        run(peer, forge)
    assert refused.value.reason == "too-many"
    assert not RemoteRelease.objects.exists()


def test_other_bytes_under_a_known_reference_are_not_taken(peer: Peer, forge: Forge) -> None:  # noqa: F811
    run(peer, forge)
    good = RemoteRelease.objects.get(ref=ref(1)).sha256
    forge.say({ref(1): release("one", sha256="e" * 64)})
    run(peer, forge)
    row = RemoteRelease.objects.get(ref=ref(1))
    assert (row.sha256, row.problem["code"]) == (good, "changed-bytes")


def test_without_an_agreement_nothing_is_asked(peer: Peer, forge: Forge) -> None:  # noqa: F811
    peer.agreements.update(state="ended")
    link = Memory(forge.files)
    with pytest.raises(Conflict):
        sync.sync(peer, link, now=forge.now)
    assert link.asked == []


def test_an_agreement_that_only_gives_takes_nothing(peer: Peer, forge: Forge) -> None:  # noqa: F811
    agree(peer, out=terms.Offer())
    with pytest.raises(Conflict):
        run(peer, forge)


def test_a_refused_sync_leaves_everything_and_shows_why(peer: Peer, forge: Forge) -> None:  # noqa: F811
    run(peer, forge)
    before = state()
    forge.say({ref(3): {**release("three"), "size": "big"}})
    with pytest.raises(Refused):
        run(peer, forge)
    assert state() == before
    peer.refresh_from_db()
    assert peer.problem["reason"] == "wrong-value"
    assert peer.sync.failures == 1
    assert peer.sync.next_at > forge.now


def test_a_sync_that_works_again_clears_the_problem(peer: Peer, forge: Forge) -> None:  # noqa: F811
    good = dict(forge.files)
    forge.files["tuf/timestamp.json"] = b"{}"
    with pytest.raises(Refused):
        run(peer, forge)
    forge.files |= good
    run(peer, forge)
    peer.refresh_from_db()
    assert (peer.problem, peer.sync.problem, peer.sync.failures) == (None, None, 0)


def test_a_crash_before_the_cursor_leaves_neither(peer: Peer, forge: Forge, monkeypatch: Any) -> None:  # noqa: F811
    run(peer, forge)
    before = state()
    forge.say({ref(3): release("three")})

    def crash(*args: Any, **kwargs: Any) -> None:
        assert RemoteRelease.objects.filter(ref=ref(3)).exists()  # the offers are written before the cursor
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PeerSync, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            run(peer, forge)
    assert state() == before
    assert run(peer, forge).put == 1


def test_the_slower_of_two_syncs_writes_nothing(peer: Peer, forge: Forge) -> None:  # noqa: F811
    class Overtaken(Memory):
        def get(self, path: str, headers: Any = None) -> Any:
            if "index" in path:
                with transaction.atomic():
                    PeerSync.objects.filter(peer=peer).update(serial=9)
            return super().get(path, headers)

    with pytest.raises(Conflict, match="quicker"):
        sync.sync(peer, Overtaken(forge.files), now=forge.now)
    assert not RemoteRelease.objects.exists()


def test_a_partner_that_is_out_of_order_is_asked_less_and_less(peer: Peer) -> None:
    class Dead:
        def get(self, path: str, headers: Any = None) -> Any:
            raise Unavailable("no answer")

    pauses = []
    for _ in range(3):
        now = timezone.now()
        with pytest.raises(Unavailable):
            sync.sync(peer, Dead(), now=now)
        pauses.append((PeerSync.objects.get(peer=peer).next_at - now).total_seconds())
    assert pauses == [sync.EVERY, 2 * sync.EVERY, 4 * sync.EVERY]


def test_partners_are_asked_when_their_time_has_come(peer: Peer, forge: Forge) -> None:  # noqa: F811
    assert sync.request_due() == 1
    run(peer, forge)
    assert sync.request_due(forge.now) == 0


def test_offers_are_given_to_the_catalogue_and_taken_from_it(peer: Peer, forge: Forge) -> None:  # noqa: F811
    shown: dict[str, Any] = {}

    class Catalogue:
        def put(self, entries: Any) -> None:
            shown.update({entry.key: entry for entry in entries})

        def drop(self, keys: Any) -> None:
            for key in keys:
                shown.pop(key, None)

    class Room:
        names = staticmethod(lambda: ["room"])
        get = staticmethod(lambda name: Catalogue())

    present, ports.catalogues = ports.catalogues, Room()  # type: ignore[assignment]
    try:
        run(peer, forge)
        key = f"remote:{forge.id}:{ref(1)}"
        assert (shown[key].origin, shown[key].origin_name, shown[key].name) == (forge.id, "Harbour", "one")
        assert shown[key].app_key == f"{forge.id}/acme/Acme/one"
        forge.say({ref(1): None, ref(2): release("two", state="yanked")})
        run(peer, forge)
    finally:
        ports.catalogues = present
    assert shown == {}


def test_the_names_of_states_are_those_of_the_feed() -> None:
    assert set(feed.OFFERED) < set(feed.STATES)
