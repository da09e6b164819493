"""The feed on a stick: what a bag brings is what a line would have brought, and nothing else gets in."""

from __future__ import annotations

import hashlib
import io
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from appstore.federation import courier, feed, serials, sync
from appstore.federation.feed import Refused
from appstore.federation.models import Peer, PeerSync, RemoteRelease
from appstore.federation.models_feed import CourierBag
from appstore.federation.trustroot import Held
from appstore.federation.walk import Party, walk
from appstore.keys import services as keys
from appstore.packages import blobs
from appstore.packages.models import Package
from core import dsse
from core.accounts.access import SYSTEM
from core.archives import Damaged, open_archive
from tests.appstore import making
from tests.appstore.federation.forge import Forge, Memory, new_key, ref, release
from tests.appstore.federation.test_feed_served import Partner, publish  # noqa: F401
from tests.appstore.federation.test_sync import state

PACKAGE = making.edgegallery()
SHA = hashlib.sha256(PACKAGE).hexdigest()
TRUE = {"name": "hello", "provider": "Acme", "version": "1.0", "sha256": SHA, "size": len(PACKAGE)}


@pytest.fixture
def forge() -> Forge:
    made = Forge().say({ref(1): release(**TRUE), ref(2): release("two")})
    made.files[f"blobs/{SHA}"] = PACKAGE
    return made


@pytest.fixture
def peer(forge: Forge, organisation: Any) -> Peer:
    return forge.peer(organisation)


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


def bag(
    forge: Forge,
    path: Path,
    *,
    number: int = 1,
    key: Any = None,
    files: dict[str, bytes] | None = None,
    packed: dict[str, bytes] | None = None,
    **changed: Any,
) -> Path:
    """Pack what the forge serves; `packed` is what lies in the bag instead of what its index lists."""
    listed = forge.files if files is None else files
    now = forge.now
    said = {
        "format": "breakwater-courier/1", "from": forge.id, "to": forge.us, "number": number, "since": 0,
        "created": now.isoformat(), "expires": (now + timedelta(days=30)).isoformat(),
        "files": {name: {"sha256": feed.digest(data), "size": len(data)} for name, data in listed.items()}, **changed,
    }  # fmt: skip
    envelope = dsse.sign(courier.BAG, feed.packed_json(said), key or forge.store)
    return tar(path, {"index.dsse": feed.packed_json(envelope), **(listed if packed is None else packed)})


def test_a_bag_ends_in_the_state_of_a_sync_and_an_import(
    peer: Peer, forge: Forge, tmp_path: Path, organisation: Any
) -> None:
    got = courier.take(bag(forge, tmp_path / "bag.tar"), actor=SYSTEM)
    assert (got.done.put, got.done.serial, set(got.packages)) == (2, 1, {ref(1)})
    package = Package.objects.get()
    assert (package.state, package.origin, package.origin_ref, package.sha256) == ("checked", forge.id, ref(1), SHA)
    # A sync over a line afterwards has nothing to do but to see the timestamp.
    row = PeerSync.objects.get(peer=peer)
    news = walk(Memory(forge.files), sync.party_of(peer), Held.of(row.trusted), serial=1, etag=row.etag, now=forge.now)
    assert news.empty


def test_a_later_bag_goes_on_where_the_receipt_ended(peer: Peer, forge: Forge, tmp_path: Path) -> None:
    courier.take(bag(forge, tmp_path / "1.tar"), actor=SYSTEM)
    forge.say({ref(3): release("three"), ref(2): None})
    small = {path: data for path, data in forge.files.items() if "index" not in path and "blobs" not in path}
    got = courier.take(bag(forge, tmp_path / "2.tar", number=2, files=small), actor=SYSTEM)
    assert (got.done.put, got.done.removed, got.done.full) == (1, 1, False)


def test_a_bag_that_was_weeks_under_way_is_taken(peer: Peer, forge: Forge, tmp_path: Path) -> None:
    path = bag(forge, tmp_path / "bag.tar")
    assert courier.take(path, actor=SYSTEM, now=timezone.now() + timedelta(days=29)).done.put == 2


def test_a_package_that_we_refuse_is_told_and_the_rest_is_taken(peer: Peer, forge: Forge, tmp_path: Path) -> None:
    forge.say({ref(1): release(**{**TRUE, "name": "popular"}), ref(2): release("two")})
    got = courier.take(bag(forge, tmp_path / "bag.tar"), actor=SYSTEM)
    assert "it is Acme hello 1.0" in got.problems[ref(1)]
    assert got.done.put == 2


def swapped(files: dict[str, bytes], path: str, data: bytes) -> dict[str, bytes]:
    return {**files, path: data}


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("replayed", "replayed"),
        ("older", "replayed"),
        ("of-a-stranger", "signature"),
        ("for-another", "foreign"),
        ("claims-another", "foreign"),
        ("too-late", "expired"),
        ("from-the-future", "expired"),
        ("good-for-ever", "expired"),
        ("changed-package", "changed"),
        ("changed-metadata", "changed"),
        ("one-missing", "changed"),
        ("one-too-many", "changed"),
        ("wrong-size", "changed"),
        ("rollback", "rollback"),
        ("gap", "gap"),
        ("other-format", "unknown-format"),
        ("no-number", "garbage"),
        ("files-no-object", "garbage"),
    ],
)
def test_a_bag_that_is_not_right_is_refused_and_changes_nothing(
    peer: Peer, forge: Forge, tmp_path: Path, case: str, reason: str
) -> None:
    forge.say({ref(5): release("five")})
    courier.take(bag(forge, tmp_path / "first.tar", number=5), actor=SYSTEM)
    old = dict(forge.files)
    forge.say({ref(3): release("three")})
    path, files, now, later = tmp_path / "bag.tar", dict(forge.files), forge.now, timezone.now()
    entry = f"targets/{forge.audience}/{feed.digest(forge.targets['entry.json.gz'])}.entry.json.gz"
    if case == "replayed":
        bag(forge, path, number=5)
    elif case == "older":
        bag(forge, path, number=4)
    elif case == "of-a-stranger":
        bag(forge, path, number=6, key=new_key())
    elif case == "for-another":
        bag(forge, path, number=6, to="e" * 64)
    elif case == "claims-another":
        bag(forge, path, number=6, **{"from": "e" * 64})
    elif case == "too-late":
        bag(forge, path, number=6)
        later += timedelta(days=31)
    elif case == "from-the-future":
        bag(forge, path, number=6, created=(now + timedelta(hours=1)).isoformat())
    elif case == "good-for-ever":
        bag(forge, path, number=6, expires=(now + timedelta(days=999)).isoformat())
    elif case == "changed-package":
        bag(forge, path, number=6, packed=swapped(files, f"blobs/{SHA}", PACKAGE[:-1] + b"!"))
    elif case == "changed-metadata":
        bag(forge, path, number=6, packed=swapped(files, "tuf/timestamp.json", old["tuf/timestamp.json"]))
    elif case == "one-missing":
        bag(forge, path, number=6, packed={name: data for name, data in files.items() if name != entry})
    elif case == "one-too-many":
        bag(forge, path, number=6, packed={**files, "tuf/9.root.json": b"{}"})
    elif case == "wrong-size":
        bag(forge, path, number=6, files=files, packed=swapped(files, entry, files[entry] + b" "))
    elif case == "rollback":
        forge.serial, forge.diffs = 0, {}
        for role in ("targets", "audience", "snapshot", "timestamp"):
            forge.versions[role] = 0
        forge.say({ref(9): release("nine")})
        bag(forge, path, number=6)
    elif case == "gap":
        bag(forge, path, number=6, files={n: d for n, d in files.items() if "diff" not in n and "index" not in n})
    elif case == "other-format":
        bag(forge, path, number=6, format="breakwater-courier/9")
    elif case == "no-number":
        bag(forge, path, number=0)
    elif case == "files-no-object":
        bag(forge, path, number=6, files={}, **{})
        envelope = dsse.sign(courier.BAG, feed.packed_json({
            "format": "breakwater-courier/1", "from": forge.id, "to": forge.us, "number": 6,
            "created": now.isoformat(), "expires": (now + timedelta(days=3)).isoformat(), "files": 7,
        }), forge.store)  # fmt: skip
        tar(path, {"index.dsse": feed.packed_json(envelope)})
    before = state()
    with pytest.raises(Refused) as refused:
        courier.take(path, actor=SYSTEM, now=later)
    assert refused.value.reason == reason
    assert state() == before
    assert CourierBag.objects.count() == 1


def test_one_changed_byte_of_the_index_is_refused(peer: Peer, forge: Forge, tmp_path: Path) -> None:
    path = bag(forge, tmp_path / "bag.tar")
    data = bytearray(path.read_bytes())
    at = data.index(b'"payload":"') + 40
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    path.write_bytes(bytes(data))
    with pytest.raises(Refused) as refused:
        courier.take(path, actor=SYSTEM)
    assert refused.value.reason == "signature"


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_bag_that_was_cut_off_is_refused(peer: Peer, forge: Forge, tmp_path: Path, share: float) -> None:
    path = bag(forge, tmp_path / "bag.tar")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises((Refused, Damaged)):
        courier.take(path, actor=SYSTEM)
    assert not RemoteRelease.objects.exists()


def test_a_file_that_is_no_bag_is_refused_by_the_command(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(CommandError, match="neither a zip nor a tar"):
        call_command("courier_import", str(tmp_path / "x"))


# What we pack ---------------------------------------------------------------------------------------------------------


class TarLink(Memory):
    """What lies in a bag that we packed, as the partner reads it."""

    def __init__(self, path: Path) -> None:
        with open_archive(path) as archive:
            super().__init__({name: b"".join(archive.chunks(name)) for name in archive.names()})


def unpack(partner: Partner, path: Path, news: Any = None) -> Any:
    store = keys.current(keys.STORE)
    party = Party(us=partner.peer.store_id, them=store.pk, key=dsse.load_public(store.public_pem))
    held, serial = (news.held, news.serial) if news else (Held(), 0)
    return walk(TarLink(path), party, held, serial=serial, etag="", now=timezone.now())


def receipt(partner: Partner, news: Any, bag: CourierBag, have: list[str], /, **changed: Any) -> bytes:
    said = {
        "format": "breakwater-receipt/1", "from": partner.peer.store_id, "to": sync.our_id(), "number": bag.number,
        "bag": bag.sha256, "serial": news.serial, "audience": news.held.name, "root": 1, "have": have, "refused": {},
        **changed,
    }  # fmt: skip
    return feed.packed_json(dsse.sign(courier.RECEIPT, feed.packed_json(said), partner.key))


def test_what_we_pack_is_followed_and_the_next_bag_is_smaller(
    organisation: Any,
    publish: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    partner = Partner(organisation)
    first = publish("one", b"1" * 5000)
    call_command("courier_export", "--peer", "harbour", "--to", str(tmp_path / "1.tar"))
    news = unpack(partner, tmp_path / "1.tar")
    assert [r["name"] for r in news.full.values()] == ["one"]
    files = TarLink(tmp_path / "1.tar").files
    assert files[f"blobs/{first.sha256}"] == b"1" * 5000
    (tmp_path / "receipt").write_bytes(receipt(partner, news, CourierBag.objects.get(), [first.sha256]))
    call_command("courier_receipt", "--take", str(tmp_path / "receipt"))
    second = publish("two", b"2" * 5000)
    call_command("courier_export", "--peer", "harbour", "--to", str(tmp_path / "2.tar"))
    files = TarLink(tmp_path / "2.tar").files
    assert f"blobs/{second.sha256}" in files
    assert f"blobs/{first.sha256}" not in files
    assert not any("index-" in name for name in files)
    later = unpack(partner, tmp_path / "2.tar", news)
    assert [r["name"] for r in later.patches[0].values() if r] == ["two"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bag": "e" * 64}, "foreign"),
        ({"number": 77}, "foreign"),
        ({"to": "e" * 64}, "foreign"),
        ({"have": "all"}, "garbage"),
        ({"serial": "x"}, "garbage"),
        ({"format": "x"}, "unknown-format"),
    ],
)
def test_a_receipt_that_is_not_right_is_refused(
    organisation: Any,
    publish: Any,  # noqa: F811
    tmp_path: Path,
    changes: dict[str, Any],
    reason: str,
) -> None:
    partner = Partner(organisation)
    publish("one")
    courier.export(partner.peer, tmp_path / "1.tar", actor=SYSTEM)
    news = unpack(partner, tmp_path / "1.tar")
    with pytest.raises(Refused) as refused:
        courier.accept_receipt(receipt(partner, news, CourierBag.objects.get(), [], **changes), actor=SYSTEM)
    assert refused.value.reason == reason
    assert CourierBag.objects.get().receipt is None


def test_our_receipt_says_what_we_have_and_what_we_refused(peer: Peer, forge: Forge, tmp_path: Path) -> None:
    forge.say({ref(4): release("ours", via=[sync.our_id()])})
    courier.take(bag(forge, tmp_path / "bag.tar", number=3), actor=SYSTEM)
    call_command("courier_receipt", "--peer", "Harbour", "--to", str(tmp_path / "receipt"))
    envelope = feed.parsed((tmp_path / "receipt").read_bytes())
    payload, _ = dsse.verify(envelope, courier.RECEIPT, keys.known(keys.STORE))
    said = feed.parsed(payload)
    assert (said["number"], said["serial"], said["have"]) == (3, 2, [SHA])
    assert "went round" in said["refused"][ref(4)]


def test_a_stick_leaves_nothing_half_written(organisation: Any, publish: Any, tmp_path: Path) -> None:  # noqa: F811
    partner = Partner(organisation)
    package = publish("one")
    serials.build()
    blobs.path_of(package.sha256).unlink()
    courier.export(partner.peer, tmp_path / "1.tar", actor=SYSTEM)
    assert [path.name for path in tmp_path.iterdir() if "tar" in path.name] == ["1.tar"]
    assert f"blobs/{package.sha256}" not in TarLink(tmp_path / "1.tar").files
