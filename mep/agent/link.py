"""The link: one WebSocket that the node dials, and comes back to for as long as it lives.

It only moves frames between the wire and the store. Everything that runs apps looks at the store, so that a link
that is down, slow or wrong is felt by nobody on the node.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from django.db import DatabaseError, close_old_connections
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from core import frames
from core.errors import BreakwaterError, Rejected, Unavailable
from mep.agent import VERSION, store
from mep.agent import identity as identities
from mep.agent.backoff import pause
from mep.agent.identity import Identity, safe_url, tls
from mep.agent.store import Key

logger = logging.getLogger("breakwater.agent")

#: A link that held this long starts the back-off anew.
STEADY = 20.0
RENEW_CHECK = 3600.0
#: A link is cut on purpose for this long at most, in seconds.
LONGEST_CUT = 120.0
#: A node without an identity looks for one this often.
LOOK_FOR_IDENTITY = 0.5

Answer = TypeVar("Answer")


class Link:
    """Keeps the connection to the centre; `wake(key)` is called for each wish that changed."""

    def __init__(
        self,
        folder: Path,
        *,
        wake: Callable[[Key], None],
        caps: list[str],
        digest_every: float = 600.0,
        heartbeat: float = 15.0,
        longest_pause: float = 30.0,
    ) -> None:
        self.folder, self.wake, self.caps, self.longest_pause = folder, wake, caps, longest_pause
        self.digest_every, self.heartbeat = digest_every, heartbeat
        self.boot_id = secrets.token_hex(8)
        self.connected = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="link-store")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._stop = asyncio.Event()
        self._stopping = False
        self._hang_up = asyncio.Event()
        self._silent_until = 0.0

    def cut(self, seconds: float) -> None:
        """Hang up and dial nobody for `seconds`, from any thread: what the node does without its centre is tried so.

        The apps feel nothing of it. It ends by itself, also when nobody says anything more; a restart ends it too.
        """
        self._silent_until = time.monotonic() + min(max(seconds, 0.0), LONGEST_CUT)
        self._tell(self._hang_up)

    def poke(self) -> None:
        """Say, from any thread, that a report waits."""
        self._tell(self._news)

    def stop(self) -> None:
        """Say, from any thread and at any time, that it is time to hang up."""
        self._stopping = True
        self._tell(self._stop)

    def _tell(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(event.set)

    async def run(self) -> None:
        """Connect, serve, and connect again, until `stop`."""
        self._loop = asyncio.get_running_loop()
        if self._stopping:
            return
        tries = 0
        while not self._stop.is_set():
            if await self._silent():
                tries = 0
            began = time.monotonic()
            identity = await self._identity()
            if identity is None:
                return
            try:
                identity = await self._renewed(identity)
                await self._session(identity)
            except (OSError, WebSocketException, TimeoutError, BreakwaterError) as problem:
                why = _in_words(problem)
                logger.warning("the link to the centre is down: %s", why)
            except Exception:
                why = "the link broke in a way that nobody foresaw"
                logger.exception(why)
            else:
                why = "the agent hung up"
            self.connected = False
            await self._note("cut-off", why)
            tries = 0 if time.monotonic() - began > STEADY else tries + 1
            if time.monotonic() >= self._silent_until:
                await self._back_off(pause(tries, most=self.longest_pause), identity)

    async def _silent(self) -> bool:
        """Wait until a cut is over; False when there was none."""
        self._hang_up.clear()
        waited = False
        while (left := self._silent_until - time.monotonic()) > 0 and not self._stop.is_set():
            waited = True
            await self._rest(left)
        return waited

    async def _identity(self) -> Identity | None:
        """Return the node's identity, waiting until it has one."""
        told = False
        while not self._stop.is_set():
            identity = await self._ask(identities.load, self.folder)
            if identity is not None:
                return identity
            if not told:
                logger.info("this node has not joined a centre yet; `manage.py enrol` does")
                await self._note("not-joined")
                told = True
            await self._rest(LOOK_FOR_IDENTITY)
        return None

    async def _renewed(self, identity: Identity) -> Identity:
        """Return the identity with a fresh certificate when two thirds of its life are over."""
        if not identity.due():
            return identity
        try:
            fresh = await self._ask(identities.renew, identity, self.folder)
        except BreakwaterError as problem:
            logger.warning("the certificate cannot be renewed now: %s", problem.detail)
            return identity
        logger.info("the node has a fresh certificate, valid until %s", fresh.certificate.not_valid_after_utc)
        return fresh

    async def _session(self, identity: Identity) -> None:
        url = safe_url(identity.sync_url)
        async with connect(
            url,
            additional_headers={"Authorization": identity.authorization()},
            ssl=tls(identity.ca_pem) if url.startswith("wss:") else None,
            # A context for each connection costs the centre 40 kB; large frames are zipped by themselves.
            compression=None,
            max_size=frames.WIRE_BYTES,
            open_timeout=10,
            close_timeout=2,
            ping_interval=None,
            proxy=None,
            user_agent_header=f"breakwater-agent/{VERSION}",
        ) as socket:
            await Session(self, identity, socket).run()

    async def _back_off(self, seconds: float, tried: Identity) -> None:
        """Wait before the next try, but not with a new identity: somebody has just enrolled this node."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            await self._rest(min(left, LOOK_FOR_IDENTITY))
            if await self._ask(identities.load, self.folder) != tried:
                return

    async def _note(self, state: str, why: str = "") -> None:
        """Write down how the link stands, for people at the node; that it cannot be written ends no link."""
        try:
            await self._ask(store.note_link, state, why)
        except DatabaseError:
            logger.warning("how the link stands cannot be written down", exc_info=True)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _ask(self, question: Callable[..., Answer], *args: Any, **options: Any) -> Answer:
        def work() -> Answer:
            close_old_connections()
            return question(*args, **options)

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class Session:
    """One connection, from HELLO to its end."""

    def __init__(self, link: Link, identity: Identity, socket: ClientConnection) -> None:
        self.link, self.identity, self.socket = link, identity, socket
        self._ask = link._ask
        self._heard = time.monotonic()
        self._epoch = ""
        self._told: set[Key] | None = None
        #: The number of the snapshot that we heard of last; 0 is the one of WELCOME.
        self._snapshot = 0
        self._catch_up = 0
        self._compared = False
        self._racked = asyncio.Event()
        self._rack = 0

    async def run(self) -> None:
        """Serve until the connection ends or the link is told to stop."""
        where = await self._ask(store.position)
        await self._send(
            "HELLO",
            proto=frames.PROTOCOL,
            node=self.identity.node_id,
            boot_id=self.link.boot_id,
            agent_version=VERSION,
            caps=self.link.caps,
            **where,
        )
        welcome = await asyncio.wait_for(self._next(), 20)
        if welcome["type"] != "WELCOME":
            raise Rejected("The centre did not say WELCOME")
        self._epoch = str(welcome.get("epoch", ""))
        self._catch_up = int(welcome.get("server_rev", 0))
        if welcome.get("mode") == "snapshot":
            await self._begin_snapshot()
        self.link.connected = True
        await self.link._note("connected")
        logger.info("linked to the centre (%s from revision %s)", welcome.get("mode"), where["last_rev"])
        await self._caught_up(int(where["last_rev"]))
        parts = (self._listen, self._report, self._beat, self._compare, self._renew)
        ends = (self.link._stop.wait, self.link._hang_up.wait)
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(part()) for part in (*parts, *ends)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            frame = await self._next()
            match frame["type"]:
                case "PUT":
                    await self._put(frame)
                case "END":
                    await self._end(int(frame.get("rev", 0)), int(frame.get("n", self._snapshot)))
                case "SNAPSHOT":
                    logger.error("our store is not as the centre's; it tells us everything again")
                    self._snapshot = int(frame.get("n", self._snapshot))
                    await self._begin_snapshot()
                case "RACK":
                    self._rack = int(frame.get("seq", 0))
                    self._racked.set()

    async def _put(self, frame: dict[str, Any]) -> None:
        objects = frame.get("objs")
        if not isinstance(objects, list) or not objects or not all(isinstance(each, dict) for each in objects):
            raise Rejected("The centre sent a PUT without objects")
        anew = self._told is not None
        changed = await self._ask(store.take, objects, anew=anew)
        if self._told is not None:
            self._told.update((str(each["kind"]), str(each["key"])) for each in objects if not each.get("deleted"))
        rev = int(objects[-1]["rev"])
        # Only now: what is acknowledged is on the disk.
        await self._send("ACK", rev=rev)
        for key in changed:
            self.link.wake(key)
        await self._caught_up(rev)

    async def _begin_snapshot(self) -> None:
        await self._ask(store.begin_snapshot)
        self._told, self._compared = set(), False

    async def _end(self, rev: int, number: int) -> None:
        if self._told is None or number != self._snapshot:
            return  # the end of a snapshot that was begun anew says nothing about what is missing
        gone = await self._ask(store.end_snapshot, self._epoch, rev, self._told)
        self._told = None
        await self._send("ACK", rev=rev)
        for key in gone:
            logger.warning("the centre knows nothing of %s %s; it goes", *key)
            self.link.wake(key)
        await self._caught_up(rev)

    async def _caught_up(self, rev: int) -> None:
        """Compare stores once after each reconnect, as soon as we have what the centre had at its WELCOME."""
        if self._told is None and not self._compared and rev >= self._catch_up:
            self._compared = True
            await self._send_digest()

    async def _send_digest(self) -> None:
        number = self._snapshot
        where = await self._ask(store.position)
        await self._send("DIGEST", rev=where["last_rev"], digest=where["digest"], n=number)

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(self.link.digest_every)
            if self._told is None:
                await self._send_digest()

    async def _report(self) -> None:
        """Send what waits in the outbox, one REPORT at a time, and drop it when the centre has it."""
        while True:
            self.link._news.clear()
            while batch := await self._ask(store.waiting):
                seq = batch[-1]["seq"]
                self._racked.clear()
                await self._send("REPORT", seq=seq, items=batch)
                await asyncio.wait_for(self._racked.wait(), 2 * self.link.heartbeat)
                if self._rack >= seq:
                    await self._ask(store.delivered, seq)
            await self.link._news.wait()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.link.heartbeat)
            await self._send("HB")
            await self.link._note("connected")
            if time.monotonic() - self._heard > 2 * self.link.heartbeat:
                raise Unavailable("the centre missed two heartbeats")

    async def _renew(self) -> None:
        """End the session when the certificate is due, so that the next one uses a fresh certificate."""
        while not self.identity.due():
            await asyncio.sleep(RENEW_CHECK)
        fresh = await self.link._renewed(self.identity)
        if fresh is self.identity:
            await asyncio.sleep(RENEW_CHECK)

    async def _send(self, kind: str, **members: Any) -> None:
        await self.socket.send(frames.encode({"type": kind, **members}))

    async def _next(self) -> dict[str, Any]:
        frame = frames.decode(await self.socket.recv())
        self._heard = time.monotonic()
        return frame


def _said(body: bytes | bytearray | None) -> str:
    """Return the centre's own words in a refusal."""
    try:
        return str(json.loads(bytes(body or b""))["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return "it gave no reason"


def _in_words(problem: Exception) -> str:
    if isinstance(problem, InvalidStatus):
        status = problem.response.status_code
        return f"the centre answered {status}: {_said(problem.response.body)}"
    if isinstance(problem, ConnectionClosed):
        reason = problem.rcvd.reason if problem.rcvd else "without a word"
        return f"the centre hung up ({reason})"
    if isinstance(problem, InvalidHandshake):
        return "what answers there is no centre"
    if isinstance(problem, BreakwaterError):
        return problem.detail
    return f"{type(problem).__name__}: {problem}"
