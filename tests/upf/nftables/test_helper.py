"""The helper's door: who may come in, and what is taken. Behind it stands a user plane in memory."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BreakwaterError, Invalid, Unavailable
from tests.contracts.upf import rule
from upf_adapter import create
from upf_adapter.contract import Refused
from upf_adapter.memory import MemoryUpf
from upf_adapter.nftables import wire
from upf_adapter.nftables.helper import Server, listen, options

Open = Callable[..., Path]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Open]:
    """Open a door for some users; a Server and its thread end with the test."""
    servers = []

    def make(users: set[int] | None = None) -> Path:
        path = tmp_path / "upf.sock"
        engine: Any = MemoryUpf()
        server = Server(engine, listen(path, os.geteuid()), {os.geteuid()} if users is None else users)
        thread = threading.Thread(target=server.serve)
        thread.start()
        servers.append((server, thread))
        return path

    yield make
    for server, thread in servers:
        server.stop()
        thread.join()
        server.close()


def said(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        found = b""
        # Who is not welcome finds the connection closed, at any of these steps.
        with suppress(ConnectionError, OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                found += part
        return found


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def test_only_the_owner_can_open_the_socket(door: Open) -> None:
    assert door().stat().st_mode & 0o777 == 0o600


def test_a_user_who_may_not_give_rules_is_not_answered(door: Open) -> None:
    path = door({os.geteuid() + 1})
    assert said(path, framed(b'{"op":"rules"}')) == b""


def test_a_user_who_may_is_answered(door: Open) -> None:
    assert said(door(), framed(b'{"op":"intact"}')) == framed(b'{"intact":true}')


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"op":"run","text":"flush ruleset"}',
        b'{"op":"put"}',
        b'{"op":"put","rule":{"id":""}}',
        b'{"op":"put","rule":{"id":"","filter_type":"FLOW","priority":1,"filters":[],"action":"DROP"}}',
        b'{"op":"replace","rules":[{"id":7}]}',
        b'{"op":"intact","shell":"sh"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_request_is_answered_with_the_reason_or_ended(door: Open, text: bytes) -> None:
    path = door()
    found = said(path, framed(text))
    if found:
        problem = wire.answer(found[4:]).problem
        assert problem
        assert problem["code"] == "invalid"
    assert said(path, framed(b'{"op":"intact"}')) == framed(b'{"intact":true}'), "the helper lives on"


def test_a_message_that_is_too_large_is_not_read(door: Open) -> None:
    path = door()
    assert said(path, b"\xff\xff\xff\xff" + b"x" * 1000) == b""
    assert said(path, framed(b'{"op":"intact"}'))


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_leave_the_helper_alive(door: Open, pieces: list[bytes]) -> None:
    path = getattr(door, "path", None) or door()
    door.path = path  # type: ignore[attr-defined]
    said(path, b"".join(framed(each) for each in pieces))
    said(path, b"".join(pieces))
    assert said(path, framed(b'{"op":"intact"}')) == framed(b'{"intact":true}')


def test_the_adapter_speaks_through_the_door(door: Open) -> None:
    adapter = create("nftables", {"socket": str(door())})
    wanted = rule()
    adapter.put(wanted)
    assert adapter.rules() == {wanted.id: wanted}
    assert adapter.intact()
    outcome = adapter.replace([wanted, rule("app/bad", "TELEPORT", destinations=())])
    assert outcome.in_force == {wanted.id}
    assert isinstance(outcome.problems["app/bad"], Invalid)
    adapter.delete(wanted.id)
    assert adapter.rules() == {}
    adapter.close()


def test_without_a_helper_the_user_plane_is_unavailable_and_a_wrong_rule_still_wrong(tmp_path: Path) -> None:
    adapter = create("nftables", {"socket": str(tmp_path / "none.sock")})
    with pytest.raises(Unavailable, match="helper"):
        adapter.replace([])
    with pytest.raises(Refused, match="FORWARD_DECAPSULATED"):
        adapter.check(rule(action="FORWARD_ENCAPSULATED"))


def test_an_error_travels_as_it_is() -> None:
    for problem in (
        Refused("no such thing", nearest="another"),
        Invalid("wrong", errors=[{"field": "x", "detail": "y"}]),
        Unavailable("away"),
    ):
        told: BreakwaterError = wire.as_error(problem.problem())
        assert (type(told), told.detail, told.context) == (type(problem), problem.detail, problem.context)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--interface", "ue0; flush ruleset"],
        ["--interface", "a-name-that-is-too-long"],
        ["--interface", "ue0", "--mark-mask", "0x5"],
        ["--interface", "ue0", "--mark-mask", "0"],
        ["--interface", "ue0", "--table", "x { }"],
        [],
    ],
)
def test_options_that_make_no_sense_end_the_start(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["--socket", "/nowhere", *wrong])
    assert "error" in capsys.readouterr().err
