"""One connection of one node: the frames of the sync protocol, in both directions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from core import frames
from core.errors import BreakwaterError
from mecm.edge import reports, stream
from mecm.edge.identity import Speaker

if TYPE_CHECKING:
    from mecm.edge.hub import Hub

HEARTBEAT = 15.0
#: The first frame must come within this time.
HELLO_WITHIN = 10.0
#: PUTs that may be on their way without an ACK.
IN_FLIGHT = 8
REPORT_ITEMS = 500


class Closed(Exception):
    """The connection ends with a code (RFC 6455, 7.4; 4000 and above are ours) and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Connection:
    """Talks to one node until either side is gone."""

    def __init__(
        self,
        hub: Hub,
        spoke: Speaker,
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.hub, self.node, self.serial = hub, spoke.node, spoke.serial
        self.node_id = spoke.node.pk
        self._receive, self._send = receive, send
        self._sending = asyncio.Lock()
        self._more = asyncio.Event()
        self._acked = asyncio.Event()
        self._ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        # The stream is numbered: a snapshot that begins anew must not be ended by the END of the one before.
        self._sent, self._snapshot, self._stream_number = 0, False, 0
        self._highest = 0
        self._unacked: list[int] = []
        self._outbox, self.greeted = "", False
        self._heard = self._spoke = time.monotonic()

    async def greet(self) -> None:
        """Take the HELLO, answer WELCOME, and know where the stream goes on."""
        try:
            frame = await asyncio.wait_for(self._next(), HELLO_WITHIN)
        except TimeoutError:
            raise Closed(4408, "no HELLO came") from None
        if frame["type"] != "HELLO" or frame.get("proto") != frames.PROTOCOL:
            raise Closed(4400, f"the first frame must be HELLO of protocol {frames.PROTOCOL}")
        if frame.get("node") != str(self.node_id):
            raise Closed(4403, "the certificate is of another node")
        hello = stream.read_hello(frame)
        welcome = await self.hub.ask(stream.welcome, self.node, hello, self.hub.name)
        self._outbox = hello.outbox
        self._snapshot, self._sent = welcome.snapshot, 0 if welcome.snapshot else hello.last_rev
        self._highest = self._sent
        await self._tell(
            "WELCOME",
            epoch=welcome.epoch,
            mode="snapshot" if welcome.snapshot else "delta",
            server_rev=welcome.server_rev,
            heartbeat_s=HEARTBEAT,
        )
        self.greeted = True
        self._more.set()

    async def run(self) -> None:
        """Serve both directions; raises `Closed`."""
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(way()) for way in (self._listen, self._stream, self._beat)
        ]
        try:
            parts: list[asyncio.Future[Any]] = [*tasks, self._ended]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if self._ended in done:
                raise self._ended.result()
            for part in done:
                part.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self, rev: int) -> None:
        """Look for changes when `rev` is not on its way yet."""
        if rev > self._sent:
            self._more.set()

    def close(self, code: int, reason: str) -> None:
        """End the connection soon."""
        if not self._ended.done():
            self._ended.set_result(Closed(code, reason))

    async def _listen(self) -> None:
        while True:
            frame = await self._next()
            self._heard = time.monotonic()
            self.hub.alive(self.node_id)
            match frame["type"]:
                case "ACK":
                    await self._ack(_number(frame, "rev"))
                case "REPORT":
                    await self._report(frame)
                case "DIGEST":
                    await self._compare(frame)
                case "HB":
                    pass
                # A frame of a later protocol is passed over, so that a new agent can talk to an old centre.

    async def _compare(self, frame: dict[str, Any]) -> None:
        """Judge the node's digest, unless it was made before the node heard of the snapshot under way."""
        rev, digest = _number(frame, "rev"), str(frame.get("digest", ""))
        number = _number(frame, "n") if "n" in frame else self._stream_number
        if self._snapshot or number != self._stream_number:
            return
        if not await self.hub.ask(stream.matches, self.node_id, rev, digest):
            await self._start_over()

    async def _ack(self, rev: int) -> None:
        if rev > self._highest:
            raise Closed(4400, "an ACK for what was never sent")
        self._unacked = [sent for sent in self._unacked if sent > rev]
        self._acked.set()
        await self.hub.ask(stream.ack, self.node_id, rev)

    async def _report(self, frame: dict[str, Any]) -> None:
        seq, items = _number(frame, "seq"), frame.get("items")
        if not isinstance(items, list) or len(items) > REPORT_ITEMS:
            raise Closed(4400, f"a REPORT carries a list of at most {REPORT_ITEMS} items")
        await self.hub.ask(reports.take, self.node, self._outbox, seq, items)
        await self._tell("RACK", seq=seq)

    async def _start_over(self) -> None:
        """Tell the node everything again; its store is not as ours."""
        rev = await self.hub.ask(stream.begin_snapshot, self.node_id)
        # Before anything is awaited: what is decided from here on belongs to the new stream, and the lock of the
        # wire is fair, so that it also travels behind the word SNAPSHOT.
        self._stream_number += 1
        self._snapshot, self._sent, self._unacked = True, 0, []
        await self._tell("SNAPSHOT", server_rev=rev, n=self._stream_number)
        self._acked.set()
        self._more.set()

    async def _stream(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while await self._put():
                pass

    async def _put(self) -> bool:
        """Send the next part of the stream; False when the node has been sent everything."""
        while len(self._unacked) >= IN_FLIGHT:
            self._acked.clear()
            await self._acked.wait()
        number, after, snapshot = self._stream_number, self._sent, self._snapshot
        last_rev, objects = await self.hub.ask(stream.batch, self.node_id, after)
        if number != self._stream_number:
            return True  # the stream was begun anew meanwhile
        if objects:
            self._sent = objects[-1]["rev"]
            self._highest = max(self._highest, self._sent)
            self._unacked.append(self._sent)
            await self._tell("PUT", objs=objects)
            return True
        self._sent = max(self._sent, last_rev)
        self._highest = max(self._highest, self._sent)
        if snapshot:
            self._snapshot = False
            await self._tell("END", rev=self._sent, n=number)
        return False

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT / 3)
            quiet = time.monotonic() - self._heard
            if quiet > 2 * HEARTBEAT + HEARTBEAT / 3:
                raise Closed(4408, "two heartbeats were missed")
            # Not everything that a node says has an answer: it must hear of us even while it talks all the time.
            if time.monotonic() - self._spoke > HEARTBEAT / 3:
                await self._tell("HB")

    async def _tell(self, kind: str, **members: Any) -> None:
        data = frames.encode({"type": kind, **members})
        self._spoke = time.monotonic()
        async with self._sending:
            key = "text" if isinstance(data, str) else "bytes"
            await self._send({"type": "websocket.send", key: data})

    async def _next(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise Closed(1000, "the node hung up")
        data = message.get("text")
        try:
            return frames.decode(data if data is not None else message.get("bytes") or b"")
        except BreakwaterError as problem:
            raise Closed(4400, problem.detail) from problem


def _number(frame: dict[str, Any], name: str) -> int:
    value = frame.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise Closed(4400, f"{frame['type']} needs {name} as a whole number")
    return value
