"""Carries letters from the outbox to callbacks: one task per subscription that has some, over kept connections."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from mep.mp1 import outbox
from mep.mp1.outbox import Letter
from mep.mp1.sender import Sender

log = logging.getLogger(__name__)
#: Calls a blocking function where the database may be used.
Database = Callable[..., Any]
#: Deliveries under way at once, each of another subscription; at most half of them are repeated tries, so that
#: subscribers that are away do not keep the others waiting.
WIDTH = 128
RETRIES = WIDTH // 2
#: Seconds for which outcomes are collected before they are written down.
LINGER = 0.005


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
        self._outcomes: list[tuple[Letter, str, asyncio.Future[list[Letter]] | None]] = []
        self._settler: asyncio.Task[None] | None = None
        #: There is something to do that no commit will tell of, now or at that time.
        self.stirred, self.again_at = False, math.inf

    async def pump(self) -> None:
        """Start a task for every subscription that has something to send and none yet."""
        self.stirred = False
        now = time.time()
        found: outbox.Look = await self._database(outbox.look, self._seen, now)
        if found.more:
            self.stirred = True
        # Both from one look: a pause that ends is either in `due` or still to come.
        self._seen, self.again_at = found.seen, found.again
        for queue, names in ((self._ready, found.news), (self._again, found.due)):
            for each in names:
                if each in self._busy:
                    self._missed.add(each)
                else:
                    queue[each] = None
        chosen = self._choose()
        if not chosen:
            return
        letters: dict[str, list[Letter]] = await self._database(outbox.heads, chosen, now)
        for each in chosen:
            first = letters.get(each)
            if first and first[0].url:
                task = asyncio.create_task(self._serve(first))
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
        self._sender.close()

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

    async def _serve(self, letters: list[Letter]) -> None:
        subscription = letters[0].subscription
        try:
            while letters:
                letters = await self._carry(letters)
        except Exception:
            log.exception("delivery for subscription %s broke off; it is tried again", subscription)
            self._seen, self.stirred = 0, True

    async def _carry(self, letters: list[Letter]) -> list[Letter]:
        """Send letters of one subscription, each after the one before was taken; return the next ones."""
        for letter in letters[:-1]:
            why = await self._sender.send(letter)
            if why:
                return await self._settle(letter, why)
            self._note(letter, why)
        return await self._settle(letters[-1], await self._sender.send(letters[-1]))

    async def _settle(self, letter: Letter, why: str) -> list[Letter]:
        done: asyncio.Future[list[Letter]] = asyncio.get_running_loop().create_future()
        self._note(letter, why, done)
        return await done

    def _note(self, letter: Letter, why: str, done: asyncio.Future[list[Letter]] | None = None) -> None:
        """Write down what became of a letter, soon; `done` is given what follows it."""
        self._outcomes.append((letter, why, done))
        if self._settler is None or self._settler.done():
            self._settler = asyncio.create_task(self._settle_all())

    async def _settle_all(self) -> None:
        while self._outcomes:
            # What is about to be delivered goes first, and then shares the transaction.
            await asyncio.sleep(LINGER)
            batch, self._outcomes = self._outcomes, []
            following: dict[str, list[Letter]] = {}
            trouble: Exception | None = None
            try:
                following = await self._database(outbox.settle, [each[:2] for each in batch], time.time())
            except Exception as problem:
                log.warning("%d outcomes could not be noted: %s", len(batch), problem)
                trouble = problem
            for letter, _, done in batch:
                if done is None or done.done():
                    continue  # more are under way, or its task was cancelled
                if trouble is not None:
                    done.set_exception(trouble)
                else:
                    done.set_result(following.get(letter.subscription, []))
