"""Carries letters from the outbox to callbacks: one task per subscription that has some, over kept connections."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpcore
from django.conf import settings

from core.errors import BreakwaterError
from mep.mp1 import callbacks, outbox
from mep.mp1.outbox import Letter

log = logging.getLogger(__name__)
#: Calls a blocking function where the database may be used.
Database = Callable[..., Any]
#: Deliveries under way at once, each of another subscription; at most half of them are repeated tries, so that
#: subscribers that are away do not keep the others waiting.
WIDTH = 128
RETRIES = WIDTH // 2
#: Seconds that an unused connection is kept: long enough for a burst, short enough for a name that moves.
KEPT = 15.0
#: Bytes and seconds of an answer's body that are read away to keep its connection; what it says is of no interest.
MOST_ANSWER, LONGEST_ANSWER = 16384, 1.0
JSON = b"application/json"


class Judged(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the policy allows and to no others.

    The name is resolved here, once per connection, and the connection goes to the judged address. TLS verifies the
    name all the same, and connections are shared by name, never by address.
    """

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()
        # Not the loop's own few threads: a name server that is silent must not stop every other name.
        self._resolvers = ThreadPoolExecutor(16, "mep-resolve")

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Any = None
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """Connect to the address of `host` that was judged; `Invalid` when it may not be called."""
        address = callbacks.as_address(host)
        if address is None:
            loop = asyncio.get_running_loop()
            address = await loop.run_in_executor(self._resolvers, callbacks.resolve, host, port)
        else:
            address = callbacks.judge(address)
        return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, path: str, timeout: Any = None, socket_options: Any = None) -> Any:
        """Refuse: no callback is a path."""
        raise httpcore.UnsupportedProtocol("A callback cannot be a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Let go of the threads, without waiting for name servers."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)


class Sender:
    """Sends one letter at a time per caller; redirects are not followed, proxies not asked, cookies not kept."""

    def __init__(self, authority: str | None = None) -> None:
        trust = ssl.create_default_context()
        if authority:
            trust.load_verify_locations(cadata=authority)
        self._network = Judged()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=2 * WIDTH,
            max_keepalive_connections=WIDTH,
            keepalive_expiry=KEPT,
            network_backend=self._network,
        )

    async def send(self, letter: Letter) -> str:
        """Send one letter and return what went wrong, empty when nothing did."""
        try:
            async with asyncio.timeout(settings.CALLBACK_TIMEOUT):
                try:
                    return await self._post(letter)
                except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
                    # A kept connection that the subscriber was closing at this very moment; the tag is the same.
                    return await self._post(letter)
        except BreakwaterError as problem:
            return problem.detail
        except (TimeoutError, httpcore.TimeoutException):
            return f"no answer within {settings.CALLBACK_TIMEOUT:g} seconds"
        except (
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError, ValueError
        ) as problem:  # fmt: skip
            return f"{type(problem).__name__}: {problem}"

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        self._network.close()

    async def _post(self, letter: Letter) -> str:
        parts = urlsplit(letter.url)
        headers = [
            (b"Host", parts.netloc.encode()),
            (b"Content-Type", JSON),
            (b"Content-Length", str(len(letter.body)).encode()),
            (b"X-Notification-Id", letter.tag.encode()),
        ]
        url = httpcore.URL(
            scheme=parts.scheme.encode(),
            host=(parts.hostname or "").encode(),
            port=parts.port,
            target=(parts.path or "/").encode(),
        )
        async with self._pool.stream("POST", url, headers=headers, content=letter.body) as response:
            with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
                async with asyncio.timeout(LONGEST_ANSWER):
                    await _read_away(response)
            return "" if 200 <= response.status < 300 else f"the subscriber answered {response.status}"


async def _read_away(response: httpcore.Response) -> None:
    size = 0
    async for part in response.aiter_stream():
        size += len(part)
        if size > MOST_ANSWER:
            return


class Courier:
    """Keeps at most `WIDTH` deliveries under way; `wake` is called when it wants to be pumped again."""

    def __init__(
        self, database: Database, authority: str | None = None, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._database, self._wake = database, wake
        self._sender = Sender(authority)
        self._seen = 0
        self._busy: dict[str, asyncio.Task[None]] = {}
        #: Subscriptions that have something to send and no task yet, first come first served.
        self._ready: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._retrying: set[str] = set()
        #: Got something new while their task was about to end; nobody else would look.
        self._missed: set[str] = set()
        self._outcomes: list[tuple[Letter, str, asyncio.Future[Letter | None]]] = []
        self._settler: asyncio.Task[None] | None = None
        #: There is something to do that no commit will tell of.
        self.stirred = False

    async def pump(self) -> None:
        """Start a task for every subscription that has something to send and none yet."""
        self.stirred = False
        now = time.time()
        found: outbox.Look = await self._database(outbox.look, self._seen, now)
        if found.more:
            self.stirred = True
        self._seen = found.seen
        for queue, names in ((self._ready, found.news), (self._again, found.due)):
            for each in names:
                if each in self._busy:
                    self._missed.add(each)
                else:
                    queue[each] = None
        chosen = self._choose()
        if not chosen:
            return
        letters: dict[str, Letter] = await self._database(outbox.heads, chosen, now)
        for each in chosen:
            letter = letters.get(each)
            if letter is not None and letter.url:
                task = asyncio.create_task(self._serve(letter))
                self._busy[each] = task
                task.add_done_callback(lambda _, key=each: self._ended(key))  # type: ignore[misc]
            else:
                self._retrying.discard(each)

    async def close(self) -> None:
        """Stop; what is under way is sent again after the next start."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._settler is not None:
            await asyncio.gather(self._settler, return_exceptions=True)
        await self._sender.close()

    def _choose(self) -> list[str]:
        room = WIDTH - len(self._busy)
        chosen = [key for key, _ in zip(self._ready, range(room), strict=False)]
        for each in chosen:
            del self._ready[each]
            self._again.pop(each, None)
        room = min(room - len(chosen), RETRIES - len(self._retrying))
        repeated = [key for key, _ in zip(self._again, range(room), strict=False)]
        for each in repeated:
            del self._again[each]
        self._retrying.update(repeated)
        return chosen + repeated

    def _ended(self, subscription: str) -> None:
        self._busy.pop(subscription, None)
        self._retrying.discard(subscription)
        if subscription in self._missed:
            self._missed.discard(subscription)
            self._ready[subscription] = None
        if self._ready or self._again:
            self.stirred = True
            self._wake()

    async def _serve(self, letter: Letter) -> None:
        following: Letter | None = letter
        try:
            while following is not None:
                following = await self._settle(following, await self._sender.send(following))
        except Exception:
            log.exception("delivery for subscription %s broke off; it is tried again", letter.subscription)
            self._seen, self.stirred = 0, True

    async def _settle(self, letter: Letter, why: str) -> Letter | None:
        """Note what became of the letter and return the next one; what ends meanwhile shares a transaction."""
        done: asyncio.Future[Letter | None] = asyncio.get_running_loop().create_future()
        self._outcomes.append((letter, why, done))
        if self._settler is None or self._settler.done():
            self._settler = asyncio.create_task(self._settle_all())
        return await done

    async def _settle_all(self) -> None:
        while self._outcomes:
            batch, self._outcomes = self._outcomes, []
            following: dict[str, Letter] = {}
            trouble: Exception | None = None
            try:
                following = await self._database(outbox.settle, [each[:2] for each in batch], time.time())
            except Exception as problem:
                trouble = problem
            for letter, _, done in batch:
                if done.done():
                    continue  # its task was cancelled
                if trouble is not None:
                    done.set_exception(trouble)
                else:
                    done.set_result(following.get(letter.subscription))
