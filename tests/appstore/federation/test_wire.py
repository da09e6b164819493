"""Signed requests between stores: who is let in, and what a partner's server can do to us."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from appstore.federation import reaching, signing, wire
from appstore.federation.models_peers import SeenRequest
from core import dsse
from core.errors import Denied, Invalid, Rejected, Throttled, TimedOut, TooLarge, Unauthenticated, Unavailable
from tests.appstore.federation.conftest import Store, answer_with, our_id

PATH = "/api/v1/federation/anything"


def arriving(headers: dict[str, str], method: str = "POST", path: str = PATH, body: bytes = b"{}") -> Any:
    """Return a request as the door gets it."""
    return RequestFactory().generic(method, path, body, content_type="application/json", headers=headers)


@pytest.fixture
def peer(harbour: Store, organisation: Any) -> Any:
    return harbour.peer(organisation)


def test_a_partner_is_known_by_its_signature(peer: Any, harbour: Store) -> None:
    assert wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}"))) == peer
    assert wire.authenticate(arriving(harbour.headers("GET", f"{PATH}?a=1"), "GET", f"{PATH}?a=1", b"")) == peer


def test_a_request_without_signature_is_refused(peer: Any) -> None:
    with pytest.raises(Unauthenticated, match="signed"):
        wire.authenticate(arriving({}))


def test_a_request_is_taken_once(peer: Any, harbour: Store) -> None:
    headers = harbour.headers("POST", PATH, b"{}")
    wire.authenticate(arriving(headers))
    with pytest.raises(Unauthenticated, match="sent before"):
        wire.authenticate(arriving(headers))


@pytest.mark.parametrize("off", [-signing.WINDOW - 2, signing.WINDOW + 2])
def test_an_old_or_future_date_is_refused(peer: Any, harbour: Store, off: int) -> None:
    with pytest.raises(Unauthenticated, match="clocks"):
        wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}", now=time.time() + off)))


def test_a_request_for_another_store_is_refused(peer: Any, harbour: Store) -> None:
    with pytest.raises(Unauthenticated, match="another store"):
        wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}", audience="f" * 64)))


def test_a_forged_audience_breaks_the_signature(peer: Any, harbour: Store) -> None:
    headers = {**harbour.headers("POST", PATH, b"{}", audience="f" * 64), signing.AUDIENCE: our_id()}
    with pytest.raises(Unauthenticated, match="does not fit"):
        wire.authenticate(arriving(headers))


def test_a_changed_body_is_refused(peer: Any, harbour: Store) -> None:
    headers = harbour.headers("POST", PATH, b"{}")
    with pytest.raises(Unauthenticated, match="body"):
        wire.authenticate(arriving(headers, body=b"[]"))


def test_a_body_is_not_slipped_under_a_signature_without_one(peer: Any, harbour: Store) -> None:
    with pytest.raises(Unauthenticated, match="must cover"):
        wire.authenticate(arriving(harbour.headers("POST", PATH)))


@pytest.mark.parametrize(("method", "path"), [("PUT", PATH), ("POST", f"{PATH}/other"), ("POST", f"{PATH}?x=1")])
def test_a_signature_is_good_for_one_method_and_target(peer: Any, harbour: Store, method: str, path: str) -> None:
    with pytest.raises(Unauthenticated, match="does not fit"):
        wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}"), method, path))


def test_another_key_under_a_known_name_is_refused(peer: Any, harbour: Store, mallory: Store) -> None:
    headers = mallory.headers("POST", PATH, b"{}")
    headers["Signature-Input"] = headers["Signature-Input"].replace(mallory.id, harbour.id)
    with pytest.raises(Unauthenticated, match="does not fit"):
        wire.authenticate(arriving(headers))


def test_a_stranger_is_refused_and_fills_no_table(peer: Any, mallory: Store) -> None:
    with pytest.raises(Unauthenticated, match="does not know"):
        wire.authenticate(arriving(mallory.headers("POST", PATH, b"{}")))
    assert not SeenRequest.objects.exists()


@pytest.mark.parametrize("state", ["pending", "suspended", "ended"])
def test_only_active_partners_get_in(peer: Any, harbour: Store, state: str) -> None:
    peer.state = state
    peer.save()
    with pytest.raises(Denied, match=state):
        wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}")))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Signature-Input", "ecdsa-p256-sha256", "hmac-sha256"),
        ("Signature-Input", "breakwater-federation", "something-else"),
        ("Signature-Input", '"@method" ', ""),
        ("Signature-Input", '"@query"', '"@query" "@query"'),
        ("Signature-Input", '"content-digest"', '"content-digest" "@authority"'),
        ("Signature-Input", "store=", "other="),
        ("Signature", "store=:", "store=:AAAA"),
        ("Content-Digest", "sha-256", "md5"),
        ("Content-Digest", "sha-256=:", "sha-256=:!"),
    ],
)
def test_a_signature_in_another_form_is_refused(peer: Any, harbour: Store, name: str, old: str, new: str) -> None:
    headers = harbour.headers("POST", PATH, b"{}")
    assert old in headers[name]
    with pytest.raises(Unauthenticated):
        wire.authenticate(arriving({**headers, name: headers[name].replace(old, new)}))


@given(name=st.sampled_from(["Signature", "Signature-Input", "Content-Digest"]), text=st.text(max_size=80))
def test_garbage_in_a_signature_is_refused_and_breaks_nothing(name: str, text: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    headers = signing.sign(key, "POST", "/x", b"{}", audience="a" * 64, now=1)
    with pytest.raises(Unauthenticated):
        signing.claimed("POST", "/x", {**headers, name: text}, has_body=True).verify(key.public_key())


def test_a_zero_signature_is_no_signature(harbour: Store) -> None:
    headers = signing.sign(harbour.key, "GET", "/x", b"", audience="a" * 64, now=1)
    zero = {**headers, "Signature": f"store=:{'A' * 86}==:"}
    with pytest.raises(Unauthenticated):
        signing.claimed("GET", "/x", zero, has_body=False).verify(harbour.key.public_key())


def test_the_signature_base_is_the_one_of_the_standard(harbour: Store) -> None:
    headers = signing.sign(harbour.key, "get", "/a/b?c=1", b"", audience="a" * 64, now=5, nonce="n" * 16)
    claim = signing.claimed("GET", "/a/b?c=1", headers, has_body=False)
    assert claim._base.decode().splitlines() == [
        '"@method": GET',
        '"@path": /a/b',
        '"@query": ?c=1',
        f'"breakwater-audience": {"a" * 64}',
        '"@signature-params": ("@method" "@path" "@query" "breakwater-audience");created=5;'
        f'keyid="{harbour.id}";nonce="{"n" * 16}";alg="ecdsa-p256-sha256";tag="breakwater-federation"',
    ]


def test_a_long_message_is_refused_unread(peer: Any, harbour: Store) -> None:
    body = b"x" * (wire.LONGEST_MESSAGE + 1)
    with pytest.raises(TooLarge):
        wire.authenticate(arriving(harbour.headers("POST", PATH, body), body=body))


def test_a_partner_that_asks_too_often_is_slowed_down(peer: Any, harbour: Store) -> None:
    for number in range(3):
        claim = signing.claimed("GET", "/x", harbour.headers("GET", "/x"), has_body=False)
        if number < 2:
            wire.take_once(claim, per_minute=2)
    with pytest.raises(Throttled):
        wire.take_once(claim, per_minute=2)


def test_the_memory_of_taken_requests_does_not_grow_for_ever(peer: Any, harbour: Store) -> None:
    from datetime import timedelta

    from django.utils import timezone

    old = timezone.now() - timedelta(hours=1)
    SeenRequest.objects.bulk_create(SeenRequest(key_id="a" * 64, nonce=f"{n:016}", at=old) for n in range(50))
    wire.authenticate(arriving(harbour.headers("POST", PATH, b"{}")))
    assert SeenRequest.objects.count() == 1


# Our side of it: the client.


def sender(url: str, **guard: float) -> wire.SignedClient:
    return wire.SignedClient(name="Harbour", url=url, audience="a" * 64, guard=reaching.Guard(**guard))


def test_what_the_client_sends_is_signed_for_the_partner(db: None, serve: Any) -> None:
    seen: dict[str, Any] = {}

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        seen.update(body=body, headers=dict(request.headers), path=request.path)
        answer_with(200, b'{"ok": true}')(request)

    with sender(serve(answer)) as client:
        assert client.post("/some/path?x=1", {"a": "ä"}).json() == {"ok": True}
    claim = signing.claimed("POST", seen["path"], httpx.Headers(seen["headers"]), has_body=True)
    from appstore.keys import services as keys

    claim.verify(dsse.load_public(keys.current(keys.STORE).public_pem))
    assert claim.audience == "a" * 64
    assert json.loads(seen["body"]) == {"a": "ä"}


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (401, Rejected), (404, Rejected), (429, Unavailable), (500, Unavailable), (302, Rejected)],
)
def test_a_refusal_becomes_an_error_of_ours(db: None, serve: Any, status: int, error: type[Exception]) -> None:
    said = b'{"type": "urn:breakwater:problem:conflict", "code": "conflict", "detail": "not\\u0000 now"}'
    url = serve(answer_with(status, said, Location="http://169.254.169.254/"))
    with sender(url) as client, pytest.raises(error) as refused:
        client.get("/x")
    assert refused.value.context["remote_status"] == status
    assert refused.value.context["remote_code"] == "conflict"
    assert "\x00" not in str(refused.value)


def test_nobody_there_is_unavailable(db: None) -> None:
    with sender("http://127.0.0.1:1") as client, pytest.raises(Unavailable):
        client.get("/x")


@pytest.mark.parametrize("announced", [True, False])
def test_an_answer_of_more_bytes_than_taken_is_cut_off(db: None, serve: Any, announced: bool) -> None:
    sent: list[int] = []

    def flood(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if announced:
            request.send_header("Content-Length", str(10 << 30))
        request.end_headers()
        try:
            for _ in range(2000):
                request.wfile.write(b"x" * 65536)
                sent.append(65536)
        except OSError:
            pass

    with sender(serve(flood)) as client, pytest.raises(Rejected, match="more than"):
        client.get("/x", most=100_000)
    assert sum(sent) < 64 << 20


@pytest.mark.parametrize("status", [200, 500])
def test_a_packed_answer_is_not_unpacked(db: None, serve: Any, status: int) -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))
    packed = answer_with(status, bomb, Content_Encoding="gzip, gzip")
    tracemalloc.start()
    try:
        with (
            wire.plain("Old store", serve(packed)) as client,
            pytest.raises((Rejected, Unavailable), match=r"asked not to|\(500\)"),
        ):
            client.get("/x", most=1000)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_slowloris_peer_is_left_alone_soon(db: None, serve: Any) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        try:
            for each in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000:
                request.wfile.write(bytes([each]))
                time.sleep(0.02)
        except OSError:
            pass

    began = time.monotonic()
    with sender(serve(drip), grace=0.3, floor=2048) as client, pytest.raises(TimedOut):
        client.get("/x")
    assert time.monotonic() - began < 30, "all its bytes would take minutes"


def test_a_body_that_trickles_is_left_alone_too(db: None, serve: Any) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        try:
            for _ in range(1000):
                request.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:
            pass

    url = serve(drip)
    client = sender(url, grace=0.3, floor=2048)
    with client, client.stream("/x", most=1 << 20) as answer, pytest.raises(TimedOut):
        list(answer)


def test_a_request_has_an_end_even_when_it_flows(db: None, serve: Any) -> None:
    def flow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            for _ in range(500):
                request.wfile.write(b"x" * 1000)
                time.sleep(0.01)
        except OSError:
            pass

    with sender(serve(flow)) as client, pytest.raises(TimedOut):
        client.get("/x", seconds=0.3)


def test_a_stream_is_read_as_it_comes(db: None, serve: Any) -> None:
    with sender(serve(answer_with(206, b"y" * 300_000))) as client:
        with client.stream("/x", {"Range": "bytes=0-"}, most=1 << 20) as answer:
            assert answer.status == 206
            assert sum(len(chunk) for chunk in answer) == 300_000
        assert answer.received == 300_000


def test_what_is_no_http_is_rejected(db: None, serve: Any) -> None:
    def garbage(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"\x00\x01garbage\r\n\r\n")

    with sender(serve(garbage)) as client, pytest.raises(Rejected):
        client.get("/x")


# Where we go at all (SSRF).

ALLOWED = reaching.Policy.of(["10.20.0.0/16", "fd00:1::/64"])


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/", "https://169.254.169.254/", "https://127.0.0.1/", "https://[::1]/",
        "https://10.0.0.1/", "https://192.168.1.1/", "https://[::ffff:169.254.169.254]/", "https://0.0.0.0/",
        "https://[64:ff9b::a9fe:a9fe]/", "https://[fe80::1]/", "https://[2002:7f00:1::]/", "https://224.0.0.1/",
        "https://100.64.0.1/", "http://93.184.215.14/", "http://2130706433/", "https://0x7f000001/", "https://127.1/",
    ],
)  # fmt: skip
def test_an_address_inside_is_no_partner(url: str) -> None:
    with pytest.raises((Invalid, Unavailable)):
        reaching.locate(url, ALLOWED)


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["93.184.215.14", "169.254.169.254"], ["93.184.215.14", "::1"], ["10.21.0.1"]]
)
def test_a_name_that_resolves_inside_is_no_partner(answers: list[str]) -> None:
    with pytest.raises(Invalid):
        reaching.locate("https://store.example.net", ALLOWED, lambda host, port: answers)


def test_a_name_is_resolved_once_and_its_address_kept() -> None:
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    place = reaching.locate("https://store.example.net", ALLOWED, lambda host, port: next(answers))
    assert place.address == "93.184.215.14"
    backend = reaching._Backend(place, reaching.Guard())
    import httpcore

    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("localhost", 443)


def test_the_connection_goes_to_the_pinned_address_whatever_the_name_says(db: None, serve: Any) -> None:
    url = serve(answer_with(200, b"{}"))
    port = int(url.rsplit(":", 1)[1])
    place = reaching.locate(
        f"http://store.invalid:{port}", reaching.Policy.of(["127.0.0.0/8"]), lambda h, p: ["127.0.0.1"]
    )
    with httpx.Client(transport=reaching.Way(place, reaching.Guard())) as client:
        assert client.get(f"http://store.invalid:{port}/").status_code == 200


@pytest.mark.parametrize(("url", "scheme"), [("http://10.20.3.4", "http"), ("https://[fd00:1::5]:8443", "https")])
def test_networks_that_the_operator_lists_are_allowed(url: str, scheme: str) -> None:
    assert reaching.locate(url, ALLOWED).scheme == scheme


@pytest.mark.parametrize(
    "url",
    [
        "", "store.example.net", "ftp://x", "file:///etc/passwd", "https://user:pw@x", "https://x/?q=1", "https://x/#f",
        "https://x:99999", "https://x:0", "https://x/../y", "https://exämple.net", "https://x/ y", "https://" + "a" * 400,
        "https://x\r\nHost: y", "gopher://127.0.0.1:6379/_",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_store_is_said_so(url: str) -> None:
    with pytest.raises(Invalid):
        reaching.split_url(url)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("https://X.example/", "https://x.example"),
        ("https://x:443", "https://x"),
        ("http://[::1]:80/a/", "http://[::1]/a"),
    ],
)
def test_one_store_has_one_address(written: str, normal: str) -> None:
    assert reaching.normal_url(written) == normal
