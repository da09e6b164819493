"""Uploads on the ASGI side: asked first, received without a thread, handed over whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appstore.packages.ingest import PATH, Ingest
from appstore.packages.uploads import TICKET
from tests import databases
from tests.appstore import making
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class View:
    """Stands for the pages: answers the question with `status`, then keeps what it was given."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.asked = 0
        self.got: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        ticket = scope.get(TICKET)
        if ticket is None:
            status = 299
        elif ticket.body is None:
            self.asked, status = self.asked + 1, self.status
        else:
            self.got.append(ticket.body.path.read_bytes())
            status = 201
        assert (await receive())["body"] == b""
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(view: View, *messages: dict[str, Any], path: str = PATH, method: str = "POST") -> tuple[int, int]:
    """Run one request; return its status and how many messages of the body were read."""
    waiting = list(messages)
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    if path != PATH or method != "POST":
        waiting = [{"type": "http.request", "body": b""}]
    asyncio.run(Ingest(view, forms=view)(scope, receive, send))
    return (statuses or [0])[0], len(messages) - len(waiting)


def piece(content: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def parts(settings: Any) -> list[Path]:
    return list(Path(settings.BLOB_DIR).rglob("*.part"))


def test_a_body_is_handed_over_whole(settings: Any) -> None:
    view = View()
    content = [bytes([n]) * 700_000 for n in range(5)]
    assert ask(view, *(piece(c) for c in content), piece(b"", more=False)) == (201, 6)
    assert view.got == [b"".join(content)]
    assert parts(settings) == []


def test_a_refusal_comes_before_the_body_is_read(settings: Any) -> None:
    view = View(status=403)
    assert ask(view, piece(b"x", more=False)) == (403, 0)
    assert (view.asked, view.got) == (1, [])
    assert parts(settings) == []


def test_a_client_that_goes_away_leaves_nothing(settings: Any) -> None:
    view = View()
    assert ask(view, piece(b"x" * 3_000_000))[0] == 0
    assert view.got == []
    assert parts(settings) == []


def test_too_much_is_refused_while_it_arrives(settings: Any) -> None:
    settings.MAX_PACKAGE_BYTES = 1_500_000
    view = View()
    status, read = ask(view, *(piece(b"x" * (1 << 20)) for _ in range(9)))
    assert status == 413
    assert read < 9
    assert view.got == []
    assert parts(settings) == []


def test_everything_else_passes_through() -> None:
    view = View()
    assert ask(view, path="/api/v1/nodes")[0] == 299
    assert ask(view, method="GET")[0] == 299
    assert view.asked == 0


PREPARE = """
import django; django.setup()
from core.accounts import services
from core.accounts.access import Actor
from core.accounts.models import User
user = User.objects.create_user(username="edge-user", password=None)
services.found_organisation(slug="acme", name="Acme", actor=Actor(user))
print("TOKEN", services.issue_token(user, name="t", actor=Actor(user))[1])
"""


class Server:
    """A real server with two threads for pages: its port, a token, its store. It can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("BREAKWATER_", "MEP_"))}
        env |= {"BREAKWATER_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "mecm.settings"}
        self.env = env | {"BREAKWATER_LOG_LEVEL": "ERROR"}
        databases.fresh("centre", folder / "centre.sqlite3")
        made = subprocess.run(
            [sys.executable, "-c", PREPARE], cwd=ROOT, env=self.env, check=True, capture_output=True, text=True
        )
        self.token, self.store = made.stdout.split()[-1], folder / "blobs"
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "tests.appstore.upload_server:application"]
        command += ["--port", str(self.port), "--log-level", "error"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.env)
        until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0, 60, what="the server")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(60)


@pytest.fixture
def server(lone: Server) -> tuple[int, str, Path]:
    return lone.port, lone.token, lone.store


def begin(port: int, token: str, kind: str = "application/octet-stream") -> socket.socket:
    """Start a large upload and send the first bytes of it."""
    wire = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = f"POST {PATH}?filename=slow.csar HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    wire.sendall(head.encode() + f"Content-Length: 10000000\r\nContent-Type: {kind}\r\n\r\n".encode())
    wire.sendall(b"x" * 1000)
    return wire


def post(port: int, token: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream", **headers}
    connection.request("POST", f"{PATH}?filename=a.csar", body=body, headers=sent)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def test_slow_uploads_hold_no_thread_and_broken_ones_leave_nothing(server: tuple[int, str, Path]) -> None:
    port, token, store = server
    before = set(store.glob("sha256/*/*"))
    with ExitStack() as wires:
        for _ in range(12):
            wires.enter_context(begin(port, token))
        for _ in range(4):
            wires.enter_context(begin(port, token, "multipart/form-data; boundary=b"))
        until(lambda: len(list(store.glob("incoming/*.part"))) == 14, 20, what="uploads under way")
        # Two threads serve pages, two forms; sixteen uploads are under way, and there is an answer all the same.
        status, told = post(port, token, making.edgegallery())
        assert (status, told["filename"]) == (201, "a.csar")
    until(lambda: not list(store.glob("incoming/*")), 20, what="the store to forget broken uploads")
    assert len(set(store.glob("sha256/*/*")) - before) == 1


def test_every_form_of_upload_arrives(server: tuple[int, str, Path]) -> None:
    port, token, store = server
    chunks = iter([making.chart_bytes("one")[:100], making.chart_bytes("one")[100:]])
    status, told = post(port, token, chunks)  # http.client sends an iterator in chunks, without a length
    assert (status, told["size"]) == (201, len(making.chart_bytes("one")))
    content = making.chart_bytes("two")
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="two.tgz"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )
    status, told = post(port, token, form, **{"Content-Type": "multipart/form-data; boundary=b"})
    assert (status, told["size"], told["filename"]) == (201, len(content), "two.tgz")
    status, told = post(port, token, making.chart_bytes("three"), **{"X-Content-SHA256": "0" * 64})
    assert (status, told["code"]) == (400, "invalid")
    assert post(port, "nobody", b"x")[0] == 401
    # The answer comes first, then the server tidies up.
    until(lambda: not list(store.glob("incoming/*")), 20, what="nothing to be left")


def part(wire: socket.socket, server: Server, url: str, offset: int, told: int, content: bytes) -> None:
    """Begin to send a part of `told` bytes with the first ones."""
    head = (
        f"PATCH {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\nTus-Resumable: 1.0.0\r\n"
    )
    head += (
        f"Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {told}\r\n\r\n"
    )
    wire.sendall(head.encode() + content)


def ask_tus(server: Server, method: str, url: str, **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    sent = {"Authorization": f"Bearer {server.token}", "Tus-Resumable": "1.0.0", **headers}
    connection.request(method, url, headers=sent)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.live
def test_a_broken_line_costs_nothing_and_a_killed_server_one_part(lone: Server) -> None:
    content = os.urandom(3_000_000)
    url = ask_tus(lone, "POST", "/api/v1/uploads", **{"Upload-Length": str(len(content))}).headers["Location"]
    on_disk = lone.store / "partial" / url[-36:]
    with socket.create_connection(("127.0.0.1", lone.port), timeout=60) as wire:
        part(wire, lone, url, 0, len(content), content[:700_001])
        until(on_disk.exists, 20, what="the part to begin")
        assert ask_tus(lone, "PATCH", url, **{"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
                       ).status == 423  # fmt: skip
    until(lambda: ask_tus(lone, "HEAD", url).headers["Upload-Offset"] == "700001", 20, what="what came to count")
    with socket.create_connection(("127.0.0.1", lone.port), timeout=60) as wire:
        part(wire, lone, url, 700_001, len(content) - 700_001, content[700_001:2_900_000])
        until(lambda: on_disk.stat().st_size > 1_700_000, 20, what="half a part")
        lone.kill()
    lone.start()
    assert ask_tus(lone, "HEAD", url).headers["Upload-Offset"] == "700001"
    with socket.create_connection(("127.0.0.1", lone.port), timeout=60) as wire:
        part(wire, lone, url, 700_001, len(content) - 700_001, content[700_001:])
        answer = wire.recv(2000)
    assert b" 204 " in answer.splitlines()[0]
    kept = lone.store / "sha256" / hashlib.sha256(content).hexdigest()[:2] / hashlib.sha256(content).hexdigest()
    assert kept.read_bytes() == content
    assert not on_disk.exists()
