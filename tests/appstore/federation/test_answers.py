"""Answers of a store belong to one request of one partner: what somebody on the line makes of them is not believed.

The store under test answers by its real views; the partner asks with the real client, over a line on which somebody sits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.test import Client

from appstore.federation import agreements, identity, serials, services, signing, terms, transfer, wire
from appstore.federation.link import WireLink
from appstore.federation.models import Agreement
from appstore.federation.models_peers import OutMessage
from appstore.keys import services as keys
from core import dsse
from core.errors import BreakwaterError, Missing, Rejected, Unavailable
from tests.appstore.federation.conftest import Store, our_id
from tests.appstore.federation.forge import agree
from tests.appstore.federation.test_agreements import proposal
from tests.appstore.federation.test_feed_served import publish

pytestmark = pytest.mark.django_db

__all__ = ["publish"]  # a fixture

ROOT = "/api/v1/federation"
NO = json.dumps({"type": "urn:breakwater:problem:missing", "code": "missing", "detail": "gone"}).encode()


class Line(httpx.BaseTransport):
    """The way from the partner to the store under test; `meddle` is who sits on it."""

    def __init__(self) -> None:
        self.meddle: Callable[[httpx.Request], httpx.Response] = self.give
        self.taken: list[httpx.Response] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.meddle(request)

    def give(self, request: httpx.Request, path: str = "", **headers: str) -> httpx.Response:
        """Have the store answer a request, or what somebody made of it."""
        sent = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        kind = sent.pop("content-type", "")
        target = path or request.url.raw_path.decode()
        said = Client().generic(request.method, target, request.read(), content_type=kind, headers=sent)
        answer = httpx.Response(said.status_code, headers=dict(said.items()), content=said.getvalue())
        self.taken.append(answer)
        return answer


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def asks(harbour: Store, organisation: Any, line: Line, publish: Any) -> wire.SignedClient:
    """The client of a partner that has seen answers of ours before, and to which we offer one package."""
    agree(harbour.peer(organisation), out=terms.Offer())
    publish("open")
    serials.build()
    ours = dsse.load_public(keys.current(keys.STORE).public_pem)
    client = wire.SignedClient(
        name="Ours", url="http://127.0.0.1:9", audience=our_id(), transport=line, key=ours, signs=True
    )
    client._key = harbour.key
    return client


def not_believed(asks: wire.SignedClient, path: str = "feed", **headers: str) -> None:
    with pytest.raises(Unavailable) as problem:
        asks.get(f"{ROOT}/{path}", {name.replace("_", "-"): value for name, value in headers.items()})
    assert problem.value.context["unsigned"] is True
    assert problem.value.retryable


def test_every_answer_is_signed_and_the_client_takes_it(asks: wire.SignedClient, harbour: Store, line: Line) -> None:
    stamp = asks.get(f"{ROOT}/tuf/timestamp.json")
    assert asks.get(f"{ROOT}/tuf/timestamp.json", {"If-None-Match": stamp.headers["ETag"]}).status == 304
    assert asks.get(f"{ROOT}/feed").json()["payloadType"]
    sha256 = serials.Package.objects.get().sha256
    for headers in ({}, {"Range": "bytes=2-", "If-Range": f'"{sha256}"'}):
        with asks.stream(f"{ROOT}/blobs/{sha256}", headers, most=99, known=True) as blob:
            assert b"".join(blob) == (b"en" if headers else b"open")
    assert signing.read_digest(line.taken[-2].headers["Content-Digest"]) == bytes.fromhex(sha256)
    for path, status in (("tuf/9.root.json", 404), (f"blobs/{'e' * 64}", 404), ("messages", 405)):
        with pytest.raises(Rejected) as no:
            asks.get(f"{ROOT}/{path}")
        assert no.value.context["remote_status"] == status
    with pytest.raises(Rejected, match="one of these kinds"):
        asks.post(f"{ROOT}/messages", {"kind": "nonsense"})
    envelope = dsse.sign(identity.ROTATION, b'{"from": "x"}', harbour.key)
    with pytest.raises(Rejected, match="no partner"):
        asks.post(f"{ROOT}/rotations", {"statement": envelope})
    assert len(line.taken) == 10


@pytest.mark.parametrize("status", [200, 302, 304, 403, 404, 429, 503])
def test_what_somebody_else_answers_is_not_believed(asks: wire.SignedClient, line: Line, status: int) -> None:
    line.meddle = lambda request: httpx.Response(status, content=NO if status != 304 else b"")
    not_believed(asks, If_None_Match='"x"')


def test_an_answer_is_good_for_its_request_only(asks: wire.SignedClient, line: Line) -> None:
    # An older answer to the same question, and the answer to another one.
    asks.get(f"{ROOT}/feed")
    older = line.taken[0]
    line.meddle = lambda request: older
    not_believed(asks)
    not_believed(asks, "tuf/timestamp.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"status": 404}, {"status": 304}, {"body": NO}, {"body": b""}, {"drop": "Signature"}, {"drop": "Signature-Input"},
        {"drop": "Content-Digest"}, {"drop": "Content-Type"}, {"Content-Type": "text/html"}, {"Content-Encoding": "gzip"},
        {"Signature": f"a=:{'A' * 86}==:"}, {"Signature-Input": 'a=("@status");tag="answer"'},
        {"Content-Digest": "md5=:AAAA:"}, {"Content-Range": "bytes 0-1/2"},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_was_changed_is_not_believed(asks: wire.SignedClient, line: Line, changed: Any) -> None:
    def meddle(request: httpx.Request) -> httpx.Response:
        true = line.give(request)
        headers = httpx.Headers([pair for pair in true.headers.items() if pair[0] != str(changed.get("drop")).lower()])
        headers.update({name: value for name, value in changed.items() if name[0].isupper()})
        content = httpx.ByteStream(changed.get("body", true.content))
        del headers["Content-Length"]
        return httpx.Response(changed.get("status", true.status_code), headers=headers, stream=content)

    line.meddle = meddle
    not_believed(asks)


def test_a_refusal_cannot_be_had_by_spoiling_the_request(asks: wire.SignedClient, line: Line) -> None:
    # Sent a second time, changed, or to another door: the store does not know the sender, and signs nothing.
    line.meddle = lambda request: [line.give(request) for _ in range(2)][1]
    not_believed(asks)
    line.meddle = lambda request: line.give(request, f"{ROOT}/tuf/9.root.json")
    not_believed(asks)
    assert [answer.status_code for answer in line.taken] == [200, 401, 401]
    # What the request does not cover, the answer does: a question for news becomes none, and a part becomes the whole.
    line.meddle = line.give
    etag = asks.get(f"{ROOT}/tuf/timestamp.json").headers["ETag"]
    line.meddle = lambda request: line.give(request, if_none_match=etag)
    not_believed(asks, "tuf/timestamp.json", If_None_Match='"what we have"')
    assert line.taken[-1].status_code == 304
    line.meddle = lambda request: line.give(request, content_type="text/plain")
    with pytest.raises(Unavailable):
        asks.post(f"{ROOT}/messages", {"kind": "suspend"})
    # The doors of strangers take what is signed by nobody they know, but each only for itself.
    line.meddle = lambda request: line.give(request, f"{ROOT}/introductions")
    with pytest.raises(Unavailable):
        asks.post(f"{ROOT}/rotations", {"statement": {}})
    assert line.taken[-1].status_code == 400


def test_a_forged_404_is_not_taken_as_gone(asks: wire.SignedClient, line: Line) -> None:
    with pytest.raises(Missing):
        transfer.small(WireLink(asks), "tuf/9.root.json", 99)
    line.meddle = lambda request: httpx.Response(404, content=NO)
    with pytest.raises(Unavailable):
        transfer.small(WireLink(asks), "tuf/9.root.json", 99)


def test_a_forged_refusal_ends_no_agreement_and_the_message_goes_out_later(
    harbour: Store, serve: Any, organisation: Any, actor: Any
) -> None:
    harbour.open(serve)
    harbour.answers_with = harbour.key
    peer = harbour.peer(organisation)
    harbour.tell("agreement.propose", envelope=proposal(harbour)[1])
    agreements.accept(Agreement.objects.get(), actor=actor)
    peer.answers_signed_at = peer.confirmed_at
    harbour.refuses = {"status": 409, "detail": "taken back"}
    for forger in (None, Store().key):
        harbour.answers_with = forger
        with pytest.raises(Unavailable, match="Somebody between us"):
            services.deliver(peer)
        assert Agreement.objects.get().state == "accepted"
        assert OutMessage.objects.waiting().count() == 1
    harbour.answers_with = harbour.key
    services.deliver(peer)
    assert Agreement.objects.get().state == "ended"


def test_half_a_character_in_a_message_is_refused(harbour: Store, organisation: Any) -> None:
    harbour.peer(organisation)
    answer = harbour.tell("agreement.propose", envelope={"payloadType": "\ud800", "payload": "", "signatures": []})
    assert answer.status_code == 400
    assert "Signature" in answer.headers


@pytest.mark.parametrize("status", [302, 401, 407])
def test_also_of_an_older_partner_only_a_plain_no_ends_a_matter(
    harbour: Store, serve: Any, organisation: Any, status: int
) -> None:
    harbour.open(serve)
    peer = harbour.peer(organisation)
    services.tell(peer, "resume")
    harbour.refuses = {"status": status, "detail": "no"}
    with pytest.raises(Unavailable):
        services.deliver(peer)
    assert OutMessage.objects.waiting().count() == 1


def test_who_has_signed_an_answer_once_does_not_go_back(harbour: Store, serve: Any, organisation: Any) -> None:
    harbour.open(serve)
    peer = harbour.peer(organisation)

    def hears(signer: Any) -> None:
        harbour.answers_with = signer
        peer.refresh_from_db()
        services.tell(peer, "resume")
        services.deliver(peer)

    hears(None)
    peer.refresh_from_db()
    assert peer.answers_signed_at is None
    with pytest.raises(BreakwaterError):  # an older store signs nothing, and nothing wrongly
        hears(Store().key)
    hears(harbour.key)
    peer.refresh_from_db()
    assert peer.answers_signed_at is not None
    with pytest.raises(Unavailable):
        hears(None)


def test_a_store_says_in_its_identity_that_it_signs(harbour: Store, actor: Any) -> None:
    assert identity.read(identity.envelope()).signs_answers
    assert identity.read(harbour.identity(capabilities=["x", "signed-answers"])).signs_answers
    for said in ({}, {"capabilities": "signed-answers"}, {"capabilities": [[]]}):
        assert not identity.read(harbour.identity(**said)).signs_answers
    assert harbour.introduce().status_code == 202
    row = wire.Peer.objects.get()
    assert row.answers_signed_at is None
    for able in (["signed-answers"], []):  # what was said once is not unsaid by an older document
        document = harbour.identity(capabilities=able)
        assert harbour.post(f"{ROOT}/introductions", {"identity": document}).status_code == 202
        row.refresh_from_db()
        assert row.answers_signed_at is not None


def test_the_signature_base_of_an_answer_is_the_one_of_the_standard() -> None:
    _, base = signing._answer_base(
        200, "/x", {"content-type": "application/json", "content-digest": "sha-256=:x:"},
        {"signature": "store=:y:", "if-none-match": '"z"'},
    )  # fmt: skip
    assert base.decode().splitlines() == [
        '"@status": 200',
        '"content-digest": sha-256=:x:',
        '"content-type": application/json',
        '"signature";req: store=:y:',
        '"if-none-match";req: "z"',
        '"@signature-params": ("@status" "content-digest" "content-type" "signature";req "if-none-match";req)'
        ';tag="answer"',
    ]
