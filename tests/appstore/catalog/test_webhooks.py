"""Webhooks: signed, tried again, given up, and no way into networks that are not public."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from appstore.catalog import webhooks, wire
from appstore.catalog.models import Delivery, Notice, Webhook
from core import addresses
from core.accounts.access import Actor
from core.errors import BreakwaterError, Denied, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.operations import services as operations
from core.operations.models import Operation

LOOPBACK = ["127.0.0.0/8"]


class Receiver:
    """A server on loopback that answers what it is told to, once for each connection."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        self.hold = 0.0
        self.seen: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/in?x=1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self.server.accept()
            except OSError:
                return
            with link:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += link.recv(65536)
                head, body = request.split(b"\r\n\r\n", 1)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(body) < length:
                    body += link.recv(65536)
                self.seen.append(head + b"\r\n\r\n" + body)
                time.sleep(self.hold)
                link.sendall(self.answer)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """Somebody who listens, in a network that the operator allows."""
    settings.WEBHOOK_NETWORKS = LOOPBACK
    made = Receiver()
    yield made
    made.server.close()


@pytest.fixture
def hook(receiver: Receiver, organisation: Any, actor: Any) -> tuple[Webhook, str]:
    """A webhook that leads there, with its secret."""
    return webhooks.create(organisation, actor=actor, name="chat", url=receiver.url, events=["release", "recall"])


def test_a_new_release_arrives_signed(receiver: Receiver, hook: Any, make_release: Any) -> None:
    make_release("crane")
    operations.run_due()
    head, body = receiver.seen[0].split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert head.startswith(b"POST /in?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert webhooks.verify(hook[1].encode(), headers["Breakwater-Signature"], body, now=time.time())
    assert not webhooks.verify(hook[1].encode(), headers["Breakwater-Signature"], body + b" ", now=time.time())
    assert not webhooks.verify(hook[1].encode(), headers["Breakwater-Signature"], body, now=time.time() + 600)
    assert not webhooks.verify(b"another", headers["Breakwater-Signature"], body, now=time.time())
    told = json.loads(body)
    assert (told["event"], told["release"]["name"], told["id"]) == ("release", "crane", headers["Breakwater-Delivery"])
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 204, 1)


def test_the_secret_is_shown_once_and_kept_sealed(hook: Any, api: Any) -> None:
    webhook, secret = hook
    assert secret.encode() not in bytes(webhook.sealed_secret)
    assert api.get(f"/api/v1/webhooks/{webhook.pk}").json()["secret"] is None
    assert secret not in json.dumps(api.get("/api/v1/webhooks").json())


def test_only_chosen_events_of_what_one_may_see(
    hook: Any, receiver: Receiver, make_release: Any, stranger_organisation: Any, actor: Any
) -> None:
    webhook, _ = hook
    make_release("theirs", owner=stranger_organisation)
    operations.run_due()
    assert receiver.seen == [], "not one's own"
    facts = {"name": "chat", "url": receiver.url, "active": True}
    webhooks.change(webhook, actor=actor, events=["release"], everything=True, **facts)
    make_release("open", owner=stranger_organisation)
    make_release("hidden", owner=stranger_organisation, visibility="organisation")
    operations.run_due()
    assert [json.loads(seen.split(b"\r\n\r\n", 1)[1])["release"]["name"] for seen in receiver.seen] == ["open"]


def test_a_worker_that_runs_twice_queues_an_event_once(hook: Any, make_release: Any) -> None:
    package = make_release("crane")
    for _ in range(2):
        webhooks.announce({f"package:{package.pk}": "release"}, 5)
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 500 Oh\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", b"", b"SSH-2.0\r\n"],
)
def test_a_failure_is_tried_again_later_and_given_up_in_the_end(
    hook: Any, receiver: Receiver, make_release: Any, actor: Any, answer: bytes
) -> None:
    receiver.answer = answer
    make_release("crane")
    operations.run_due()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("waiting", 1)
    pending = Operation.objects.get(kind=webhooks.DELIVER, state="pending")
    assert timedelta(seconds=5) < pending.run_after - timezone.now() <= timedelta(seconds=10)
    assert "tried again in 10 s" in delivery.note
    for _ in range(len(webhooks.WAITS)):
        webhooks.deliver(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, len(receiver.seen)) == ("failed", 8, 8)
    assert Notice.objects.get(user=actor.user).kind == "webhook"
    webhooks.deliver(delivery.pk)
    assert len(receiver.seen) == 8
    receiver.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    webhooks.again(delivery, actor=actor)
    webhooks.deliver(delivery.pk)
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_gone_means_gone(hook: Any, receiver: Receiver, make_release: Any) -> None:
    receiver.answer = b"HTTP/1.1 410 Gone\r\n\r\n"
    make_release("crane")
    operations.run_due()
    assert Delivery.objects.get().state == "failed"


def test_a_ping_is_tried_once_and_logged(hook: Any, receiver: Receiver, api: Any) -> None:
    receiver.answer = b""
    assert api.post(f"/api/v1/webhooks/{hook[0].pk}/ping").status_code == 202
    operations.run_due()
    logged = api.get(f"/api/v1/webhooks/{hook[0].pk}/deliveries").json()["results"]
    assert [(row["event"], row["state"], row["attempts"]) for row in logged] == [("ping", "failed", 1)]


def test_an_answer_that_never_comes_is_left(receiver: Receiver) -> None:
    receiver.hold = 0.8
    with pytest.raises(TimedOut):
        wire.post(wire.resolve(receiver.url, addresses.networks(LOOPBACK)), b"{}", {}, patience=0.3)


def test_of_an_answer_without_end_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.answer = b"x" * 100_000
    with pytest.raises(Rejected, match="no HTTP"):
        wire.post(wire.resolve(receiver.url, addresses.networks(LOOPBACK)), b"{}", {})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "https://", "https://user@example.com/", "https://example.com/#x", "https://exa mple.com",
        "https://example.com/\r\nX: y", "https://ex\u00e4mple.com", "http://example.com", "https://example.com:0/", "nonsense",
        "https://example.com:99999/", "https://[::1", "https://example.com\\@10.0.0.1/",
    ],
)  # fmt: skip
def test_addresses_that_are_none_are_refused_with_the_field(url: str) -> None:
    with pytest.raises(Invalid) as told:
        wire.parse(url)
    assert told.value.context["errors"][0]["field"] == "url"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_nothing_is_sent_to_what_is_not_public(address: str) -> None:
    def lookup(*_: Any, **__: Any) -> Any:
        # A public address first does not help.
        return [(0, 0, 0, "", ("93.184.215.14", 443)), (0, 0, 0, "", (address, 443))]

    with pytest.raises(Invalid, match="not public"):
        wire.resolve("https://hooks.example/", lookup=lookup)
    assert wire.forbidden(ipaddress.ip_address(address), [])


def test_what_the_operator_allows_is_allowed_and_plain_http_only_there() -> None:
    def lookup(*_: Any, **__: Any) -> Any:
        return [(0, 0, 0, "", ("10.1.2.3", 80))]

    allowed = addresses.networks(["10.0.0.0/8"])
    assert str(wire.resolve("http://inside.example/", allowed, lookup=lookup).address) == "10.1.2.3"
    with pytest.raises(Invalid, match="https"):
        wire.resolve("http://inside.example/", allowed, lookup=lambda *_, **__: [(0, 0, 0, "", ("93.184.215.14", 80))])


def test_a_name_is_resolved_once_and_the_connection_goes_there(receiver: Receiver) -> None:
    asked: list[Any] = []

    def lookup(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    port = receiver.server.getsockname()[1]
    target = wire.resolve(f"http://changes-its-mind.example:{port}/", addresses.networks(LOOPBACK), lookup=lookup)
    assert wire.post(target, b"{}", {}) == 204
    assert asked == ["changes-its-mind.example"]
    assert f"Host: changes-its-mind.example:{port}".encode() in receiver.seen[0]


def test_a_name_without_address_may_have_one_later() -> None:
    def lookup(*_: Any, **__: Any) -> Any:
        raise socket.gaierror

    with pytest.raises(Unavailable):
        wire.resolve("https://nowhere.example/", lookup=lookup)


@given(st.text(max_size=60))
def test_no_address_raises_anything_but_our_errors(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            parts = wire.parse(url)
        except BreakwaterError:
            continue
        assert "\r" not in parts.geturl()
        assert "\n" not in parts.geturl()


@pytest.mark.django_db
def test_an_address_inside_is_refused_when_the_webhook_is_made(organisation: Any, actor: Any, api: Any) -> None:
    for url in ("https://169.254.169.254/latest", "https://[::1]/", "http://hooks.example/"):
        with pytest.raises(Invalid):
            webhooks.create(organisation, actor=actor, name="x", url=url, events=["release"])
    answer = api.post(
        "/api/v1/webhooks", {"name": "x", "url": "https://10.0.0.1/", "events": ["release"]}, format="json"
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "url")
    answer = api.post("/api/v1/webhooks", {"name": "x", "url": "https://hooks.example/", "events": []}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "events")


def test_webhooks_are_for_administrators_of_their_organisation(
    hook: Any, stranger: Any, stranger_api: Any, make_user: Any, organisation: Any, client_of: Any
) -> None:
    webhook, _ = hook
    with pytest.raises(Missing):
        webhooks.ping(webhook, actor=Actor(stranger))
    developer = make_user("dev", organisation, "developer")
    with pytest.raises(Denied):
        webhooks.remove(webhook, actor=Actor(developer))
    for path in ("", "/ping", "/deliveries"):
        url = f"/api/v1/webhooks/{webhook.pk}{path}"
        send = stranger_api.post if path == "/ping" else stranger_api.get
        assert send(url).status_code == 404
    assert stranger_api.get("/api/v1/webhooks").json()["count"] == 0
    assert client_of(developer).get(f"/api/v1/webhooks/{webhook.pk}").status_code == 403
