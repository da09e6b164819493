"""Stores of EdgeGallery: their list is read, their packages are pulled, and nothing they say is believed."""

from __future__ import annotations

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from appstore.federation import edgegallery, wire
from appstore.federation.models import Peer, RemoteRelease
from appstore.packages.models import Package
from core.accounts.access import Actor
from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.operations import services as operations
from tests.appstore import hostile, making
from tests.appstore.federation.conftest import answer_with

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).resolve().parents[4].parent / "shared" / "samples"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20


def entry(number: int = 1, **changed: Any) -> dict[str, Any]:
    """Return an entry of the list as EdgeGallery's store writes it."""
    usual = {
        "appId": f"{number:032x}", "packageId": f"{number:032x}", "name": f"app{number}", "provider": "EdgeGallery",
        "version": "1.0", "atpTestStatus": "success", "atpTestTaskId": "x", "atpTestReportUrl": "http://x/y",
        "latestPushTime": None, "pushTimes": 0, "sourcePlatform": None, "targetPlatform": [], "affinity": "X86",
        "shortDesc": "a sample", "industry": "Smart Park", "type": "Video Application",
    }  # fmt: skip
    return {**usual, **changed}


class Original:
    """A store that answers in the shape of EdgeGallery's public API."""

    def __init__(self, packages: dict[str, bytes] | None = None, rows: list[Any] | None = None) -> None:
        self.packages = packages or {}
        self.rows = rows if rows is not None else [entry(int(ref, 16)) for ref in self.packages]
        self.paged, self.bare, self.endless = True, False, False
        self.icon = PNG
        self.asked: list[str] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.asked.append(parts.path)
        if parts.path == "/mec/appstore/v2/packages/pullable" and self.paged:
            given = parse_qs(parts.query)
            offset, limit = int(given["offset"][0]), int(given["limit"][0])
            rows = self.rows[offset : offset + limit]
            if self.endless:
                rows = [entry(number) for number in range(offset + 1, offset + limit + 1)]
            page = rows if self.bare else {"results": rows, "limit": limit, "offset": offset, "total": len(self.rows)}
            answer_with(200, json.dumps(page).encode())(request)
        elif parts.path == "/mec/appstore/v1/packages/pullable":
            answer_with(200, json.dumps(self.rows).encode())(request)
        elif parts.path.endswith("/action/download-package"):
            content = self.packages.get(parts.path.split("/")[-3])
            answer_with(200, content)(request) if content is not None else answer_with(404)(request)
        elif parts.path.endswith("/action/download-icon"):
            answer_with(200, self.icon)(request)
        else:
            answer_with(404, b"<html>no</html>")(request)


def follow(url: str, actor: Any) -> Peer:
    peer = edgegallery.add(url=url, name="Old Store", actor=actor)
    edgegallery.refresh(peer)
    return peer


def only(peer: Peer) -> RemoteRelease:
    return peer.offers.select_related("peer").get()


REF = f"{1:032x}"


def test_the_list_is_read_and_marked_as_what_it_is(serve: Any, organisation: Any, actor: Any) -> None:
    peer = follow(serve(Original(rows=[entry(n) for n in range(1, 251)])), actor)
    assert peer.offers.count() == 250
    first = peer.offers.get(ref=REF)
    assert (first.name, first.version, first.metadata["category"]) == ("app1", "1.0", "Video Application")
    assert (peer.kind, peer.public_pem, peer.agreement()) == ("edgegallery", "", None)


@pytest.mark.parametrize("bare", [True, False])
def test_both_shapes_of_a_page_are_read(serve: Any, organisation: Any, actor: Any, bare: bool) -> None:
    store = Original(rows=[entry(n) for n in range(1, 131)])
    store.bare = bare
    assert follow(serve(store), actor).offers.count() == 130


def test_a_store_without_pages_is_read_by_the_older_address(serve: Any, organisation: Any, actor: Any) -> None:
    store = Original(rows=[entry()])
    store.paged = False
    assert follow(serve(store), actor).offers.count() == 1


def test_a_package_is_pulled_and_checked_like_an_upload(serve: Any, organisation: Any, actor: Any) -> None:
    content = making.edgegallery()
    store = Original({REF: content})
    peer = follow(serve(store), actor)
    edgegallery.request_pull(only(peer), actor=actor)
    operations.run_due()
    offer = only(peer)
    package = offer.package
    assert package is not None
    assert (package.origin, package.origin_ref) == (peer.store_id, REF)
    assert package.sha256 == offer.sha256 == hashlib.sha256(content).hexdigest()
    # It has passed our own check, and nobody published it.
    assert package.state == "checked"
    assert offer.metadata["icon_type"] == "image/png"
    with pytest.raises(Conflict):
        edgegallery.request_pull(offer, actor=actor)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not here")
def test_the_sample_of_the_original_is_pulled(serve: Any, organisation: Any, actor: Any) -> None:
    peer = follow(serve(Original({REF: (SAMPLES / "test2048_1.0.csar").read_bytes()})), actor)
    package = edgegallery.pull(only(peer))
    operations.run_due()
    package.refresh_from_db()
    assert package.state in ("checked", "rejected")
    assert package.name


def test_what_left_the_list_is_withdrawn_and_what_was_pulled_stays(serve: Any, organisation: Any, actor: Any) -> None:
    store = Original({REF: making.edgegallery()})
    peer = follow(serve(store), actor)
    edgegallery.pull(only(peer))
    store.rows = [entry(2)]
    edgegallery.refresh(peer)
    assert dict(peer.offers.values_list("name", "state")) == {"app1": "withdrawn", "app2": "published"}
    assert Package.objects.count() == 1


def test_a_list_that_breaks_off_changes_nothing(serve: Any, organisation: Any, actor: Any) -> None:
    store = Original(rows=[entry(n) for n in range(1, 101)])
    peer = follow(serve(store), actor)
    store.rows = [entry(n) for n in range(200, 300)]
    good = store.__call__

    def broken(request: BaseHTTPRequestHandler) -> None:
        answer_with(500)(request) if "offset=100" in request.path else good(request)

    peer.url = serve(broken)
    peer.save()
    with pytest.raises(Unavailable):
        edgegallery.refresh(peer)
    assert not peer.offers.exclude(state="published").exists()
    assert peer.offers.count() == 100


def test_a_list_without_end_is_refused(serve: Any, organisation: Any, actor: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(edgegallery, "MOST_ROWS", 300)
    store = Original()
    store.endless = True
    with pytest.raises(Rejected, match="300"):
        follow(serve(store), actor)
    assert len(store.asked) < 10


def test_a_list_that_repeats_itself_comes_to_an_end(serve: Any, organisation: Any, actor: Any) -> None:
    page = json.dumps([entry(n) for n in range(100)]).encode()
    assert follow(serve(answer_with(200, page)), actor).offers.count() == 100


def test_a_slow_list_is_given_up(serve: Any) -> None:
    store = Original()
    store.endless = True

    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.05)
        store(request)

    with wire.plain("Old Store", serve(slow)) as client, pytest.raises(TimedOut):
        edgegallery.listing(client, seconds=0.1)


@pytest.mark.parametrize(
    "row",
    [
        None, 7, [], {}, entry(packageId="../../etc/passwd"), entry(packageId=""), entry(packageId=7), entry(name=""),
        entry(packageId="a/b"), entry(packageId="x" * 65), entry(name="\x00\x07"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_used_is_passed_over(serve: Any, organisation: Any, actor: Any, row: Any) -> None:
    peer = follow(serve(Original(rows=[row, entry(2)])), actor)
    assert [offer.name for offer in peer.offers.all()] == ["app2"]


def test_long_and_odd_texts_are_cut(serve: Any, organisation: Any, actor: Any) -> None:
    row = entry(name="a" * 500, provider="b\u202e\x00" * 200, version=["1"], shortDesc={"a": "<script>"})
    offer = only(follow(serve(Original(rows=[row])), actor))
    assert (len(offer.name), len(offer.provider)) == (128, 128)
    assert "\u202e" not in offer.provider


@pytest.mark.parametrize(
    "answer",
    [
        answer_with(200, b"<html>login</html>"),
        answer_with(200, b'{"results": {}}'),
        answer_with(200, b"[" * 200_000),
        answer_with(302, Location="http://169.254.169.254/latest/meta-data/"),
        answer_with(500, b"oops"),
    ],
)
def test_what_is_no_such_store_is_not_followed(serve: Any, organisation: Any, actor: Any, answer: Any) -> None:
    with pytest.raises(BreakwaterError):
        edgegallery.add(url=serve(answer), name="x", actor=actor)
    assert not Peer.objects.exists()


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://10.0.0.1", "file:///etc", "https://user:pw@x"])
def test_an_address_inside_is_not_followed(organisation: Any, actor: Any, url: str) -> None:
    with pytest.raises(Invalid):
        edgegallery.add(url=url, name="x", actor=actor)


def pulled_from(serve: Any, actor: Any, download: Any) -> RemoteRelease:
    """Return an offer whose download answers as told."""
    store = Original(rows=[entry()])

    def answer(request: BaseHTTPRequestHandler) -> None:
        (download if "download-package" in request.path else store)(request)

    return only(follow(serve(answer), actor))


def _short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    request.wfile.write(b"PK\x03\x04half")


@pytest.mark.parametrize(
    ("download", "error"),
    [
        (answer_with(200, b"<html>please log in</html>", Content_Type="text/html"), Rejected),
        (answer_with(200, b""), Rejected),
        (answer_with(200, b"PK"), Rejected),
        (answer_with(302, Location="http://169.254.169.254/latest/meta-data/"), Rejected),
        (answer_with(404), Rejected),
        (answer_with(200, b"PK\x03\x04" + b"x" * 3_000_000), Rejected),
        (_short, Unavailable),
    ],
)
def test_a_download_that_is_no_package_leaves_nothing(
    serve: Any, organisation: Any, actor: Any, settings: Any, download: Any, error: type[Exception]
) -> None:
    settings.MAX_PACKAGE_BYTES = 2_000_000
    offer = pulled_from(serve, actor, download)
    with pytest.raises(error):
        edgegallery.pull(offer)
    assert not Package.objects.exists()
    assert [path for path in Path(settings.BLOB_DIR).rglob("*") if path.is_file()] == []


def test_names_that_climb_out_of_the_archive_are_rejected_by_the_check(
    serve: Any, organisation: Any, actor: Any
) -> None:
    slip = hostile.write_zip(hostile.Entry(b"../../../../etc/cron.d/x", b"* * * * * root id\n"))
    offer = pulled_from(serve, actor, answer_with(200, slip))
    package = edgegallery.pull(offer)
    operations.run_due()
    package.refresh_from_db()
    assert package.state == "rejected"


def test_a_failed_pull_is_shown_at_the_offer(serve: Any, organisation: Any, actor: Any) -> None:
    offer = pulled_from(serve, actor, answer_with(404))
    edgegallery.request_pull(offer, actor=actor)
    operations.run_due()
    offer.refresh_from_db()
    assert offer.problem["code"] == "rejected"


def test_only_the_operator_follows_and_pulls(serve: Any, organisation: Any, actor: Any, stranger: Any) -> None:
    url = serve(Original(rows=[entry()]))
    with pytest.raises(Missing):
        edgegallery.add(url=url, name="x", actor=Actor(stranger))
    with pytest.raises(Missing):
        edgegallery.request_pull(only(follow(url, actor)), actor=Actor(stranger))
    with pytest.raises(Conflict, match="followed already"):
        edgegallery.add(url=url, name="x", actor=actor)
