"""One notification over HTTP: to the judged address, over kept connections, and unimpressed by what comes back."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mep.mp1 import sender, tls
from mep.mp1.outbox import Letter
from mep.mp1.sender import LONGEST_BODY, Answer, Nonsense, Sender

BODY = b'{"notificationType":"TestNotification"}'
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Subscriber:
    """Counts connections and requests, and answers each request with `answers`."""

    def __init__(self, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n", *, hang_up_after: int = 0) -> None:
        self.answer, self.hang_up_after = answer, hang_up_after
        self.connections = 0
        self.requests: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head + await reader.readexactly(len(BODY)))
                writer.write(self.answer)
                served += 1
                if served == self.hang_up_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def send(subscriber: Subscriber, times: int = 1, *, host: str = "127.0.0.1", **server: Any) -> list[str]:
    """Send so many letters one after the other and return what went wrong with each."""

    async def main() -> list[str]:
        secure = "ssl" in server
        authority = server.pop("authority", None)
        listening = await asyncio.start_server(subscriber.talk, "127.0.0.1", 0, **server)
        url = f"http{'s' if secure else ''}://{host}:{listening.sockets[0].getsockname()[1]}/hear"
        post = Sender(authority)
        try:
            return [await post.send(Letter(1, "tag-1", "s", url, BODY)) for _ in range(times)]
        finally:
            post.close()
            listening.close()

    return asyncio.run(main())


def test_a_request_says_who_is_meant_and_carries_the_tag() -> None:
    subscriber = Subscriber()
    assert send(subscriber) == [""]
    head, _, body = subscriber.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hear HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Notification-Id: tag-1" in head
    assert body == BODY


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n",
    ],
    ids=["no body", "a body", "an interim answer"],
)
def test_a_connection_serves_many_notifications(answer: bytes) -> None:
    subscriber = Subscriber(answer)
    assert send(subscriber, 5) == [""] * 5
    assert subscriber.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99999,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 smuggled\r\n\r\n",
    ],
    ids=["close", "1.0", "chunked", "until the end", "large", "two lengths", "too much"],
)
def test_a_connection_that_cannot_be_trusted_to_be_clean_is_not_used_again(answer: bytes) -> None:
    subscriber = Subscriber(answer)
    assert send(subscriber, 3) == [""] * 3, "the answer was a success all the same"
    assert subscriber.connections == 3


def test_a_connection_that_was_closed_meanwhile_costs_nothing() -> None:
    subscriber = Subscriber(hang_up_after=1)
    assert send(subscriber, 4) == [""] * 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", "answered 302"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP"),
        (b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "longer than"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "interim answers only"),
        (b"", "no answer within"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_answer_that_is_no_success_says_what_it_was(answer: bytes, words: str, settings: Any) -> None:
    settings.CALLBACK_TIMEOUT = 0.3
    (why,) = send(Subscriber(answer))
    assert words in why
    assert "OpenSSH" not in why, "nothing of what a stranger sends is repeated"


def test_a_body_that_never_ends_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LONGEST_WAIT", 0.1)
    assert send(Subscriber(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"), 2) == ["", ""]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_nonsense(head: bytes) -> None:
    try:
        answer = Answer.read(head)
    except Nonsense:
        return
    assert 100 <= answer.status <= 599
    assert answer.length is None or 0 <= answer.length <= LONGEST_BODY


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_verified_for_the_name_of_the_callback(trusted: bool) -> None:
    files = tls.ensure()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    authority = tls.ca_pem() if trusted else None
    (why,) = send(Subscriber(), host="localhost", ssl=server, authority=authority)
    assert why == "" if trusted else "CERTIFICATE_VERIFY_FAILED" in why


def test_a_certificate_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = tls.ensure()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain, files.key)
    point_at(monkeypatch, "127.0.0.1")
    (why,) = send(Subscriber(), host="other.example", ssl=server, authority=tls.ca_pem())
    assert "CERTIFICATE_VERIFY_FAILED" in why


def point_at(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let a name server say these, one after the other; returns the names that were asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return real(host, port, *args, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[min(len(asked), len(addresses)) - 1], port))]

    monkeypatch.setattr(sender.callbacks.socket, "getaddrinfo", answer)
    return asked


def test_a_name_that_changes_its_mind_is_judged_by_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    asked = point_at(monkeypatch, "127.0.0.1", "169.254.169.254")
    subscriber = Subscriber(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    first, second = send(subscriber, 2, host="rebinding.example")
    assert first == ""
    assert "169.254.169.254" in second
    assert len(asked) == 2, "once per connection"
    settings.CALLBACK_NETWORKS = (ipaddress.ip_network("10.0.0.0/8"),)
    (third,) = send(subscriber)
    assert "may not be sent to 127.0.0.1" in third
    assert subscriber.connections == 1


def test_a_mapped_address_is_judged_as_the_one_it_means(settings: Any, tmp_path: Path) -> None:
    settings.CALLBACK_NETWORKS = (ipaddress.ip_network("::/0"), ipaddress.ip_network("127.0.0.1/32"))
    (why,) = send(Subscriber(), host="[::ffff:10.9.9.9]")
    assert "may not be sent to 10.9.9.9" in why
