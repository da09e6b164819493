"""Another store, made of a key: what it sends arrives at ours as it would over the network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from django.utils import timezone

from appstore.federation import identity, signing
from appstore.federation.models import Peer
from appstore.keys import services as keys
from core import dsse


def our_id() -> str:
    """Return the id of the store under test."""
    return keys.current(keys.STORE).pk


class Store:
    """A store with a key of its own that speaks to the one under test."""

    def __init__(self, name: str = "Harbour Store", url: str = "http://127.0.0.1:9") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name, self.url = name, url
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.numbers: list[int] = []
        #: What it answers instead of the truth, and the problem with which it refuses every message.
        self.shown: Any = None
        self.refuses: dict[str, Any] = {}
        #: With which key its answers are signed; None as in older releases.
        self.answers_with: Any = None

    @property
    def id(self) -> str:
        return dsse.key_id(self.key.public_key())

    @property
    def pem(self) -> str:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()

    def identity(self, **changed: Any) -> dict[str, Any]:
        """Return its identity document, true unless told otherwise."""
        said = {"type": identity.KIND, "id": self.id, "name": self.name, "url": self.url, "publicKey": self.pem,
                "versions": ["1"], **changed}  # fmt: skip
        return dsse.sign(identity.PAYLOAD, json.dumps(said).encode(), changed.pop("by", self.key))

    def open(self, serve: Any) -> None:
        """Answer at an address on loopback: who it is, and 204 to all messages, which are kept in `heard`."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            if request.command == "GET":
                answer_with(200, json.dumps(self.shown or self.identity()).encode())(request)
                return
            said = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
            self.numbers.append(said.pop("number", 0))
            self.heard.append((request.path.rsplit("/", 1)[1], said))
            body = json.dumps(self.refuses).encode() if self.refuses else b""
            status = int(self.refuses["status"]) if self.refuses else 204
            headers = signed_answer(self.answers_with, status, body, request) if self.answers_with else {}
            answer_with(status, body, **headers)(request)

        self.url = serve(answer)

    def peer(self, organisation: Any, **facts: Any) -> Peer:
        """Make our row for this store: an active one, unless told otherwise."""
        now = timezone.now()
        usual = {"state": "active", "confirmed_at": now, "they_confirmed_at": now}
        return Peer.objects.create(
            organisation=organisation, store_id=self.id, public_pem=self.pem, name=self.name, url=self.url,
            **{**usual, **facts},
        )  # fmt: skip

    def headers(self, method: str, target: str, body: bytes = b"", **changed: Any) -> dict[str, str]:
        facts = {"audience": our_id(), "now": time.time(), **changed}
        return signing.sign(facts.pop("key", self.key), method, target, body, **facts)

    def post(self, path: str, value: Any, **changed: Any) -> Any:
        """Send signed JSON to the store under test."""
        body = json.dumps(value).encode()
        return self.send("POST", path, body, self.headers("POST", path, body, **changed))

    def get(self, path: str, **changed: Any) -> Any:
        return self.send("GET", path, b"", self.headers("GET", path, **changed))

    def tell(self, kind: str, **body: Any) -> Any:
        """Send a message to the store under test, at the common door."""
        return self.post("/api/v1/federation/messages", {"kind": kind, **body})

    def introduce(self, **changed: Any) -> Any:
        """Introduce itself to the store under test."""
        return self.post("/api/v1/federation/introductions", {"identity": self.identity()}, **changed)

    @staticmethod
    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        return Client().generic(method, path, body, content_type="application/json", headers=headers)


@pytest.fixture
def harbour() -> Store:
    """A store whose row we do not have yet."""
    return Store()


@pytest.fixture
def mallory() -> Store:
    """A store that means no good."""
    return Store("Mallory's", "http://127.0.0.1:10")


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], str]]:
    """Start a server on loopback whose every request goes to a function; returns its address."""
    running: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def do_POST(self) -> None:
                answer(self)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def signed_answer(key: Any, status: int, body: bytes, request: BaseHTTPRequestHandler) -> dict[str, str]:
    """Return the headers with which a store signs its answer to that request."""
    headers = {"content-digest": signing.digest_of(body)} if body else {}
    asked = {name.lower(): value for name, value in request.headers.items()}
    return {**headers, **signing.sign_answer(key, status, request.path, headers, asked)}


def answer_with(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a server that always answers the same."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer
