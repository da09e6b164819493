"""How Mp1 is served: TLS that is spoken, the end of patience with clients that only wait, and how many there may be."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

import mep.asgi
from mep.mp1 import certificates, mtls, server
from tests.mep.conftest import Mp1, service
from tests.mep.serving import Serving

PARSERS = pytest.mark.parametrize("parser", [server.Httptools, server.H11], ids=["httptools", "h11"])
REQUEST = b"GET /mep/jwks.json HTTP/1.1\r\nHost: mep\r\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_PATIENCE", 0.15)
    monkeypatch.setattr(server, "WRITE_PATIENCE", 0.15)
    monkeypatch.setattr(server, "LINGER", 0.15)
    monkeypatch.setattr(mep.asgi, "PATIENCE", 0.15)


@pytest.fixture
def serve(transactional_db: None) -> Iterator[Callable[..., Serving]]:
    made: list[Serving] = []

    def start(app: Any = None, **options: Any) -> Serving:
        made.append(Serving(app, **options).__enter__())
        return made[-1]

    yield start
    for each in made:
        each.__exit__()


def everything(line: ssl.SSLSocket) -> bytes:
    """Return what comes until the other side ends the connection."""
    parts = []
    try:
        while part := line.recv(65536):
            parts.append(part)
    except (ssl.SSLError, ConnectionResetError):
        pass
    return b"".join(parts)


def told(answer: bytes, status: int) -> str:
    """Return the detail of the problem document that ends a connection."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    head = head[head.rindex(b"HTTP/1.1 ") :]
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    found = json.loads(body)
    assert found["status"] == status
    return str(found["detail"])


# --- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_newest_tls_is_chosen_and_nothing_older_than_1_2_is_spoken(serve: Callable[..., Serving]) -> None:
    node = serve()
    with node.connect() as line:
        assert line.version() == "TLSv1.3"
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
        old = node.trust()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = version
        if version is ssl.TLSVersion.TLSv1_2:
            with node.connect(old) as line:
                assert line.version() == "TLSv1.2"
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                node.connect(old)


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384"])
def test_tls_1_2_without_authenticated_encryption_is_refused(serve: Callable[..., Serving], ciphers: str) -> None:
    node = serve()
    weak = node.trust()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        node.connect(weak)


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_tls_1_2_with_it_is_spoken(serve: Callable[..., Serving], cipher: str) -> None:
    node = serve()
    good = node.trust()
    good.maximum_version = ssl.TLSVersion.TLSv1_2
    good.set_ciphers(cipher)
    with node.connect(good) as line:
        assert line.cipher()[0] == cipher  # type: ignore[index]


# --- patience --------------------------------------------------------------------------------------------------------------


@PARSERS
@pytest.mark.parametrize("said", [b"", b"GET", REQUEST], ids=["nothing", "a word", "no end"])
def test_who_does_not_say_what_is_wanted_is_told_so_and_cut_off(
    serve: Callable[..., Serving], hasty: None, parser: Any, said: bytes
) -> None:
    with serve(http=parser).connect() as line:
        line.sendall(said)
        assert "No request came" in told(everything(line), 408)


@pytest.mark.parametrize(
    ("parser", "said"),
    # The quick parser skips blank lines before a request; the other one refuses them.
    [(server.Httptools, b"\r\n"), (server.Httptools, b"GET"), (server.H11, b"GET")],
)
def test_a_first_request_does_not_buy_endless_patience(
    serve: Callable[..., Serving], hasty: None, parser: Any, said: bytes
) -> None:
    node = serve(http=parser)
    with node.connect() as line, node.connect() as other:
        line.sendall(REQUEST + b"\r\n")
        seen = b""
        while not seen.endswith(b'{"keys":[]}'):
            seen += line.recv(65536)
        # By the time that the other one is told off, the server has noticed the end of its own answer.
        everything(other)
        line.sendall(said)
        assert "No request came" in told(everything(line), 408)


@PARSERS
def test_what_is_not_http_is_told_so(serve: Callable[..., Serving], parser: Any) -> None:
    with serve(http=parser).connect() as line:
        line.sendall(b"\x16\x03\x01 HELO\r\n\r\n")
        assert "no HTTP" in told(everything(line), 400)


@PARSERS
def test_a_body_that_does_not_come_is_not_waited_for(serve: Callable[..., Serving], hasty: None, parser: Any) -> None:
    with serve(http=parser).connect() as line:
        line.sendall(b"POST /mep/token HTTP/1.1\r\nHost: mep\r\nContent-Length: 9\r\n\r\ngrant")
        assert "body did not arrive" in told(everything(line), 408)


@PARSERS
def test_a_head_without_end_is_refused_before_it_fills_memory(
    serve: Callable[..., Serving], hasty: None, parser: Any
) -> None:
    read = 0

    class Counting(parser):  # type: ignore[misc]
        def on_header(self, name: bytes, value: bytes) -> None:
            nonlocal read
            read += len(value)
            super().on_header(name, value)

    with serve(http=Counting).connect() as line:
        # Only so much is read at once, whatever it is.
        most = server.HEAD_BYTES + (256 << 10)
        line.sendall(REQUEST)
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range(100_000):
                line.sendall(b"X-Padding: %s\r\n" % (b"x" * 1000))
            pytest.fail("the connection was not ended")
    assert read <= most


@PARSERS
def test_a_head_with_too_many_lines_is_refused(serve: Callable[..., Serving], parser: Any) -> None:
    with serve(http=parser).connect() as line:
        line.sendall(REQUEST + b"a: b\r\n" * server.HEAD_LINES + b"\r\n")
        assert str(server.HEAD_LINES) in told(everything(line), 431)


@PARSERS
def test_a_client_that_does_not_read_its_answer_is_cut_off(
    serve: Callable[..., Serving], hasty: None, parser: Any
) -> None:
    over = threading.Event()

    async def much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (64 << 20))]})
        await mep.asgi.in_pieces({"type": "http.response.body", "body": bytes(64 << 20)}, send)
        over.set()

    with serve(much, http=parser).connect() as line:
        line.sendall(REQUEST + b"\r\n")
        assert over.wait(5)
        assert len(everything(line)) < 64 << 20


def test_a_large_answer_arrives_whole(serve: Callable[..., Serving], app: Mp1) -> None:
    big = {"uris": ["https://10.0.0.1/" + "x" * 700_000]}
    transport = {**service()["transportInfo"], "endpoint": big}
    app.register(transportInfo=transport)
    with serve().client(token=app.token) as client:
        for path in ("services", "applications/app-1/services"):
            (found,) = client.get(f"/mec_service_mgmt/v1/{path}").json()
            assert found["transportInfo"]["endpoint"] == big


@PARSERS
def test_more_connections_than_allowed_are_told_to_come_back(
    serve: Callable[..., Serving], settings: Any, parser: Any
) -> None:
    settings.MAX_CONNECTIONS = 3
    node = serve(http=parser)
    lines = [node.connect() for _ in range(5)]
    answers = []
    for line in lines:
        line.sendall(REQUEST + b"Connection: close\r\n\r\n")
        answers.append(everything(line))
        # The first ones stay until all have asked.
    assert b"200" in answers[0][:12]
    assert "as many connections" in told(answers[-1], 503)
    assert b"retry-after: 1" in answers[-1].lower()
    for line in lines:
        line.close()
    with node.client() as client:
        assert client.get("/mep/jwks.json").status_code == 200, "there is room again"


# --- what the application sees -----------------------------------------------------------------------------------------------


def test_the_quick_loop_and_the_quick_parser_serve(serve: Callable[..., Serving]) -> None:
    seen: list[str] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        seen.extend([type(loop).__module__, task.get_coro().cr_code.co_filename])  # type: ignore[union-attr]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with serve(look).client() as client:
        assert client.get("/").status_code == 204
    assert seen[0].partition(".")[0] == "uvloop"
    assert Path(seen[1]).name == "httptools_impl.py"


@PARSERS
def test_a_websocket_shows_its_certificate_too_and_is_left_in_peace(
    serve: Callable[..., Serving], hasty: None, settings: Any, speak: Callable[..., Mp1], tmp_path: Path, parser: Any
) -> None:
    settings.MTLS = "optional"
    speak()
    mine = certificates.issue("app-1")
    (tmp_path / "own.pem").write_text(mine.certificate + mine.private_key)

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": mtls.shown(scope) + message["text"]})

    node = serve(echo, http=parser)
    with connect(f"wss://localhost:{node.port}/", ssl=node.trust(tmp_path / "own.pem"), proxy=None) as line:
        # Longer than the patience with a request's head: another connection's end tells that it is over.
        with node.connect() as other:
            everything(other)
        line.send("!")
        assert line.recv(5) == mine.thumbprint + "!"
