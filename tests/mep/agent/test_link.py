"""The agent's end of the WebSocket, against a small centre that a test directs frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from websockets.asyncio.server import ServerConnection, serve

from core import frames
from mep.agent import identity, store
from mep.agent.link import Link
from tests import databases
from tests.mep.agent.conftest import frame
from tests.mep.agent.test_identity import Centre
from tests.waiting import until

Script = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


class Line:
    """A link in a thread of its own, and the server that it dials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hellos: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.woken: list[tuple[str, str]] = []
        self.script: Script = self.silence
        self.link = Link(folder, wake=self.woken.append, caps=["app"], heartbeat=5.0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self, script: Script) -> None:
        self.script = script
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self.link.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def silence(self, socket: ServerConnection, hello: dict[str, Any]) -> None:
        await asyncio.Future()

    async def _run(self) -> None:
        async with serve(self._serve, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            centre = Centre()
            made = identity.enrol(centre.join(), self.folder, centre.transport())
            fields = {**made.__dict__, "sync_url": f"ws://127.0.0.1:{port}/api/v1/edge/sync"}
            fields.pop("certificate", None)
            identity.save(self.folder, identity.Identity(**fields))
            self._ready.set()
            await self.link.run()

    async def _serve(self, socket: ServerConnection) -> None:
        self.headers.append(socket.request.headers if socket.request else None)
        hello = frames.decode(await socket.recv())
        self.hellos.append(hello)
        with contextlib.suppress(Exception):
            await self.script(socket, hello)


@pytest.fixture
def line(tmp_path: Path, settings: Any, transactional_db: None) -> Iterator[Line]:
    settings.VAR = tmp_path
    made = Line(tmp_path / "identity")
    yield made
    made.stop()


async def say(socket: ServerConnection, kind: str, **members: Any) -> None:
    await socket.send(frames.encode({"type": kind, **members}))


async def hear(socket: ServerConnection, kind: str) -> dict[str, Any]:
    while True:
        heard = frames.decode(await socket.recv())
        if heard["type"] == kind:
            return heard


def rows(question: str) -> list[Any]:
    """Look at the database as another process would: only what is committed."""
    return databases.look(str(connection.settings_dict["NAME"]), question)


def test_what_is_acknowledged_is_on_the_disk_already(line: Line) -> None:
    seen: list[Any] = []

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await say(socket, "WELCOME", epoch="e1", mode="snapshot", server_rev=2)
        objs = [frame("app", "a", 1, 1, {"n": 1}), frame("app", "b", 2, 1, {})]
        await say(socket, "PUT", objs=objs)
        ack = await hear(socket, "ACK")
        seen.append((ack["rev"], rows("SELECT key, rev FROM agent_desired ORDER BY rev")))
        await say(socket, "END", rev=2)
        ack = await hear(socket, "ACK")
        seen.append((ack["rev"], rows("SELECT value FROM agent_kv WHERE name = 'epoch'")))
        await socket.wait_closed()

    line.start(script)
    until(lambda: len(seen) == 2)
    assert seen == [(2, [("a", 1), ("b", 2)]), (2, [('"e1"',)])]
    assert line.woken == [("app", "a"), ("app", "b")]


def test_the_end_of_an_older_snapshot_takes_nothing_away(line: Line) -> None:
    seen: list[Any] = []
    objs = [frame("app", "a", 1, 1, {"n": 1})]

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await say(socket, "WELCOME", epoch="e1", mode="snapshot", server_rev=1)
        await say(socket, "PUT", objs=objs)
        await say(socket, "END", rev=1, n=0)
        await say(socket, "SNAPSHOT", server_rev=1, n=1)
        await say(socket, "SNAPSHOT", server_rev=1, n=2)
        await say(socket, "END", rev=1, n=1)
        await say(socket, "PUT", objs=objs)
        await say(socket, "END", rev=1, n=2)
        while (await hear(socket, "DIGEST"))["n"] != 2:
            pass
        seen.append(rows("SELECT key, deleted FROM agent_desired"))
        await socket.wait_closed()

    line.start(script)
    until(lambda: seen)
    assert seen == [[("a", 0)]]


def test_the_agent_comes_back_and_says_where_it_stopped(line: Line) -> None:
    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        if len(line.hellos) == 1:
            await say(socket, "WELCOME", epoch="e1", mode="snapshot", server_rev=0)
            await say(socket, "PUT", objs=[frame("app", "a", 4, 1, {})])
            await say(socket, "END", rev=5)
            await hear(socket, "DIGEST")
            await socket.close()

    line.start(script)
    until(lambda: len(line.hellos) >= 2)
    again = line.hellos[1]
    assert (again["epoch"], again["last_rev"]) == ("e1", 5)
    assert again["digest"] == frames.store_digest([("app", "a", 4)])
    assert again["boot_id"] == line.hellos[0]["boot_id"]
    assert line.headers[0]["Authorization"].startswith("Bearer ")
    assert "Sec-WebSocket-Extensions" not in line.headers[0]


def test_how_the_link_stands_is_written_down_for_people_at_the_node(line: Line) -> None:
    seen: list[dict[str, Any]] = []

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        if len(line.hellos) == 1:
            await say(socket, "WELCOME", epoch="e1", mode="delta", server_rev=0)
            await hear(socket, "DIGEST")
            seen.append(_link())
            await socket.close(reason="for the night")
        else:
            seen.append(_link())

    line.start(script)
    until(lambda: len(seen) >= 2)
    assert seen[0]["state"] == "connected"
    cut = seen[1]
    assert (cut["state"], cut["why"]) == ("cut-off", "the centre hung up (for the night)")
    assert cut["since"] >= seen[0]["since"]


def _link() -> dict[str, Any]:
    return dict(json.loads(rows("SELECT value FROM agent_kv WHERE name = 'link'")[0][0]))


def test_reports_are_sent_until_the_centre_says_that_it_has_them(line: Line) -> None:
    heard: list[dict[str, Any]] = []

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await say(socket, "WELCOME", epoch="", mode="delta", server_rev=0)
        report = await hear(socket, "REPORT")
        heard.append(report)
        if len(line.hellos) == 1:
            await socket.close()
            return
        await say(socket, "RACK", seq=report["seq"])
        await socket.wait_closed()

    store.post("app", "a", 1, {"state": "ready"})
    line.start(script)
    until(lambda: len(heard) == 2)
    assert heard[0]["items"] == heard[1]["items"]
    assert heard[0]["items"][0]["status"] == {"state": "ready"}
    until(lambda: rows("SELECT 1 FROM agent_outbox") == [])
    assert line.hellos[0]["outbox"] == line.hellos[1]["outbox"]


def test_a_report_that_comes_up_while_linked_is_sent_at_once(line: Line) -> None:
    heard: list[dict[str, Any]] = []

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await say(socket, "WELCOME", epoch="", mode="delta", server_rev=0)
        while True:
            report = await hear(socket, "REPORT")
            heard.append(report)
            await say(socket, "RACK", seq=report["seq"])

    line.start(script)
    until(lambda: line.link.connected)
    store.post("app", "a", 1, {"state": "ready"})
    line.link.poke()
    until(lambda: len(heard) == 1, 2)


def test_a_put_that_is_not_as_its_digest_says_is_not_acknowledged(line: Line) -> None:
    acks: list[Any] = []

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await say(socket, "WELCOME", epoch="", mode="delta", server_rev=0)
        await say(socket, "PUT", objs=[{**frame("app", "a", 1, 1, {"n": 1}), "spec": {"n": 2}}])
        acks.append(await hear(socket, "ACK"))

    line.start(script)
    until(lambda: len(line.hellos) >= 2)
    assert acks == []
    assert rows("SELECT 1 FROM agent_desired") == []


@pytest.mark.parametrize("rubbish", ["no json", "[]", '{"type": 7}', b"\x1f\x8bnot gzip", '{"type": "BYE"}'])
def test_rubbish_instead_of_a_welcome_is_survived(line: Line, rubbish: Any) -> None:
    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await socket.send(rubbish)
        await socket.wait_closed()

    line.start(script)
    until(lambda: len(line.hellos) >= 2)
