"""What a trial asks of a runtime: requests that cannot hurt, answers that are bounded, and figures read right."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

import engines.trials as trials
from core.errors import Invalid, Missing
from engines.contract import EngineSettings
from engines.docker.trials import _memory
from engines.kubernetes.api import Api
from engines.kubernetes.kubeconfig import Access
from engines.kubernetes.trials import _killed
from engines.memory import MemoryEngine
from engines.trial_mep import instance_of
from engines.trials import Request
from tests.engines.test_kubernetes_access import kubeconfig

Serve = Callable[[bytes], int]


@pytest.fixture
def server() -> Iterator[Serve]:
    """A server that sends the same bytes to whoever connects, and hangs up; returns its port."""
    open_: list[socket.socket] = []

    def start(content: bytes) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        open_.append(listening)

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    peer.settimeout(5)
                    try:
                        peer.recv(4096)
                        peer.sendall(content)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        return int(listening.getsockname()[1])

    yield start
    for each in open_:
        each.close()


def ask(port: int, **facts: Any) -> dict[str, Any]:
    return trials.answer_of("127.0.0.1", port, Request(port, **facts))


def test_an_answer_is_told_with_its_status_and_size(server: Serve) -> None:
    told = ask(server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"))
    assert (told["connected"], told["status"], told["bytes"]) == (True, 404, 5)
    assert told["milliseconds"] >= 0


def test_a_redirect_is_an_answer_and_not_followed(server: Serve) -> None:
    told = ask(server(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"))
    assert told["status"] == 302


def test_an_endless_answer_is_read_to_a_limit(server: Serve) -> None:
    told = ask(server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (3 << 20)))
    assert trials.LARGEST_ANSWER <= told["bytes"] < trials.LARGEST_ANSWER + (64 << 10)


def test_who_takes_the_connection_and_speaks_no_http_is_told_apart(server: Serve) -> None:
    told = ask(server(b"SSH-2.0-OpenSSH_9.2\r\n"))
    assert told["connected"] is True
    assert "no HTTP" in told["problem"]
    assert ask(server(b""), scheme="tcp").keys() == {"connected", "milliseconds"}


def test_plain_text_behind_a_tls_port_is_a_problem(server: Serve) -> None:
    told = ask(server(b"HTTP/1.1 200 OK\r\n\r\n"), scheme="https")
    assert told["connected"] is True
    assert "no TLS" in told["problem"]


def test_a_closed_port_is_told(server: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    told = ask(port)
    assert (told["connected"], "refused" in told["problem"]) == (False, True)


@pytest.mark.parametrize(
    "raw",
    [
        {}, {"port": 0}, {"port": 65536}, {"port": True}, {"port": "80"}, {"port": 80, "path": "x"},
        {"port": 80, "path": "/a b"}, {"port": 80, "path": "/\r\nHost: x"}, {"port": 80, "path": "/" + "x" * 2000},
        {"port": 80, "timeout": 0}, {"port": 80, "timeout": float("nan")}, {"port": 80, "timeout": 31},
        {"port": 80, "scheme": "ftp"}, {"port": 80, "scheme": None},
    ],
)  # fmt: skip
def test_a_request_that_could_hurt_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Request.read(raw)


def test_what_runs_nothing_cannot_be_tried() -> None:
    engine = MemoryEngine(EngineSettings())
    with pytest.raises(Invalid, match="runs nothing"):
        trials.of(engine)
    engine.close()


@pytest.mark.parametrize(
    ("stats", "bytes_"),
    [
        ({"memory_stats": {"usage": 100, "stats": {"inactive_file": 30}}}, 70),
        ({"memory_stats": {"usage": 100, "stats": {"total_inactive_file": 40}}}, 60),
        ({"memory_stats": {}}, 0),
        ({}, 0),
    ],
)
def test_the_file_cache_is_nobodys_need(stats: dict[str, Any], bytes_: int) -> None:
    assert _memory(stats) == bytes_


def test_a_kill_is_read_from_the_state_before_too() -> None:
    pod = {
        "status": {
            "containerStatuses": [
                {"name": "a", "state": {"running": {}}, "lastState": {"terminated": {"reason": "OOMKilled"}}},
                {"name": "b", "state": {"terminated": {"reason": "Completed"}}},
            ]
        }
    }
    assert _killed(pod) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"hello", {"connected": True, "status": 200, "bytes": 5}),
        (404, b'{"kind": "Mine"}', {"connected": True, "status": 404, "bytes": 16}),
        (
            503,
            b'{"kind":"Status","apiVersion":"v1","message":"no endpoints available"}',
            {"connected": False, "problem": "no endpoints available"},
        ),
    ],
)
def test_the_api_server_is_told_apart_from_the_application(status: int, body: bytes, told: dict[str, Any]) -> None:
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.path)
        return httpx2.Response(status, stream=httpx2.ByteStream(body))

    api = Api(Access.read(kubeconfig()), httpx2.MockTransport(answer))
    assert api.through("trial-1", "web:80", "/x", 5.0) == told
    assert seen == ["/api/v1/namespaces/trial-1/services/web:80/proxy/x"]
    api.close()


def test_a_cluster_without_figures_says_so() -> None:
    api = Api(Access.read(kubeconfig()), httpx2.MockTransport(lambda _: httpx2.Response(404, json={"message": "no"})))
    with pytest.raises(Missing):
        api.metrics("trial-1")
    api.close()


def test_a_snapshot_of_any_shape_is_read() -> None:
    nothing = {"app": None, "services": [], "subscriptions": [], "dns_rules": [], "traffic_rules": [], "user_plane": {}}
    assert instance_of({}, "i-1") == nothing
    assert instance_of({"apps": 7, "services": [1, {"appInstanceId": "i-2"}], "user_plane": []}, "i-1") == nothing
