"""Files by digest: whole, right, or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.errors import BreakwaterError, Invalid, Missing, Rejected, Unavailable
from mep.agent.blobs import Blobs, Fetcher, download
from tests.mep.agent.conftest import blob_of
from tests.waiting import until

CONTENT = bytes(range(256)) * 8000
BLOB = blob_of(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def server(answer: Any) -> httpx.Client:
    return httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer))


def honest(request: httpx.Request) -> httpx.Response:
    wanted = request.headers.get("Range")
    if not wanted:
        return httpx.Response(200, content=CONTENT)
    first = int(wanted.removeprefix("bytes=").rstrip("-"))
    headers = {"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return httpx.Response(206, content=CONTENT[first:], headers=headers)


def test_a_file_comes_whole(blobs: Blobs) -> None:
    assert download(server(honest), BLOB, blobs).read_bytes() == CONTENT
    assert blobs.lacking([BLOB]) == []
    assert [path.name for path in blobs.folder.iterdir()] == [BLOB.sha256]


def test_a_download_goes_on_where_it_stopped(blobs: Blobs) -> None:
    blobs.part(BLOB).write_bytes(CONTENT[:1_000_000])
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Range", ""))
        return honest(request)

    assert download(server(answer), BLOB, blobs).read_bytes() == CONTENT
    assert asked == ["bytes=1000000-"]


def test_a_download_that_is_cut_keeps_what_came(blobs: Blobs) -> None:
    with pytest.raises(Unavailable):
        download(server(lambda _: httpx.Response(200, content=CONTENT[:500_000])), BLOB, blobs)
    assert blobs.part(BLOB).stat().st_size == 500_000
    with pytest.raises(Missing):
        blobs.path(BLOB)
    assert download(server(honest), BLOB, blobs).read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_begins_again(blobs: Blobs) -> None:
    blobs.part(BLOB).write_bytes(b"x" * 1000)
    assert download(server(lambda _: httpx.Response(200, content=CONTENT)), BLOB, blobs).read_bytes() == CONTENT


def test_a_part_that_was_whole_before_the_node_stopped_is_used(blobs: Blobs) -> None:
    blobs.part(BLOB).write_bytes(CONTENT)
    assert download(server(lambda _: httpx.Response(500)), BLOB, blobs).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: httpx.Response(200, content=b"y" * len(CONTENT)), Invalid),
        (lambda _: httpx.Response(200, content=CONTENT + b"more"), Unavailable),
        (lambda _: httpx.Response(404, json=Missing("No app needs it").problem()), Missing),
        (lambda _: httpx.Response(500), Unavailable),
    ],
    ids=["other content", "too long", "not ours", "broken"],
)
def test_what_is_not_the_file_is_not_kept(blobs: Blobs, answer: Any, error: type[BreakwaterError]) -> None:
    with pytest.raises(error):
        download(server(answer), BLOB, blobs)
    assert list(blobs.folder.iterdir()) == []


def test_another_part_than_asked_for_is_refused(blobs: Blobs) -> None:
    blobs.part(BLOB).write_bytes(CONTENT[:100])
    wrong = httpx.Response(206, content=CONTENT[5:], headers={"Content-Range": "bytes 5-9/10"})
    with pytest.raises(Rejected):
        download(server(lambda _: wrong), BLOB, blobs)


def test_an_empty_file_is_a_file(blobs: Blobs) -> None:
    empty = blob_of(b"")
    assert download(server(lambda _: httpx.Response(200)), empty, blobs).read_bytes() == b""


def test_files_that_no_wish_names_are_removed_when_they_are_not_new(blobs: Blobs) -> None:
    for name in ("a" * 64, "b" * 64, "c" * 64 + ".part", "d" * 64):
        path = blobs.folder / name
        path.write_bytes(b"x")
        if not name.startswith("d"):
            os.utime(path, (time.time() - 3600,) * 2)
    assert blobs.collect({"a" * 64}) == 2
    assert sorted(path.name[0] for path in blobs.folder.iterdir()) == ["a", "d"]


def test_a_fetch_that_failed_is_tried_again_only_after_a_pause(blobs: Blobs) -> None:
    fetcher = Fetcher(blobs, lambda: None)
    told: list[int] = []
    fetcher.want(BLOB, lambda: told.append(1))
    until(lambda: told == [1])
    state = fetcher.want(BLOB, lambda: told.append(2))
    if not state.running:
        assert isinstance(state.problem, Unavailable)
        assert state.again_at > time.monotonic() - 1
    fetcher.stop()
