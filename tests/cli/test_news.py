"""Waiting by a stream: look when the server says so, and now and then where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.cli.conftest import Terminal

SECRET = "bwk_" + "a" * 40


class Centre:
    """A centre with one operation, whose state is what the list says at each look."""

    def __init__(self, states: list[str], stream: Callable[[], httpx.Response]) -> None:
        self.states, self.stream, self.asked = states, stream, {"look": 0, "stream": 0}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/stream"):
            assert request.headers["Accept"] == "text/event-stream"
            self.asked["stream"] += 1
            return self.stream()
        state = self.states[min(self.asked["look"], len(self.states) - 1)]
        self.asked["look"] += 1
        body: dict[str, Any] = {"id": "1", "kind": "test", "state": state, "percent": 0, "note": "", "problem": None}
        return httpx.Response(200, json=body)


class Stream(httpx.SyncByteStream):
    """Parts of a body; one that is an error breaks the connection."""

    def __init__(self, parts: list[bytes | Exception]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part


def told(*parts: bytes | Exception) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(200, stream=Stream(list(parts)))


MESSAGE = b"data: " + json.dumps({"state": "running"}).encode() + b"\n\n"


def waited(tmp_path: Any, centre: Centre, *more: str) -> tuple[int, Terminal]:
    terminal = Terminal(
        {"XDG_CONFIG_HOME": str(tmp_path), "BREAKWATER_TOKEN": SECRET, "BREAKWATER_SERVER": "http://127.0.0.1:1"},
        httpx.MockTransport(centre),
    )
    return terminal("operations", "wait", "1", *more).code, terminal


def test_each_message_is_a_look_and_nobody_sleeps(tmp_path: Any) -> None:
    centre = Centre(["pending", "running", "running", "succeeded"], told(b"retry: 2000\n\n", MESSAGE, MESSAGE, MESSAGE))
    code, terminal = waited(tmp_path, centre)
    assert (code, terminal.slept, centre.asked) == (0, [], {"look": 4, "stream": 1})


def test_the_exit_code_is_that_of_the_work(tmp_path: Any) -> None:
    assert waited(tmp_path, Centre(["running", "failed"], told(MESSAGE)))[0] == 1


def test_a_server_without_streams_is_asked_now_and_then(tmp_path: Any) -> None:
    centre = Centre(["running"] * 5 + ["succeeded"], lambda: httpx.Response(501))
    code, terminal = waited(tmp_path, centre)
    assert (code, centre.asked) == (0, {"look": 6, "stream": 1})
    assert len(terminal.slept) == 5


def test_a_stream_that_breaks_is_asked_again_after_a_while(tmp_path: Any) -> None:
    centre = Centre(["running"] * 40 + ["succeeded"], told(MESSAGE, httpx.ReadError("cut")))
    code, terminal = waited(tmp_path, centre)
    assert code == 0
    assert 2 <= centre.asked["stream"] <= 4
    assert sum(terminal.slept) >= 30


def test_a_stream_that_says_nothing_is_given_up(tmp_path: Any) -> None:
    centre = Centre(["running"] * 30 + ["succeeded"], told(b"retry: 2000\n\n", httpx.ReadTimeout("silence")))
    assert waited(tmp_path, centre)[0] == 0
    assert centre.asked["stream"] == 1


def test_the_time_limit_holds_with_and_without_a_stream(tmp_path: Any) -> None:
    for stream in (told(*[MESSAGE] * 3), lambda: httpx.Response(501)):
        code, terminal = waited(tmp_path, Centre(["running"], stream), "--timeout", "45")
        assert code == 3
        assert terminal.now <= 46
    centre = Centre(["running"], told(MESSAGE))
    assert waited(tmp_path, centre, "--timeout", "5")[0] == 3
    assert centre.asked["stream"] == 0, "a stream could hold on for longer than there is time"
