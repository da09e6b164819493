"""The HTTP that adapters speak with a 5G core: credentials, TLS, HTTP/2, patience."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import Invalid, Rejected, Throttled, Unavailable
from tests.upf.core5g.peers import Peer, Reply, problem
from upf_adapter.sbi import Access, Client, last_segment, origin

SECRET = "correct-horse-battery"


class Guarded(Peer):
    """A core with a token endpoint (RFC 6749 4.4) and a resource that wants its newest token."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0
        self.lifetime: Any = 3600

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if path == ["oauth2", "token"]:
            form = {name: values[0] for name, values in parse_qs(body).items()}
            wanted = {"grant_type": "client_credentials", "client_id": "mep", "client_secret": SECRET}
            if form != {**wanted, "scope": "nnef", "nfType": "AF"}:
                return problem(400, f"invalid_client {form}")
            self.given += 1
            return 200, {"access_token": f"token-{self.given}", "expires_in": self.lifetime, "token_type": "Bearer"}, {}
        if headers.get("authorization") != f"Bearer token-{self.given}":
            return problem(401, "Unauthorized")
        return 200, {"proxied": "via" in headers}, {}


@pytest.fixture
def core() -> Iterator[Guarded]:
    with Guarded() as peer:
        yield peer


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def client(core: Peer, secret_file: Path, **changes: Any) -> Client:
    options = {
        "token_url": f"{core.url}/oauth2/token",
        "client_id": "mep",
        "client_secret_file": str(secret_file),
        "scope": "nnef",
        "token_fields": {"nfType": "AF"},
        "timeout": 2.0,
        **changes,
    }
    return Client("NEF", msgspec.convert(options, Access))


def plain(**options: Any) -> Client:
    return Client("NEF", msgspec.convert({"timeout": 2.0, **options}, Access))


def test_a_token_is_fetched_once_and_used_while_it_lasts(core: Guarded, secret_file: Path) -> None:
    speaker = client(core, secret_file)
    for _ in range(3):
        assert speaker.send("GET", f"{core.url}/x").status == 200
    assert core.given == 1


def test_a_token_that_is_refused_is_exchanged_once(core: Guarded, secret_file: Path) -> None:
    speaker = client(core, secret_file)
    speaker.send("GET", f"{core.url}/x")
    core.given += 1  # the core has revoked ours
    assert speaker.send("GET", f"{core.url}/x").status == 200
    assert core.given == 3


def test_a_token_near_its_end_is_exchanged_before(core: Guarded, secret_file: Path) -> None:
    core.lifetime = 0.000001
    speaker = client(core, secret_file)
    for _ in range(2):
        speaker.send("GET", f"{core.url}/x")
    assert core.given == 2


@pytest.mark.parametrize("lifetime", ["soon", -5, None, 10**12])
def test_a_strange_lifetime_does_no_harm(core: Guarded, secret_file: Path, lifetime: Any) -> None:
    core.lifetime = lifetime
    assert client(core, secret_file).send("GET", f"{core.url}/x").status == 200


def test_wrong_credentials_are_told_without_telling_them(
    core: Guarded, secret_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret_file.write_text("wrong-secret")
    with pytest.raises(Unavailable, match="No access token for the NEF was given .status 400.") as caught:  # noqa: RUF043
        client(core, secret_file).send("GET", f"{core.url}/x")
    assert "wrong-secret" not in str(caught.value) + repr(caught.value.context) + caplog.text


def test_a_secret_may_be_exchanged_while_we_run(core: Guarded, secret_file: Path) -> None:
    speaker = client(core, secret_file)
    secret_file.unlink()
    with pytest.raises(Unavailable, match="cannot be read"):
        speaker.send("GET", f"{core.url}/x")
    secret_file.write_text(SECRET)
    assert speaker.send("GET", f"{core.url}/x").status == 200


def test_credentials_do_not_travel_in_the_open(core: Guarded, secret_file: Path) -> None:
    speaker = client(core, secret_file)
    for url in ("http://192.0.2.1/x", "http://nef.example/x", "http://127.0.0.1.evil.example/"):
        with pytest.raises(Invalid, match="not sent without TLS"):
            speaker.send("GET", url)
    client(core, secret_file, insecure=True).check_secrets("http://192.0.2.1/x")
    plain().check_secrets("http://192.0.2.1/x")


def test_a_core_that_wants_less_is_worth_a_retry(core: Guarded) -> None:
    core.misbehave(status=429)
    with pytest.raises(Throttled):
        plain().send("GET", f"{core.url}/x")


def test_proxies_of_the_environment_are_not_used(
    core: Guarded, secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert client(core, secret_file).send("GET", f"{core.url}/x").status == 200


class Raw:
    """A TCP server that says what it is told to, piece by piece, whatever it is asked."""

    def __init__(self, *pieces: bytes, pause: float = 0.0, context: ssl.SSLContext | None = None) -> None:
        self.pieces, self.pause, self.context = pieces, pause, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.ended.is_set():
            try:
                line, _ = self.listener.accept()
                with self.context.wrap_socket(line, server_side=True) if self.context else line as speaking:
                    speaking.recv(65536)
                    for piece in self.pieces:
                        speaking.sendall(piece)
                        if self.ended.wait(self.pause):
                            break
            except OSError:
                continue

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *args: Any) -> None:
        self.ended.set()
        # A listener that is closed while somebody waits at it lets them wait for ever.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ((b"SSH-2.0-OpenSSH_9\r\n",), "broke off"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",), "broke off"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,), "broke off"),
        ((b"",), "broke off"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",), "broke off"),
    ],
)
def test_a_peer_that_speaks_no_http_is_unavailable(pieces: tuple[bytes, ...], says: str) -> None:
    with Raw(*pieces) as peer, pytest.raises(Unavailable, match=says):
        plain().send("GET", f"http://127.0.0.1:{peer.port}/")


def test_an_answer_that_drips_is_ended_by_the_whole_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    began = time.monotonic()
    with Raw(head, *[b"x"] * 900, pause=0.05) as peer, pytest.raises(Unavailable, match="did not finish"):
        plain(timeout=0.4).send("GET", f"http://127.0.0.1:{peer.port}/")
    assert time.monotonic() - began < 30, "all its bytes would take longer"


def test_an_endless_answer_is_cut_at_the_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with Raw(head, *[b"x" * 65536] * 100_000) as peer, pytest.raises(Rejected, match="larger than 4096 bytes"):
        plain(most_bytes=4096).send("GET", f"http://127.0.0.1:{peer.port}/")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a certificate for 127.0.0.1, and the same file as key store."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "core of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def tls(certificates: Path, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    if mutual:
        context.load_verify_locations(certificates / "cert.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_peer_is_known_by_its_ca_and_by_nothing_else(certificates: Path) -> None:
    with Raw(HELLO, context=tls(certificates)) as peer:
        url = f"https://127.0.0.1:{peer.port}/"
        assert plain(ca_file=str(certificates / "cert.pem")).send("GET", url).json() == {}
        with pytest.raises(Unavailable, match="cannot be reached"):
            plain().send("GET", url)


def test_mutual_tls_shows_our_certificate(certificates: Path) -> None:
    files = {"cert_file": str(certificates / "cert.pem"), "key_file": str(certificates / "key.pem")}
    ca = {"ca_file": str(certificates / "cert.pem")}
    with Raw(HELLO, context=tls(certificates, mutual=True)) as peer:
        url = f"https://127.0.0.1:{peer.port}/"
        assert plain(**ca, **files).send("GET", url).json() == {}
        with pytest.raises(Unavailable):
            plain(**ca).send("GET", url)


def serve_http2(listener: socket.socket, heard: list[bytes]) -> None:
    """Answer one HTTP/2 connection without TLS and without an upgrade, as the functions of a 5G core do."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, StreamEnded

    line, _ = listener.accept()
    with line:
        speaking = H2Connection(config=H2Configuration(client_side=False))
        speaking.initiate_connection()
        line.sendall(speaking.data_to_send())
        while data := line.recv(65536):
            for event in speaking.receive_data(data):
                if isinstance(event, DataReceived):
                    heard.append(event.data)
                if isinstance(event, StreamEnded):
                    headers = [(":status", "201"), ("location", "http://pcf/app-sessions/7")]
                    speaking.send_headers(event.stream_id, headers)
                    speaking.send_data(event.stream_id, b'{"ascRespData": {}}', end_stream=True)
            line.sendall(speaking.data_to_send())


def test_http2_is_spoken_at_once() -> None:
    pytest.importorskip("h2", reason="HTTP/2 needs the package h2")
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve_http2, args=(listener, heard), daemon=True).start()
        speaker = plain(http="2")
        answer = speaker.send("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/app-sessions", {"a": 1})
        speaker.close()
    assert (answer.status, last_segment(answer.location), answer.object()) == (201, "7", {"ascRespData": {}})
    assert b"".join(heard) == b'{"a":1}'


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://a/b/7", "7"),
        ("/b/7/", "7"),
        ("http://a/b/a%2Fb", "a/b"),
        ("http://a/b/..", ""),
        ("http://a/b/%2e%2e", ""),
        ("http://a/b/x%0d%0ay", ""),
        ("", ""),
        ("7", ""),
        (None, ""),
        ("http://a/" + "x" * 3000, ""),
        ("http://[/7", ""),
    ],
)
def test_only_the_id_is_taken_from_what_a_peer_says(url: Any, found: str) -> None:
    assert last_segment(url) == found


def test_the_origin_of_a_url_is_scheme_host_and_port() -> None:
    assert origin("http://nef/a") == origin("http://NEF:80/b") == ("http", "nef", 80)
    assert origin("https://nef/a") != origin("http://nef/a")
    for bad in ("nef", "ftp://nef", "http://", "http://user@nef", "http://nef:99999", "http://[::1"):
        assert origin(bad) is None
