"""`packages upload` of what is larger than a part: it goes on where the line broke."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from tests.appstore.making import edgegallery
from tests.cli.conftest import Terminal

pytestmark = pytest.mark.django_db


class Breaking(httpx.BaseTransport):
    """A line that breaks instead of the parts whose numbers are in `breaks`, and counts what it carries."""

    def __init__(self, inner: httpx.BaseTransport, breaks: set[int]) -> None:
        self.inner, self.breaks = inner, breaks
        self.parts: list[tuple[int, int]] = []
        self.seen = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            self.seen += 1
            if self.seen in self.breaks:
                raise httpx.WriteError("broken pipe")
            self.parts.append((int(request.headers["Upload-Offset"]), int(request.headers["Content-Length"])))
        return self.inner.handle_request(request)


@pytest.fixture
def line(signed_in: Terminal) -> Breaking:
    made = Breaking(signed_in.transport, set())
    signed_in.transport = made
    return made


def test_every_byte_goes_once_although_the_line_breaks(signed_in: Terminal, line: Breaking, tmp_path: Any) -> None:
    file, content = tmp_path / "video.csar", edgegallery()
    file.write_bytes(content)
    line.breaks = {2, 3}
    made = signed_in.json("packages", "upload", file, "--part-size", 1000)
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert line.parts == [(start, min(1000, len(content) - start)) for start in range(0, len(content), 1000)]
    assert len(signed_in.slept) == 2


def test_the_next_run_goes_on_and_a_third_finds_the_package(signed_in: Terminal, line: Breaking, tmp_path: Any) -> None:
    file, content = tmp_path / "video.csar", edgegallery()
    file.write_bytes(content)
    line.breaks = set(range(3, 99))
    ended = signed_in("packages", "upload", file, "--part-size", 500)
    assert ended.code == 1
    left = signed_in.json("packages", "uploads")["results"]
    assert [(row["filename"], row["offset"]) for row in left] == [("video.csar", 1000)]
    line.breaks = set()
    again = signed_in("packages", "upload", file, "--part-size", 500, "--output", "json")
    assert "Going on after" in again.err
    assert sum(length for _, length in line.parts) == len(content)
    assert signed_in.json("packages", "uploads")["results"] == []
    third = signed_in("packages", "upload", file, "--part-size", 500)
    assert (third.code, again.json["id"] in third.err) == (1, True)


def test_an_unfinished_upload_can_be_cancelled(signed_in: Terminal, line: Breaking, tmp_path: Any) -> None:
    file = tmp_path / "video.csar"
    file.write_bytes(edgegallery())
    line.breaks = set(range(2, 99))
    assert signed_in("packages", "upload", file, "--part-size", 500).code == 1
    pk = signed_in.json("packages", "uploads")["results"][0]["id"]
    assert signed_in("packages", "cancel-upload", pk).code == 0
    line.breaks = set()
    assert signed_in("packages", "upload", file, "--part-size", 500).code == 0
