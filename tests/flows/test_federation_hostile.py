"""A third store that means no good, as a real server on loopback. Each attack is a test; after each our store is as it was.

It has everything a partner has: a key that we confirmed, an agreement, keys that sign its metadata. It uses them as it likes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from appstore.federation import feed, imports, sync, terms, trustroot, wire
from appstore.federation.feed import Refused
from appstore.federation.link import WireLink
from appstore.federation.models import Peer, PeerSync, RemoteRelease
from appstore.federation.models_feed import PeerPolicy
from appstore.federation.reaching import Guard
from appstore.packages.models import Package
from core.errors import BreakwaterError, Missing, Rejected, TimedOut, Unavailable
from tests.appstore import making
from tests.appstore.federation.conftest import signed_answer
from tests.appstore.federation.forge import Forge, Memory, ref, release

#: Each attack waits for a real server that stalls, lies or never ends.
pytestmark = pytest.mark.live

ROOT = "/api/v1/federation/"
PACKAGE = making.edgegallery()
SHA = hashlib.sha256(PACKAGE).hexdigest()
TRUE = {"name": "hello", "provider": "Acme", "version": "1.0", "sha256": SHA, "size": len(PACKAGE)}
MIB = 1 << 20

Answer = Callable[[BaseHTTPRequestHandler], None]


class Hostile:
    """The server: it serves what the forge signs, but for paths that `answers` knows something else for."""

    def __init__(self) -> None:
        self.forge = Forge()
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.sent = 0
        #: Whether it signs its answers; what `answers` knows is then somebody's on the line, who cannot.
        self.signs = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients that hang up are what is tested here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.removeprefix(ROOT)
        self.asked.append(path)
        for part, answer in self.answers.items():
            if part in path:
                answer(request)
                return
        data = self.forge.files.get(path)
        self.give(request, 404 if data is None else 200, data or b"")

    def give(self, request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        request.send_response(status)
        usual = {"Content-Length": str(len(body)), "ETag": f'"{hashlib.sha256(body).hexdigest()}"'}
        usual |= self.signed(request, status, body) if self.signs else {}
        for name, value in {**usual, **{n.replace("_", "-"): v for n, v in headers.items()}}.items():
            request.send_header(name, value)
        request.end_headers()
        self.send(request, body)

    def signed(self, request: BaseHTTPRequestHandler, status: int, body: bytes) -> dict[str, str]:
        return signed_answer(self.forge.store, status, body, request)

    def send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.wfile.write(body)
        self.sent += len(body)

    def endless(self, request: BaseHTTPRequestHandler) -> None:
        """Ten gigabytes, if one lets it."""
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        for _ in range(10 * 1024):
            self.send(request, b"\0" * MIB)

    def drip(self, request: BaseHTTPRequestHandler) -> None:
        """A byte now and then, for ever."""
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        for _ in range(600):
            self.send(request, b" ")
            request.wfile.flush()
            time.sleep(0.05)


@pytest.fixture
def hostile(db: None) -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def friend(organisation: Any, db: None) -> Forge:
    """An honest partner of which we have an offer and a copy, and a release of our own."""
    forge = Forge().say({ref(1): release("honest"), ref(2): release(**TRUE)})
    forge.files[f"blobs/{SHA}"] = PACKAGE
    peer = forge.peer(organisation)
    Peer.objects.filter(pk=peer.pk).update(name="Friend")
    PeerPolicy.objects.create(peer=peer, publish_imports=True)
    sync.sync(peer, Memory(forge.files), now=forge.now)
    offer = RemoteRelease.objects.select_related("peer").get(ref=ref(2))
    imports.bring(offer, link=Memory(forge.files))
    Package.objects.create(
        organisation=organisation, sha256="d" * 64, size=1, name="ours", provider="Us", version="1", state="published",
        published_at=timezone.now(),
    )  # fmt: skip
    return forge


@pytest.fixture
def peer(hostile: Hostile, friend: Forge, organisation: Any) -> Peer:
    """The hostile store as an active partner that we have followed once."""
    hostile.forge.say({ref(1): release("bait"), ref(3): release("lure")})
    peer = hostile.forge.peer(organisation, url=hostile.url)
    follow(peer)
    hostile.asked.clear()
    hostile.sent = 0
    return peer


def link(peer: Peer, **guard: Any) -> Any:
    """A signed link; where an attack takes time, it is less patient than usual, so that the tests are quick."""
    return WireLink(wire.client(peer, guard=Guard(**guard)))


def follow(peer: Peer, grace: float = 10.0, **options: Any) -> sync.Done:
    return sync.sync(peer, link(peer, grace=grace), **options)


def state() -> dict[str, Any]:
    """All that anybody could want to plant, alter or lose."""
    store = Path(settings.BLOB_DIR) / "sha256"
    return {
        "offers": list(RemoteRelease.objects.order_by("pk").values()),
        "packages": list(Package.objects.order_by("pk").values()),
        "cursors": list(PeerSync.objects.order_by("pk").values("peer", "serial", "trusted", "etag", "synced_at")),
        "files": sorted(path.name for path in store.rglob("*") if path.is_file()),
    }


def refuses(peer: Peer, *reasons: str, **options: Any) -> BreakwaterError:
    """Sync; it is refused for one of the reasons, nothing changed, and the partner's row shows the problem."""
    before = state()
    with pytest.raises((Refused, Rejected, Unavailable, TimedOut, Missing)) as problem:
        follow(peer, **options)
    if reasons:
        assert problem.value.context.get("reason") in reasons, problem.value.problem()
    assert state() == before
    peer.refresh_from_db()
    assert peer.problem is not None
    assert peer.problem["detail"] == problem.value.detail
    return problem.value


# Plant ----------------------------------------------------------------------------------------------------------------


def test_it_cannot_plant_a_release_in_the_name_of_another_store(hostile: Hostile, peer: Peer, friend: Forge) -> None:
    claims = {"origin": friend.id, "peer": friend.id, "package": "x", "organisation": "acme"}
    hostile.forge.say({ref(2): {**release("honest"), **claims}})
    before = list(RemoteRelease.objects.filter(peer__store_id=friend.id).values())
    follow(peer)
    planted = RemoteRelease.objects.get(peer=peer, ref=ref(2))
    assert not set(claims) & set(planted.metadata)
    assert (planted.peer, planted.package) == (peer, None)
    assert list(RemoteRelease.objects.filter(peer__store_id=friend.id).values()) == before


def test_it_cannot_plant_with_keys_that_the_root_does_not_name(hostile: Hostile, peer: Peer) -> None:
    thief = Forge(us=hostile.forge.us).say({ref(9): release("planted")}).say({}).say({})
    hostile.forge.files |= {name: data for name, data in thief.files.items() if name != "feed"}
    refuses(peer, "signature", "rollback", "mixed")


def test_it_cannot_answer_with_the_objects_of_another_store(hostile: Hostile, peer: Peer, friend: Forge) -> None:
    friend.say({ref(5): release("five")}).say({ref(6): release("six")})
    hostile.forge.files = dict(friend.files)
    refuses(peer, "signature")


def test_it_cannot_answer_with_what_it_offers_to_another_partner(hostile: Hostile, peer: Peer) -> None:
    hostile.forge.say({ref(4): release("more")})
    hostile.forge.files["feed"] = hostile.forge.ticket(**{"for": "e" * 64})
    refuses(peer, "mixed", "too-large")


def test_it_cannot_plant_more_releases_than_agreed(hostile: Hostile, peer: Peer, organisation: Any) -> None:
    from tests.appstore.federation.forge import agree

    agree(peer, incoming=terms.Offer(limits=terms.Limits(apps=5)))
    hostile.forge.say({ref(number): release(f"n{number}") for number in range(10, 30)})
    refuses(peer, "too-many")


@pytest.mark.parametrize(
    "name",
    [
        "good\u202egpj",
        "zero\u200bwidth",
        "bell\x07",
        "nul\x00",
        "line\nbreak",
        "\ufeffbom",
        "tag\U000e0041",
        "x" * 5000,
    ],
    ids=["bidi", "zero-width", "control", "nul", "newline", "bom", "tag-character", "endless"],
)
def test_it_cannot_hide_things_in_a_name(hostile: Hostile, peer: Peer, name: str) -> None:
    hostile.forge.say({ref(4): {**release(), "name": name}})
    refuses(peer, "wrong-value")


def test_markup_in_its_texts_stays_text(hostile: Hostile, peer: Peer, api: Any) -> None:
    hostile.forge.say({ref(4): release("<script>alert(1)</script>", description="{{ 7 * 7 }} <img src=x>")})
    follow(peer)
    assert RemoteRelease.objects.get(peer=peer, ref=ref(4)).name == "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "members",
    [
        {"sha256": "../../../../etc/passwd"}, {"size": -5}, {"size": 10**400}, {"size": "1"}, {"state": "root"},
        {"published": "0000-00-00"}, {"keywords": "all"}, {"via": [1]}, {"owner": "../../x"}, {"certificates": ["x"]},
        {"description": ["deep"]}, {"version": None},
    ],
    ids=str,
)  # fmt: skip
def test_it_cannot_write_members_of_a_wrong_kind(hostile: Hostile, peer: Peer, members: Any) -> None:
    # Signed as an index, so that every member stands in it as it is.
    forge = hostile.forge
    forge.serial += 1
    forge.publish(feed.index_bytes(forge.serial, {ref(4): {**release(), **members}}), {})
    refuses(peer, "wrong-value", "wrong-type", "garbage")


@pytest.mark.parametrize("key", ["", "x", "../1", ref(1).upper() + "A", "1" * 500, "\u202e" + ref(1)[1:]])
def test_it_cannot_use_references_that_are_none(hostile: Hostile, peer: Peer, key: str) -> None:
    forge = hostile.forge
    forge.serial += 1
    forge.publish(feed.index_bytes(forge.serial, {key: release()}), {})
    refuses(peer, "wrong-value")


# Alter ----------------------------------------------------------------------------------------------------------------


def test_it_cannot_alter_an_index_after_it_was_signed(hostile: Hostile, peer: Peer) -> None:
    hostile.forge.say({ref(number): release(f"n{number}") for number in range(10, 400)})
    for path in [path for path in hostile.forge.files if "-2.json.gz" in path]:
        hostile.forge.files[path] = feed.index_bytes(2, {ref(9): release("altered")})
    refuses(peer, "mixed", "endless")


def test_it_cannot_alter_the_bytes_of_a_release_that_we_know(hostile: Hostile, peer: Peer) -> None:
    known = RemoteRelease.objects.get(peer=peer, ref=ref(1)).sha256
    hostile.forge.say({ref(1): release("bait", sha256="e" * 64)})
    follow(peer)
    row = RemoteRelease.objects.get(peer=peer, ref=ref(1))
    assert (row.sha256, row.problem["code"]) == (known, "changed-bytes")


def test_it_cannot_alter_or_recall_what_belongs_to_another(hostile: Hostile, peer: Peer, friend: Forge) -> None:
    others = RemoteRelease.objects.exclude(peer=peer)
    before = (list(others.values()), list(Package.objects.values()))
    hostile.forge.say({ref(1): release("honest", state="recalled"), ref(2): release(**TRUE, state="recalled")})
    follow(peer)
    assert (list(others.values()), list(Package.objects.values())) == before


def test_it_cannot_remove_what_belongs_to_another(hostile: Hostile, peer: Peer, friend: Forge) -> None:
    others = RemoteRelease.objects.exclude(peer=peer)
    before = (list(others.values()), list(Package.objects.values()))
    hostile.forge.say({ref(1): None, ref(2): None, ref(3): None})
    follow(peer)
    assert (list(others.values()), list(Package.objects.values())) == before


def test_a_diff_that_says_nothing_removes_nothing(hostile: Hostile, peer: Peer) -> None:
    forge = hostile.forge
    forge.serial += 1
    forge.diffs[1, 2] = {}
    forge.publish(feed.index_bytes(2, {}), {(1, 2): feed.diff_bytes(2, {})})
    follow(peer)
    assert RemoteRelease.objects.filter(peer=peer).count() == 2


@pytest.mark.parametrize("releases", [None, [], "all", 7, {ref(1): []}, {ref(1): 0}], ids=str)
def test_a_diff_of_a_wrong_kind_removes_nothing(hostile: Hostile, peer: Peer, releases: Any) -> None:
    forge = hostile.forge
    forge.serial += 1
    forge.publish(feed.index_bytes(2, {}), {(1, 2): feed.pack({"serial": 2, "releases": releases})})
    refuses(peer, "wrong-type")


def test_it_cannot_put_other_bytes_into_a_package(hostile: Hostile, peer: Peer) -> None:
    hostile.forge.say({ref(4): release(**TRUE)})
    changed = bytearray(PACKAGE)
    changed[len(changed) // 2] ^= 1
    sha256 = "c" * 64
    hostile.forge.say({ref(4): None, ref(5): release(**{**TRUE, "sha256": sha256})})
    hostile.forge.files[f"blobs/{sha256}"] = bytes(changed)
    follow(peer)
    takes_nothing(peer, ref(5), "changed")


# Roll back, freeze, mix -----------------------------------------------------------------------------------------------


def test_it_cannot_roll_back_to_an_old_state(hostile: Hostile, peer: Peer) -> None:
    old = dict(hostile.forge.files)
    hostile.forge.say({ref(1): release("bait", state="recalled")})
    follow(peer)
    hostile.forge.files |= old
    refuses(peer, "rollback")


def test_it_cannot_roll_back_a_snapshot_under_a_new_timestamp(hostile: Hostile, peer: Peer) -> None:
    hostile.forge.say({ref(1): release("bait", state="recalled")})
    follow(peer)
    hostile.forge.versions["snapshot"] = 1
    hostile.forge.sign(only="timestamp")
    refuses(peer, "rollback")


def test_it_cannot_roll_back_its_serial(hostile: Hostile, peer: Peer) -> None:
    hostile.forge.say({ref(4): release("four")}).say({ref(5): release("five")})
    follow(peer)
    hostile.forge.serial = 0
    hostile.forge.say({ref(1): release("bait")})
    refuses(peer, "rollback")


@pytest.mark.parametrize("serial", [0, -1, 2**63, 2**64, 10**30, 1.5, "2", None, True], ids=str)
def test_it_cannot_run_away_with_a_serial(hostile: Hostile, peer: Peer, serial: Any) -> None:
    forge = hostile.forge
    forge.serial += 1
    full = feed.index_bytes(2, forge.index)
    file = feed.File(f"{forge.audience}/index-2.json.gz", feed.digest(full), len(full))
    end = (forge.now + timedelta(days=9)).isoformat()
    said = {"format": feed.FORMAT, "audience": forge.audience, "serial": serial, "time": end, "expires": end,
            "full": file.as_dict(), "diffs": {}}  # fmt: skip
    forge.publish(full, {}, entry=feed.pack(said))
    refuses(peer, "wrong-value", "garbage", "mixed")


def test_it_cannot_freeze_us_by_saying_that_nothing_is_new(hostile: Hostile, peer: Peer) -> None:
    hostile.answers["timestamp"] = lambda request: hostile.give(request, 304, b"")
    assert follow(peer).put == 0
    refuses(peer, "expired", now=timezone.now() + timedelta(hours=25))


def test_it_cannot_freeze_us_with_an_old_timestamp(hostile: Hostile, peer: Peer) -> None:
    refuses(peer, "expired", now=timezone.now() + timedelta(hours=25))


def test_it_cannot_mix_the_files_of_two_states(hostile: Hostile, peer: Peer) -> None:
    old = dict(hostile.forge.files)
    hostile.forge.say({ref(4): release("four")})
    role = trustroot.role_of(hostile.forge.audience)
    hostile.forge.files[f"tuf/2.{role}.json.gz"] = old[f"tuf/1.{role}.json.gz"]
    # Signatures differ in length by a byte or two: the older file may already be longer than what is signed.
    refuses(peer, "mixed", "too-large")


# Exhaust --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["timestamp", "2.root", "snapshot", "audience-", "entry", "diff-", "feed"])
def test_ten_gigabytes_in_place_of_a_document_are_cut_off(hostile: Hostile, peer: Peer, path: str) -> None:
    hostile.forge.say({ref(4): release("four")})
    hostile.answers[path] = hostile.endless
    tracemalloc.start()
    try:
        refuses(peer, "endless")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert hostile.sent < 16 * MIB
    assert peak < 16 * MIB


def test_a_length_of_ten_gigabytes_is_not_believed(hostile: Hostile, peer: Peer) -> None:
    def lie(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10 << 30))
        request.end_headers()
        hostile.send(request, b"{" * 65536)
        request.close_connection = True

    hostile.answers["timestamp"] = lie
    refuses(peer)


@pytest.mark.parametrize("path", ["timestamp", "snapshot", "diff-"])
def test_a_byte_now_and_then_is_cut_off(hostile: Hostile, peer: Peer, path: str) -> None:
    hostile.forge.say({ref(4): release("four")})
    hostile.answers[path] = hostile.drip
    began = time.monotonic()
    assert isinstance(refuses(peer, grace=0.3), TimedOut)
    assert time.monotonic() - began < 20, "all its bytes would take thirty seconds"


def test_silence_is_cut_off(hostile: Hostile, peer: Peer) -> None:
    hostile.answers["timestamp"] = lambda request: time.sleep(60)
    began = time.monotonic()
    assert isinstance(refuses(peer, grace=0.3), TimedOut)
    assert time.monotonic() - began < 30


def test_a_packed_bomb_unpacks_no_further_than_the_limit(hostile: Hostile, peer: Peer) -> None:
    forge = hostile.forge
    forge.serial += 1
    machine = zlib.compressobj(1, zlib.DEFLATED, 31)
    blank = b" " * MIB
    bomb = b"".join(machine.compress(blank) for _ in range(129)) + machine.flush()
    forge.publish(bomb, {(1, 2): bomb})
    refuses(peer, "too-large")


def test_a_bomb_in_the_encoding_of_an_answer_is_not_unpacked(hostile: Hostile, peer: Peer) -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB))
    hostile.answers["timestamp"] = lambda request: hostile.give(request, 200, bomb, Content_Encoding="gzip")
    refuses(peer, "garbage")


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 100_000, b'{"signed":' + b"[" * 3000])
@pytest.mark.parametrize("path", ["timestamp", "2.root", "feed"])
def test_json_that_is_nested_without_end_breaks_nothing(hostile: Hostile, peer: Peer, path: str, text: bytes) -> None:
    hostile.forge.say({ref(4): release("four")})
    hostile.answers[path] = lambda request: hostile.give(request, 200, text)
    refuses(peer, "garbage", "endless", "signature")


def test_signed_json_that_is_nested_without_end_breaks_nothing(hostile: Hostile, peer: Peer) -> None:
    forge = hostile.forge
    forge.serial += 1
    forge.publish(feed.packed(b'{"format":"breakwater-feed/1","serial":2,"releases":' + b"[" * 500_000), {})
    refuses(peer, "garbage")


@pytest.mark.parametrize("value", [7, None, "x", [], {"x": 1}, {"signatures": {}, "signed": 5}, True], ids=str)
@pytest.mark.parametrize("path", ["timestamp", "snapshot", "feed", "entry"])
def test_json_of_a_wrong_kind_breaks_nothing(hostile: Hostile, peer: Peer, path: str, value: Any) -> None:
    hostile.forge.say({ref(4): release("four")})
    hostile.answers[path] = lambda request: hostile.give(request, 200, json.dumps(value).encode())
    refuses(peer, "garbage", "wrong-type", "mixed", "signature", "endless")


def test_redirects_are_not_followed_not_even_one(hostile: Hostile, peer: Peer) -> None:
    target = f"{hostile.url}{ROOT}secret"
    hostile.answers["timestamp"] = lambda request: hostile.give(request, 302, b"", Location=target)
    refuses(peer, "redirect")
    assert not any("secret" in path for path in hostile.asked)


def test_endless_new_roots_are_not_followed(hostile: Hostile, peer: Peer) -> None:
    for _ in range(trustroot.MOST_ROOTS + 5):
        hostile.forge.new_root()
    hostile.forge.sign()
    refuses(peer, "endless")
    assert len(hostile.asked) < trustroot.MOST_ROOTS + 5


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"\0" * 4096,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
    ],
    ids=["nothing", "ssh", "broken-chunks", "nul", "headers", "negative-length", "status", "two-lengths",
         "length-of-5000-digits"],
)  # fmt: skip
def test_what_is_no_http_breaks_nothing(hostile: Hostile, peer: Peer, raw: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        hostile.send(request, raw)
        request.close_connection = True

    hostile.answers["timestamp"] = answer
    refuses(peer)


@pytest.mark.parametrize("status", [204, 206, 300, 401, 403, 404, 418, 429, 500, 503])
def test_every_other_status_is_an_error_that_is_shown(hostile: Hostile, peer: Peer, status: int) -> None:
    hostile.answers["timestamp"] = lambda request: hostile.give(request, status, b"")
    refuses(peer)


# Packages -------------------------------------------------------------------------------------------------------------


def takes_nothing(peer: Peer, key: str, *reasons: str, grace: float = 10.0) -> BreakwaterError:
    """Import; it fails for one of the reasons, nothing is planted, and the offer shows the problem."""
    offer = RemoteRelease.objects.select_related("peer").get(peer=peer, ref=key)
    before = (list(Package.objects.order_by("pk").values()), state()["files"])
    with pytest.raises(BreakwaterError) as problem:
        imports.bring(offer, link=link(peer, grace=grace))
    if reasons:
        assert problem.value.context.get("reason") in reasons, problem.value.problem()
    assert (list(Package.objects.order_by("pk").values()), state()["files"]) == before
    offer.refresh_from_db()
    assert offer.imported["problem"]["detail"] == problem.value.detail
    return problem.value


@pytest.fixture
def bait(hostile: Hostile, peer: Peer) -> str:
    """An offer of the hostile store; its bytes are up to the test."""
    hostile.forge.say({ref(7): release("bait", sha256="b" * 64, size=100_000)})
    follow(peer)
    hostile.sent = 0
    return ref(7)


def test_a_package_of_ten_gigabytes_is_cut_off(hostile: Hostile, peer: Peer, bait: str) -> None:
    hostile.answers["blobs"] = hostile.endless
    takes_nothing(peer, bait, "endless")
    assert hostile.sent < 16 * MIB


def test_a_package_that_drips_is_cut_off(hostile: Hostile, peer: Peer, bait: str) -> None:
    hostile.answers["blobs"] = hostile.drip
    assert isinstance(takes_nothing(peer, bait, grace=0.2), TimedOut | Unavailable)


def test_a_package_in_another_part_than_asked_is_refused(hostile: Hostile, peer: Peer, bait: str) -> None:
    def part(request: BaseHTTPRequestHandler) -> None:
        hostile.give(request, 206, b"x" * 100, Content_Range="bytes 50-149/100000")

    hostile.answers["blobs"] = part
    takes_nothing(peer, bait, "mixed")


def test_a_package_of_right_length_and_wrong_bytes_is_refused(hostile: Hostile, peer: Peer, bait: str) -> None:
    hostile.answers["blobs"] = lambda request: hostile.give(request, 200, b"x" * 100_000)
    takes_nothing(peer, bait, "changed")


def test_a_package_that_sends_us_elsewhere_is_refused(hostile: Hostile, peer: Peer, bait: str) -> None:
    hostile.answers["blobs"] = lambda request: hostile.give(request, 307, b"", Location="http://169.254.169.254/")
    takes_nothing(peer, bait, "redirect")


def test_it_cannot_give_its_package_the_name_of_another(hostile: Hostile, peer: Peer) -> None:
    other = making.edgegallery(appd="folder")
    sha256 = hashlib.sha256(other).hexdigest()
    facts = {**TRUE, "sha256": sha256, "size": len(other), "name": "honest"}
    hostile.forge.say({ref(7): release(**facts)})
    hostile.forge.files[f"blobs/{sha256}"] = other
    follow(peer)
    offer = RemoteRelease.objects.select_related("peer").get(peer=peer, ref=ref(7))
    before = list(Package.objects.order_by("pk").values())
    with pytest.raises(Refused) as refused:
        imports.bring(offer, link=link(peer))
    assert refused.value.reason == "mislabelled"
    assert list(Package.objects.order_by("pk").values()) == before


# Between the two ------------------------------------------------------------------------------------------------------


class Between:
    """Somebody on the line to an honest partner who signs: what it answers passes here, and may be kept, swapped, changed."""

    def __init__(self, hostile: Hostile) -> None:
        self.hostile = hostile
        self.kept: dict[str, dict[str, str]] = {}

    def true(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes, dict[str, str]]:
        """Return what the partner answers."""
        data = self.hostile.forge.files.get(request.path.removeprefix(ROOT))
        status = 404 if data is None else 200
        return status, data or b"", self.hostile.signed(request, status, data or b"")

    def give(self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        self.hostile.send(request, body)

    def forges(self, request: BaseHTTPRequestHandler) -> None:
        said = {"type": "urn:breakwater:problem:denied", "code": "denied", "detail": "We have ended our agreement."}
        self.give(request, 403, json.dumps(said).encode(), {})

    def changes_the_status(self, request: BaseHTTPRequestHandler) -> None:
        status, body, headers = self.true(request)
        self.give(request, 404 if status == 200 else 200, body, headers)

    def strips(self, request: BaseHTTPRequestHandler) -> None:
        status, body, _ = self.true(request)
        self.give(request, status, body, {})

    def changes_the_body(self, request: BaseHTTPRequestHandler) -> None:
        status, body, headers = self.true(request)
        self.give(request, status, body[:-1] + b" ", headers)

    def replays(self, request: BaseHTTPRequestHandler) -> None:
        """Answer what the partner once answered to the same question."""
        status, body, headers = self.true(request)
        self.give(request, status, body, self.kept.setdefault(request.path, headers))

    def swaps(self, request: BaseHTTPRequestHandler) -> None:
        """Answer what the partner answers to another question of ours: a 404 for the root that is not there yet."""
        self.kept.setdefault("other", self.hostile.signed(request, 404, b""))
        self.give(request, 404, b"", self.kept["other"])


@pytest.mark.parametrize(
    "attack", ["forges", "changes_the_status", "strips", "changes_the_body", "replays", "swaps"]
)  # fmt: skip
def test_who_sits_on_the_line_is_not_taken_for_the_partner(hostile: Hostile, peer: Peer, attack: str) -> None:
    hostile.signs = True
    hostile.forge.say({ref(4): release("four"), ref(2): release(**TRUE)})
    follow(peer)
    peer.refresh_from_db()
    assert peer.answers_signed_at is not None
    between = Between(hostile)
    hostile.answers = {"": getattr(between, attack)}
    if attack in ("replays", "swaps"):
        # The first answer is right, and is kept.
        with suppress(BreakwaterError):
            follow(peer)
        takes_nothing(peer, ref(4))
    hostile.forge.say({ref(5): release("five")})
    problem = refuses(peer)
    assert isinstance(problem, Unavailable)
    assert problem.context["unsigned"] is True
    assert peer.agreement() is not None
    # A package of which somebody says that it is gone, or not for us: the offer stays, and is fetched later.
    assert isinstance(takes_nothing(peer, ref(4)), Unavailable)
    hostile.answers = {}
    assert follow(peer).put == 1


def test_after_all_of_this_an_honest_answer_is_taken_again(hostile: Hostile, peer: Peer) -> None:
    hostile.answers["timestamp"] = lambda request: hostile.give(request, 500, b"")
    refuses(peer)
    hostile.answers.clear()
    hostile.forge.say({ref(4): release("four")})
    assert follow(peer).put == 1
    peer.refresh_from_db()
    assert peer.problem is None
