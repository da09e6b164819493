"""What the protocol answers by itself is what the application would have answered through it, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mep.mp1 import server, throttle
from tests.mep.conftest import Mp1, service
from tests.mep.serving import Serving
from tests.waiting import until

SERVICES = b"/mec_service_mgmt/v1/services"


class Plain(server.Patient, HttpToolsProtocol):
    """The same protocol without answers of its own."""


class Nodes:
    """Two servers of one MEP: with and without answers of the protocol."""

    def __init__(self, settings: Any) -> None:
        self.at_once, self.plain = Serving(), Serving(http=Plain)
        #: What the first one answered from its protocol.
        self.said = 0
        ask = self.at_once.mep.at_once

        def counted(scope: Any) -> Any:
            found = ask(scope)
            self.said += found is not None
            return found

        self.at_once.mep.at_once = counted  # type: ignore[method-assign]

    def both(self, content: bytes) -> bytes:
        """Send the same bytes to both and return what both answer until the connection ends."""
        first, second = (self.talk(node, content) for node in (self.at_once, self.plain))
        assert first == second
        return first

    def talk(self, node: Serving, content: bytes) -> bytes:
        with node.connect() as line:
            line.sendall(content)
            answer = b""
            while part := line.recv(1 << 20):
                answer += part
            assert answer
        answer = answer.replace(str(node.port).encode(), b"PORT")
        return re.sub(rb"date: [^\r]+\r\n", b"date: now\r\n", answer)


@pytest.fixture
def nodes(transactional_db: None, settings: Any) -> Iterator[Nodes]:
    throttle.apps.configure(0, 1)
    made = Nodes(settings)
    with made.at_once, made.plain:
        yield made


def request(
    token: str,
    query: bytes = b"",
    *lines: bytes,
    method: bytes = b"GET",
    path: bytes = SERVICES,
    version: bytes = b"1.1",
) -> bytes:
    head = [
        b"%b %b%b HTTP/%b" % (method, path, query, version), b"Host: mep:8443",
        b"Authorization: Bearer " + token.encode(), *lines,
    ]  # fmt: skip
    return b"\r\n".join(head) + b"\r\n\r\n"


def last(token: str) -> bytes:
    """A request that ends its connection."""
    return request(token, b"", b"Connection: close", path=b"/mec_service_mgmt/v1/transports")


def test_answers_are_the_same_and_most_are_given_at_once(nodes: Nodes, app: Mp1) -> None:
    app.register(serName="a")
    end = last(app.token)
    cases: list[tuple[bytes, bytes, int]] = [
        (request(app.token), b"200", 1),
        (request(app.token, b"?ser_name=a"), b"200", 1),
        (request(app.token, b"?ser_name=a#f"), b"200", 1),
        (request(app.token, b"", b"If-None-Match: *"), b"304", 1),
        (request(app.token, path=b"/mep" + SERVICES), b"200", 1),
        (request(app.token, path=b"/mec_service_mgmt/v1/serv%69ces"), b"200", 0),
        (request(app.token, b"?ser_name=%ff"), b"400", 0),
        (request(app.token, b"?color=red"), b"400", 0),
        (request("nonsense"), b"401", 0),
        (request(app.token, method=b"HEAD"), b"200", 0),
        (request(app.token, method=b"DELETE"), b"405", 0),
        (request(app.token, b"", b"Expect: 100-continue"), b"200", 0),
        (request(app.token, b"", b"Upgrade: h2c"), b"200", 1),
        (request(app.token, b"", b"Content-Length: 5") + b"hello", b"200", 1),
        (request(app.token, b"", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", b"200", 1),
        (request(app.token, b"", *[b"a: b"] * 200), b"431", 0),
        (request(app.token, version=b"1.0"), b"200", 0),
        (request(app.token, b"", b"Connection: close"), b"200", 0),
    ]
    for content, status, at_once in cases:
        before = nodes.said
        answer = nodes.both(content + end)
        assert answer.startswith(b"HTTP/1.1 " + status), (content, answer[:200])
        assert nodes.said - before == at_once, content


def test_many_requests_at_once_are_answered_in_order(nodes: Nodes, app: Mp1) -> None:
    for name in "abc":
        app.register(serName=name)
    slow = request(app.token, path=b"/mec_service_mgmt/v1/applications/app-1/services")
    quick = [request(app.token, b"?ser_name=%c" % name) for name in b"abc"]
    answer = nodes.both(b"".join([*quick, slow, *quick, slow, quick[0], last(app.token)]))
    names = re.findall(rb'"serName":"(.)"', answer)
    assert b"".join(names) == b"abc" * 4 + b"a"
    assert answer.count(b"HTTP/1.1 200") == 10


def test_a_large_answer_comes_whole_and_is_counted_once(nodes: Nodes, app: Mp1) -> None:
    for name in "ab":
        app.register(
            serName=name,
            transportInfo={**service()["transportInfo"], "endpoint": {"uris": ["http://x/" + "x" * 300_000]}},
        )
    throttle.apps.configure(0.001, 4)
    answer = nodes.both(request(app.token) + last(app.token))
    assert len(answer) > 600_000
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"HTTP/1.1 429" in nodes.talk(nodes.plain, last(app.token)), "two requests of two each"


def test_a_client_that_sends_and_never_reads_is_not_answered_into_memory(
    nodes: Nodes, app: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_PATIENCE", 0.2)
    app.register(transportInfo={**service()["transportInfo"], "endpoint": {"uris": ["http://x/" + "x" * 200_000]}})
    with nodes.at_once.connect() as line:
        for _ in range(1000):
            line.sendall(request(app.token))
        until(lambda: not nodes.at_once.connections(), what="the end of the connection")
    assert 0 < nodes.said < 100, "answers of 200 kB each"


def test_a_connection_that_rests_is_ended_and_one_that_goes_on_is_not(
    nodes: Nodes, app: Mp1, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_PATIENCE", 0.1)
    with nodes.at_once.connect() as line, nodes.at_once.connect() as other:
        line.sendall(request(app.token))
        assert line.recv(12) == b"HTTP/1.1 200"
        other.recv(1)  # told off: the patience with a head is over, but this one had said all
        line.sendall(request(app.token))
        seen = b""
        while b"HTTP/1.1 200" not in seen:
            seen += line.recv(65536)
        assert b"408" not in seen


def test_a_connection_too_many_is_not_answered_at_once_either(nodes: Nodes, app: Mp1, settings: Any) -> None:
    settings.MAX_CONNECTIONS = 1
    with nodes.at_once.connect() as first, nodes.at_once.connect() as second:
        for line in (second, first):
            line.sendall(request(app.token, b"", b"Accept: x"))
        assert second.recv(12) == b"HTTP/1.1 503"
        assert first.recv(12) == b"HTTP/1.1 200"
