"""Following signed metadata: what a partner, or somebody between us, may not do."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from appstore.federation import feed, trustroot
from appstore.federation.feed import Refused
from appstore.federation.trustroot import Held
from appstore.federation.walk import News, walk
from core.errors import Conflict
from tests.appstore.federation.forge import Forge, Memory, forge, new_key, ref, release  # noqa: F401


def go(forge: Forge, news: News | None = None, **options: Any) -> News:  # noqa: F811
    """Walk through the forge's feed, from where `news` left off."""
    held = news.held if news else Held()
    at = {"serial": news.serial if news else 0, "etag": news.etag if news else "", "now": forge.now, **options}
    return walk(options.pop("link", None) or Memory(forge.files), forge.party(), held, **at)


def refused(forge: Forge, news: News | None = None, **options: Any) -> str:  # noqa: F811
    with pytest.raises(Refused) as problem:
        go(forge, news, **options)
    return problem.value.reason


def changed(data: bytes, **members: Any) -> bytes:
    """Return metadata with members changed after they were signed."""
    said = json.loads(data)
    said["signed"] |= members
    return json.dumps(said, separators=(",", ":")).encode()


def test_a_first_walk_brings_the_whole_listing(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    assert news.full == forge.index
    assert news.serial == 1


def test_an_idle_walk_is_one_conditional_request(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    link = Memory(forge.files)
    again = walk(link, forge.party(), news.held, serial=1, etag=news.etag, now=forge.now)
    assert again.empty
    assert link.asked == ["tuf/timestamp.json"]
    assert link.sent == 0


def test_a_later_walk_brings_only_what_changed(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.say({ref(1): None, ref(3): release("three")}).say({ref(4): release("four")})
    later = go(forge, news)
    assert later.full is None
    assert [len(patch) for patch in later.patches] == [2, 1]
    assert later.serial == 3


def test_a_new_timestamp_over_the_same_snapshot_brings_nothing_and_is_kept(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.sign(only="timestamp")
    again = go(forge, news)
    assert again.empty
    assert trustroot.version_of(again.held.timestamp) == 2


def test_an_older_timestamp_is_a_rollback(forge: Forge) -> None:  # noqa: F811
    old = dict(forge.files)
    forge.say({ref(3): release("three")})
    news = go(forge)
    forge.files |= old
    assert refused(forge, news) == "rollback"


def test_an_older_snapshot_under_a_new_timestamp_is_a_rollback(forge: Forge) -> None:  # noqa: F811
    forge.say({ref(3): release("three")})
    news = go(forge)
    forge.versions["snapshot"] = 1
    forge.sign(only="timestamp")
    assert refused(forge, news) == "rollback"


def test_an_older_audience_under_a_new_snapshot_is_a_rollback(forge: Forge) -> None:  # noqa: F811
    forge.say({ref(3): release("three")})
    news = go(forge)
    forge.versions["audience"] = 0
    forge.sign()
    assert refused(forge, news) == "rollback"


def test_an_older_serial_signed_anew_is_a_rollback(forge: Forge) -> None:  # noqa: F811
    forge.say({ref(3): release("three")}).say({ref(4): release("four")})
    news = go(forge)
    forge.serial = 1
    forge.say({})
    assert forge.serial == 2
    assert refused(forge, news) == "rollback"


def test_nothing_new_for_longer_than_a_timestamp_lives_is_a_freeze(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    assert refused(forge, news, now=forge.now + timedelta(hours=25)) == "expired"


def test_an_expired_timestamp_is_refused_at_first_sight(forge: Forge) -> None:  # noqa: F811
    assert refused(forge, now=forge.now + timedelta(hours=25)) == "expired"


def test_an_expired_snapshot_under_a_fresh_timestamp_is_a_freeze(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.sign(only="timestamp", lifetime=timedelta(days=30))
    assert refused(forge, news, now=forge.now + timedelta(days=8)) == "expired"


def test_an_expired_root_ends_the_trust(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    assert refused(forge, news, now=forge.now + timedelta(days=366)) == "expired"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "offers"])
def test_metadata_signed_by_another_key_are_refused(forge: Forge, role: str) -> None:  # noqa: F811
    news = go(forge)
    forge.keys[role] = new_key()
    if role == "offers":
        # The top still delegates to the key that was; only the audience is signed by the thief.
        real = forge.files[f"tuf/{forge.versions['targets']}.targets.json.gz"]
        forge.sign()
        forge.files[f"tuf/{forge.versions['targets']}.targets.json.gz"] = real
        # Signatures differ in length by a byte or two, so the right file may be too long for what the thief lists.
        assert refused(forge, news) in ("signature", "mixed", "too-large")
    else:
        forge.sign()
        assert refused(forge, news) == "signature"


def test_a_stolen_offers_key_cannot_delegate_to_itself(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.keys["offers"] = forge.keys["targets"] = new_key()
    forge.sign()
    assert refused(forge, news) == "signature"


@pytest.mark.parametrize("path", ["timestamp.json", "1.snapshot.json", "1.root.json"])
def test_one_changed_byte_of_metadata_is_refused(forge: Forge, path: str) -> None:  # noqa: F811
    forge.files[f"tuf/{path}"] = changed(forge.files[f"tuf/{path}"], expires="2099-01-01T00:00:00Z")
    assert refused(forge) in ("signature", "mixed", "too-large")


def test_the_snapshot_of_one_state_with_the_targets_of_another_is_mix_and_match(forge: Forge) -> None:  # noqa: F811
    old = dict(forge.files)
    forge.say({ref(3): release("three")})
    role = trustroot.role_of(forge.audience)
    forge.files[f"tuf/2.{role}.json.gz"] = old[f"tuf/1.{role}.json.gz"]
    assert refused(forge) in ("mixed", "too-large")  # a signature may be a byte longer


def test_the_file_of_one_state_with_the_metadata_of_another_is_mix_and_match(forge: Forge) -> None:  # noqa: F811
    old = dict(forge.files)
    forge.say({ref(3): release("three")})
    for path, data in old.items():
        name = path.partition(".")[2]
        for other in [p for p in forge.files if path.startswith("targets/") and p.endswith(f".{name}") and p != path]:
            forge.files[other] = data
    assert refused(forge) in ("mixed", "too-large")  # a signature may be a byte longer


def test_an_entry_that_names_an_unsigned_file_is_refused(forge: Forge) -> None:  # noqa: F811
    good = feed.Entry.of(forge.targets["entry.json.gz"])
    other = feed.Entry(good.audience, 1, good.time, good.expires, feed.File(good.full.path, "f" * 64, good.full.size))
    forge.publish(forge.targets["index-1.json.gz"], {}, entry=other.as_bytes())
    assert refused(forge) in ("mixed", "too-large")  # a signature may be a byte longer


def test_the_entry_of_another_audience_is_refused(forge: Forge) -> None:  # noqa: F811
    other = Forge(audience="b" * 32).say({ref(9): release("secret")})
    forge.publish(forge.targets["index-1.json.gz"], {}, entry=other.targets["entry.json.gz"])
    assert refused(forge) in ("mixed", "too-large")  # a signature may be a byte longer


def test_roots_follow_each_other_and_take_a_stolen_key_away(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    thief = dict(forge.keys)
    forge.new_root(timestamp=new_key(), snapshot=new_key(), targets=new_key())
    forge.say({ref(3): release("three")})
    later = go(forge, news)
    assert trustroot.version_of(later.held.root) == 2
    forge.keys = thief
    forge.say({ref(4): release("planted")})
    assert refused(forge, later) == "signature"


def test_a_timestamp_that_a_thief_ran_far_ahead_is_got_over_by_a_new_root(forge: Forge) -> None:  # noqa: F811
    forge.versions["timestamp"] = 10**6
    forge.sign(only="timestamp")
    news = go(forge)
    forge.versions["timestamp"] = 1
    forge.new_root(timestamp=new_key())
    forge.say({ref(3): release("three")})
    later = go(forge, news)
    assert later.full == forge.index


def test_a_root_that_the_old_one_did_not_sign_is_refused(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    mine = new_key()
    forge.new_root(root=mine, signers=(mine,))
    forge.sign()
    assert refused(forge, news) == "signature"


def test_a_root_that_skips_a_version_is_refused(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.new_root()
    forge.files["tuf/2.root.json"] = forge.new_root()
    forge.sign()
    assert refused(forge, news) == "rollback"


def test_endless_roots_are_not_followed(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    for _ in range(trustroot.MOST_ROOTS + 1):
        forge.new_root()
    forge.sign()
    assert refused(forge, news) == "endless"


def test_the_first_root_is_the_one_that_the_ticket_names(forge: Forge) -> None:  # noqa: F811
    forge.files["tuf/1.root.json"] = Forge().roots[0]
    assert refused(forge) in ("mixed", "too-large")  # a signature may be a byte longer


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"for": "f" * 64}, "mixed"),
        ({"store": "f" * 64}, "mixed"),
        ({"number": 0}, "wrong-value"),
        ({"number": 2**80}, "wrong-value"),
        ({"audience": "../x"}, "wrong-value"),
        ({"format": "breakwater-ticket/2"}, "unknown-format"),
        ({"root": 7}, "wrong-value"),
    ],
)
def test_a_ticket_that_is_not_ours_is_refused(forge: Forge, changes: dict[str, Any], reason: str) -> None:  # noqa: F811
    forge.files["feed"] = forge.ticket(**changes)
    assert refused(forge) == reason


def test_a_ticket_of_another_store_key_is_refused(forge: Forge) -> None:  # noqa: F811
    forge.files["feed"] = Forge().ticket()
    assert refused(forge) == "signature"


def test_an_older_ticket_than_we_have_seen_is_refused(forge: Forge) -> None:  # noqa: F811
    forge.ticket_number = 7
    forge.sign()
    news = go(forge)
    forge.ticket_number = 6
    forge.say({ref(3): release("three")})
    assert refused(forge, news) == "rollback"


def test_a_move_to_another_audience_brings_a_whole_listing(forge: Forge) -> None:  # noqa: F811
    news = go(forge)
    forge.audience, forge.ticket_number, forge.serial, forge.diffs = "c" * 32, 2, 0, {}
    forge.offer({ref(5): release("five")})
    assert go(forge, news).full == {ref(5): release("five")}


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"nul", b'{"signed": 1}', b'{"signed":' * 30_000, b"\xff" * 100])
@pytest.mark.parametrize("path", ["feed", "tuf/timestamp.json", "tuf/1.root.json", "tuf/1.snapshot.json"])
def test_garbage_in_place_of_metadata_is_refused(forge: Forge, path: str, junk: bytes) -> None:  # noqa: F811
    forge.files[path] = junk
    # After the first contact the timestamp may be up to 4 kB: longer junk is refused by its length already.
    assert refused(forge) in ("garbage", "wrong-type", "signature", "mixed", "endless")


def test_a_root_needs_as_many_keys_as_it_says() -> None:
    keys = [new_key() for _ in range(3)]
    others = {role: [trustroot.public_of(new_key())] for role in trustroot.ROLES[1:]}
    public = [trustroot.public_of(key) for key in keys]
    now = Forge().now
    first = trustroot.make_root({"root": public, **others}, version=1, threshold=2, now=now)
    for key in keys[:2]:
        trustroot.add_signature(first, key)
    trustroot.pin(trustroot.as_bytes(first))
    second = trustroot.make_root({"root": public, **others}, version=2, threshold=2, now=now)
    trustroot.add_signature(second, keys[2])
    with pytest.raises(Conflict, match="1 of 2"):
        trustroot.check_successor(trustroot.as_bytes(first), trustroot.as_bytes(second))
    trustroot.add_signature(second, keys[0])
    trustroot.check_successor(trustroot.as_bytes(first), trustroot.as_bytes(second))
