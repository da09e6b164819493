"""Notifications for apps that cannot listen: they connect, and fetch over a WebSocket (MEC 009 6.12).

`GET <subscription>/websocket` with the app's bearer token, upgraded. Each notification is one text frame
`{"id": ..., "notification": ...}` and is answered with `{"id": ..., "status": 204}`; the next one comes after that. What is
not acknowledged stays in the outbox and comes again, with the same id, over this connection or a later one.

All of this runs in the event loop of the server; one thread uses the database for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from core.errors import BreakwaterError, Denied, Missing, Unavailable
from mep.mp1 import bell, http, mtls, outbox, subscriptions, tokens
from mep.mp1.database import Pulse, hang_up
from mep.mp1.models import Notice, Subscription
from mep.mp1.outbox import Letter
from mep.mp1.states import AppState, may_use_tokens

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Found = TypeVar("Found")

#: Seconds between looks for what other processes did; our own changes ring the bell.
BEAT = 0.1
#: Connections in this process, and frames on one of them that answer nothing, before it is closed.
MOST, MOST_STRAY = 2048, 100
#: Bytes of a frame that a client may send: an acknowledgement is short.
LONGEST_FRAME = 4096
PROTOCOL = "breakwater.notifications.v1"
#: Close codes: like the HTTP status that says the same.
BAD_FRAME, NO_TOKEN, GONE, NO_ANSWER, REPLACED, BROKEN = 4400, 4401, 4404, 4408, 4409, 1011
_PATH = re.compile(
    r"(?P<prefix>.*)(?P<api>/mec_\w+/v1)/applications/(?P<app>[^/]+)/subscriptions/(?P<id>[^/]+)/websocket"
)


class Acknowledgement(msgspec.Struct):
    """What the app says about a notification: an HTTP status, 2xx when it has it."""

    id: str
    status: int = 204


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a connection is to end; code 0: the app has gone."""

    code: int
    reason: str


class Line:
    """One connection of one subscription."""

    def __init__(self, subscription: str, expires: float, send: Send) -> None:
        self.subscription, self.expires, self._send = subscription, expires, send
        self.wake = asyncio.Event()
        self.ending: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        #: The app has left a notification unanswered.
        self.mute = False
        self._answers: asyncio.Queue[Acknowledgement] = asyncio.Queue(MOST_STRAY)

    def end(self, code: int, reason: str = "") -> None:
        """Let the connection be closed; the first reason counts."""
        if not self.ending.done():
            self.ending.set_result(Closed(code, reason))

    async def listen(self, receive: Receive) -> None:
        """Take what the app says until it goes away."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.end(0)
                return
            text = message.get("text") or message.get("bytes") or b""
            try:
                if len(text) > LONGEST_FRAME:
                    raise msgspec.ValidationError
                self._answers.put_nowait(msgspec.json.decode(text, type=Acknowledgement))
            except (msgspec.MsgspecError, asyncio.QueueFull, UnicodeError):
                self.end(BAD_FRAME, 'an answer is {"id": <id of the notification>, "status": 204}')
                return

    async def deliver(self, letter: Letter) -> str:
        """Send one notification and return what went wrong, empty when the app has it."""
        frame = b'{"id":%b,"notification":%b}' % (msgspec.json.encode(letter.tag), letter.body)
        try:
            async with asyncio.timeout(settings.CALLBACK_TIMEOUT):
                await self._send({"type": "websocket.send", "text": frame.decode()})
                while True:
                    answer = await self._answers.get()
                    if answer.id == letter.tag:
                        return "" if 200 <= answer.status < 300 else f"the app answered {answer.status}"
        except TimeoutError:
            self.mute = True
            return f"no acknowledgement within {settings.CALLBACK_TIMEOUT:g} seconds"


class Hub:
    """The connections of this process, at most one per subscription: a newer one takes over."""

    def __init__(self, database: Path | str) -> None:
        self._pulse = Pulse(database)
        self._hands = ThreadPoolExecutor(1, "mep-websockets-db")
        self._lines: dict[str, Line] = {}
        self._looking: asyncio.Task[None] | None = None

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one WebSocket from its handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            if len(self._lines) >= MOST:
                raise Unavailable("This MEP holds as many WebSockets as it can; try again later")
            subscription, expires = await self._database(
                admit, scope["path"], dict(scope["headers"]), mtls.shown(scope)
            )
        except BreakwaterError as error:
            await refuse(error, scope, send)
            return
        except Exception:
            log.exception("a WebSocket could not be opened")
            await refuse(Unavailable("The MEP is busy; try again in a moment"), scope, send)
            return
        await send(
            {"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in scope.get("subprotocols", ()) else None}
        )
        line = Line(subscription, expires, send)
        if older := self._lines.get(subscription):
            older.end(REPLACED, "a newer connection took over")
        self._lines[subscription] = line
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await self._talk(line, receive, send)

    async def close(self) -> None:
        """End every connection and let go of the database; notifications wait for the next start."""
        for line in list(self._lines.values()):
            line.end(1012, "the MEP stops")
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._pulse.close()
        await self._database(hang_up)
        self._hands.shutdown()

    async def _talk(self, line: Line, receive: Receive, send: Send) -> None:
        tasks = [asyncio.create_task(line.listen(receive)), asyncio.create_task(self._carry(line))]
        try:
            closed = await line.ending
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if closed.code:
                with contextlib.suppress(Exception):  # it may have gone meanwhile
                    await send({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
        finally:
            for task in tasks:
                task.cancel()
            if self._lines.get(line.subscription) is line:
                del self._lines[line.subscription]

    async def _carry(self, line: Line) -> None:
        """Deliver what waits, in order, and wait for more."""
        failures = 0
        try:
            while True:
                line.wake.clear()
                waiting = await self._database(outbox.heads, [line.subscription], time.time())
                if line.subscription not in waiting:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(line.wake.wait(), outbox.pause(failures) if failures else None)
                    continue
                (letter,) = waiting[line.subscription]
                why = await line.deliver(letter)
                failures = failures + 1 if why else 0
                await self._database(outbox.settle, [(letter, why)], time.time(), 1)
                if line.mute:
                    line.end(NO_ANSWER, why)
                    return
        except Exception:
            log.exception("the WebSocket of subscription %s broke", line.subscription)
            line.end(BROKEN, "something went wrong on our side; connect again")

    async def _look(self) -> None:
        """Wake the lines that have something to send, and end those that may not go on."""
        rung = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ring() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(rung.set)

        bell.answer(ring)
        try:
            while self._lines:
                try:
                    await self._look_once()
                except Exception:
                    log.exception("looking after the WebSockets failed; again in a second")
                    self._pulse.close()
                    await asyncio.sleep(1.0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(rung.wait(), BEAT)
                rung.clear()
        finally:
            bell.forget(ring)

    async def _look_once(self) -> None:
        now = time.time()
        for line in self._lines.values():
            if line.expires <= now:
                line.end(NO_TOKEN, "the access token has expired; connect with a new one")
        if not self._pulse.moved():
            return
        asked = list(self._lines)
        present, waiting = await self._database(look, asked)
        for key in asked:
            found = self._lines.get(key)
            if found is None:
                continue
            if key not in present:
                found.end(GONE, "the subscription or its app has ended")
            elif key in waiting:
                found.wake.set()

    async def _database(self, function: Callable[..., Found], *args: Any) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._hands, lambda: function(*args))


def admit(path: str, headers: dict[bytes, bytes], certificate: str = "") -> tuple[str, float]:
    """Return the subscription of a path and when the token of the asker ends; our errors say why not.

    `certificate` is the thumbprint of what the connection showed: a bound token needs it here as well.
    """
    token = tokens.bearer(headers.get(b"authorization", b"").decode("latin-1"))
    app = tokens.holder(token, certificate)
    named = _PATH.fullmatch(path)
    if named is None or named["prefix"] not in prefixes():
        raise Missing(f"There is no WebSocket {path[:200]}")
    if app.pk != named["app"]:
        raise Denied("This access token belongs to another app instance; an app sees only its own resources")
    kind = next((kind for kind, api in subscriptions.API.items() if api == named["api"]), "")
    found = subscriptions.find(app, kind, named["id"])
    if not found.websocket:
        raise Missing("The notifications of this subscription go to its callback; subscribe with requestWebsocketUri")
    # It is back, so what it missed is not kept from it any longer.
    Subscription.objects.filter(pk=found.pk, next_try_at__gt=0).update(next_try_at=0)
    return found.pk, tokens.verifier.claims(token).expires


def look(asked: Collection[str]) -> tuple[set[str], set[str]]:
    """Return which of these subscriptions may go on, and which have something to send."""
    rows = Subscription.objects.filter(pk__in=asked).values_list("pk", "app__state")
    present = {pk for pk, state in rows if may_use_tokens(AppState(state))}
    return present, set(
        Notice.objects.filter(subscription__in=present).values_list("subscription", flat=True).distinct()
    )


def prefixes() -> tuple[str, ...]:
    """Return the paths under which the APIs are served."""
    return ("", "/mep", f"/{settings.PREFIX}" if settings.PREFIX else "")


async def refuse(error: BreakwaterError, scope: Message, send: Send) -> None:
    """Answer the handshake with the problem document of an error, where the server can do that."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.title})
        return
    body = http.encode(error.problem())
    headers = [(b"content-type", http.PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    if error.status == 401:
        headers.append((b"www-authenticate", http.challenge(error).encode("latin-1")))
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
