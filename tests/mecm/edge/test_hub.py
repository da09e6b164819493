"""The hub as an ASGI server meets it: who gets in, what is said, when it hangs up."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from core import frames
from mecm.edge import connection, services
from mecm.edge.hub import PATH, Admission, Hub, application, hub
from mecm.edge.models import NodeSync
from mecm.nodes.models import Node
from tests.mecm.edge.conftest import Machine, join

pytestmark = pytest.mark.usefixtures("threads_db")


class Talk:
    """One WebSocket, played frame by frame."""

    def __init__(self, machine: Machine | None, path: str = PATH, pace: float = 0.0, **headers: str) -> None:
        self.pace = pace
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if machine is not None:
            headers.setdefault("authorization", machine.authorization())
        self.machine = machine
        scope = {
            "type": "websocket",
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "extensions": {"websocket.http.response": {}},
        }
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(application(scope, self.inbox.get, self._take))

    async def _take(self, event: dict[str, Any]) -> None:
        """Take what the server sends, as slowly as a thin wire would."""
        await asyncio.sleep(self.pace)
        await self.outbox.put(event)

    async def heard(self, within: float = 30) -> dict[str, Any]:
        """Return the next event of the server; frames are decoded."""
        event = await asyncio.wait_for(self.outbox.get(), within)
        data = event.get("text") or event.get("bytes")
        return frames.decode(data) if data else event

    async def until(self, kind: str) -> dict[str, Any]:
        while (event := await self.heard())["type"] != kind:
            assert event["type"] != "websocket.close", event
        return event

    def say(self, kind: str, **members: Any) -> None:
        self.raw(frames.encode({"type": kind, **members}))

    def raw(self, data: str | bytes) -> None:
        key = "text" if isinstance(data, str) else "bytes"
        self.inbox.put_nowait({"type": "websocket.receive", key: data})

    def hello(self, **changes: Any) -> None:
        facts = {"proto": 1, "node": self.machine.node_id if self.machine else "", "epoch": "", "last_rev": 0}
        self.say("HELLO", **{**facts, "outbox": "store-1", **changes})

    async def linked(self) -> dict[str, Any]:
        assert (await self.heard())["type"] == "websocket.accept"
        self.hello()
        return await self.until("WELCOME")

    async def end(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.task, 60)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        try:
            await scene()
        finally:
            hub().close()

    asyncio.run(whole())


def in_thread(work: Callable[..., Any], *args: Any, **options: Any) -> Awaitable[Any]:
    def alone() -> Any:
        try:
            return work(*args, **options)
        finally:
            connections.close_all()

    return sync_to_async(alone, thread_sensitive=False)()


async def refusal(talk: Talk) -> tuple[int, dict[str, Any]]:
    start = await talk.heard()
    body = await talk.outbox.get()
    await talk.task
    assert start["type"] == "websocket.http.response.start"
    return start["status"], json.loads(body["body"])


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"authorization": ""}, PATH, 401),
        ({"authorization": "Bearer nonsense"}, PATH, 401),
        ({"origin": "https://evil.example"}, PATH, 400),
        ({}, "/api/v1/edge/other", 404),
    ],
)
def test_who_is_no_node_does_not_get_in(machine: Machine, headers: dict[str, str], path: str, status: int) -> None:
    async def scene() -> None:
        code, problem = await refusal(Talk(machine, path, **headers))
        assert (code, problem["status"]) == (status, status)

    play(scene)


def test_when_all_nodes_come_at_once_some_are_told_to_come_back(machine: Machine) -> None:
    async def scene() -> None:
        hub().admission = Admission(rate=0, burst=1)
        first = Talk(machine)
        assert (await first.heard())["type"] == "websocket.accept"
        assert (await refusal(Talk(machine)))[0] == 429
        await first.end()

    play(scene)


def test_admission_is_a_bucket_that_fills_again() -> None:
    gate = Admission(rate=10, burst=2)
    start = gate.at
    assert [gate.admit(start) for _ in range(3)] == [True, True, False]
    assert gate.admit(start + 0.11)
    assert not gate.admit(start + 0.1)
    assert [gate.admit(start + 60) for _ in range(3)] == [True, True, False]


def test_a_wish_travels_and_its_acknowledgement_is_kept(machine: Machine, node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={"n": 1})

    async def scene() -> None:
        talk = Talk(machine)
        welcome = await talk.linked()
        assert (welcome["mode"], welcome["server_rev"]) == ("snapshot", 1)
        put = await talk.until("PUT")
        assert [(each["key"], each["rev"], each["spec"]) for each in put["objs"]] == [("a", 1, {"n": 1})]
        assert (await talk.until("END"))["rev"] == 1
        talk.say("ACK", rev=1)
        await in_thread(services.put, node, "app", "b", generation=1, spec={"text": "x" * 9000})
        put = await talk.until("PUT")
        assert [each["key"] for each in put["objs"]] == ["b"]
        talk.say("ACK", rev=2)
        talk.say("REPORT", seq=7, items=[{"seq": 7, "kind": "x", "key": "a", "observed_generation": 1, "status": {}}])
        assert (await talk.until("RACK"))["seq"] == 7
        await talk.end()

    play(scene)
    sync = NodeSync.objects.get(node=node)
    assert (sync.acked_rev, sync.last_seq, sync.hub) == (2, 7, "")
    node.refresh_from_db()
    assert node.state == "online"


def test_a_snapshot_that_begins_anew_is_never_ended_by_the_end_of_the_one_before(machine: Machine, node: Node) -> None:
    """Two digests under way at once: an END that was decided before the second SNAPSHOT would empty the node."""
    services.put(node, "app", "a", generation=1, spec={"n": 1})

    async def scene() -> None:
        talk = Talk(machine, pace=0.03)
        await talk.linked()
        await talk.until("END")
        talk.say("ACK", rev=1)
        talk.say("DIGEST", rev=1, digest="another")
        talk.say("DIGEST", rev=1, digest="another")
        told: set[str] = set()
        begun = 0
        while True:
            event = await talk.heard()
            match event["type"]:
                case "SNAPSHOT":
                    begun, told = event.get("n"), set()
                case "PUT":
                    told |= {each["key"] for each in event["objs"]}
                case "END":
                    assert told == {"a"}
                    if event.get("n") == begun:
                        break
        # What was said before the node heard of the snapshot is not judged again.
        talk.say("DIGEST", rev=1, digest="another", n=begun - 1)
        talk.say("REPORT", seq=1, items=[])
        while (event := await talk.heard())["type"] != "RACK":
            assert event["type"] != "SNAPSHOT"
        await talk.end()

    play(scene)


def test_a_large_frame_is_zipped(machine: Machine, node: Node) -> None:
    services.put(node, "app", "a", generation=1, spec={"text": "x" * 50_000})

    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        event = await talk.outbox.get()
        assert len(event["bytes"]) < 2000
        assert frames.decode(event["bytes"])["objs"][0]["spec"]["text"] == "x" * 50_000
        await talk.end()

    play(scene)


@pytest.mark.parametrize(
    "first",
    [
        "no json",
        "[1]",
        '{"type": "ACK", "rev": 0}',
        '{"type": "HELLO", "proto": 99}',
        '{"type": "HELLO", "proto": 1, "node": "somebody-else"}',
        b"\x00\x01",
        "x" * (frames.WIRE_BYTES + 1),
    ],
    ids=["words", "list", "too early", "other protocol", "other node", "bytes", "too large"],
)
def test_a_connection_that_begins_wrongly_is_closed(machine: Machine, first: Any) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.heard()
        talk.raw(first)
        closed = await talk.heard()
        assert closed["type"] == "websocket.close"
        assert closed["code"] in (4400, 4403)
        await talk.task

    play(scene)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "ACK", "rev": 99},
        {"type": "ACK", "rev": "1"},
        {"type": "ACK"},
        {"type": "REPORT", "seq": 1, "items": 7},
        {"type": "REPORT", "seq": -1, "items": []},
        {"type": "DIGEST", "rev": None},
    ],
)
def test_a_frame_that_is_not_possible_ends_the_connection(machine: Machine, frame: dict[str, Any]) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        talk.raw(json.dumps(frame))
        while (event := await talk.heard())["type"] != "websocket.close":
            pass
        assert event["code"] == 4400
        await talk.task

    play(scene)


def test_a_frame_of_a_later_protocol_is_passed_over(machine: Machine) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        talk.say("TELEPATHY", thought=1)
        talk.say("REPORT", seq=1, items=[])
        await talk.until("RACK")
        await talk.end()

    play(scene)


def test_a_node_that_talks_all_the_time_hears_of_the_centre_too(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT", 1.5)

    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()

        async def chatter() -> None:
            while True:
                talk.say("LATER")
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(chatter())
        assert (await asyncio.wait_for(talk.until("HB"), 30))["type"] == "HB"
        talking.cancel()
        await talk.end()

    play(scene)


def test_a_gzip_bomb_is_not_unpacked(machine: Machine) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.heard()
        talk.raw(gzip.compress(b'{"type": "HELLO", "x": "' + b"0" * (frames.UNPACKED_BYTES + 1) + b'"}'))
        assert (await talk.heard())["code"] == 4400
        await talk.task

    play(scene)


def test_a_node_that_connects_again_takes_over_from_its_old_connection(machine: Machine, node: Node) -> None:
    async def scene() -> None:
        old = Talk(machine)
        await old.linked()
        new = Talk(machine)
        await new.linked()
        closed = await _closed(old)
        assert closed["code"] == 4409
        assert list(hub().connections) == [node.pk]
        assert (await in_thread(NodeSync.objects.get, node=node)).hub == hub().name
        await new.end()
        assert hub().connections == {}

    play(scene)


async def _closed(talk: Talk) -> dict[str, Any]:
    while (event := await talk.heard())["type"] != "websocket.close":
        pass
    return event


def test_a_revoked_node_is_hung_up_on(machine: Machine, node: Node, actor: Any) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        await in_thread(services.revoke, node, actor=actor)
        assert (await _closed(talk))["code"] == 4403
        await talk.task

    play(scene)


def test_a_node_that_was_deleted_is_hung_up_on(machine: Machine, node: Node) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        await in_thread(node.delete)
        assert (await _closed(talk))["code"] == 4403
        await talk.task

    play(scene)


def test_a_node_that_was_deleted_as_it_speaks_is_told_so_at_once(machine: Machine, node: Node) -> None:
    async def scene() -> None:
        talk = Talk(machine)
        await talk.linked()
        hub().connections.clear()  # the watcher does not see it, so only its own next word can
        await in_thread(node.delete)
        talk.say("ACK", rev=0)
        talk.say("REPORT", seq=1, items=[])
        talk.say("DIGEST", rev=0, digest="")
        assert (await _closed(talk))["code"] == 4403
        await talk.task

    play(scene)


def test_one_watcher_serves_all_connections_and_ends_with_the_last(
    machine: Machine, node: Node, other_node: Node, actor: Any
) -> None:
    second = join(other_node, actor)

    async def scene() -> None:
        before = len(asyncio.all_tasks())
        talks = [Talk(machine), Talk(second)]
        for talk in talks:
            await talk.linked()
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert names.count("edge-watcher") == 1
        for talk in talks:
            await talk.end()
        for _ in range(3000):
            if len(asyncio.all_tasks()) == before:
                break
            await asyncio.sleep(0.02)
        assert len(asyncio.all_tasks()) == before

    play(scene)


def test_a_hub_belongs_to_its_loop() -> None:
    async def scene() -> None:
        assert isinstance(hub(), Hub)
        assert hub() is hub()

    play(scene)
