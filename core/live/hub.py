"""One look for all: however many pages are open, a process asks its database once for what they show.

A *topic* is a thing that pages follow, for example one deployment. All streams about a topic share one look at it; all
topics of a kind share one question for *marks*, where their room has registered one (`watches`): only what has another
mark than before is looked at. Looks of a process are made one after the other in a single thread, at most every
`PACE` seconds, and less often when they take long. A stream costs neither a thread nor a connection to the database.
A stream keeps nothing but the latest: who reads slowly misses what was overtaken and holds up nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connection, connections

from core.live import guard
from core.live.guard import Pass

logger = logging.getLogger("breakwater.live")

#: Seconds between two looks, and how many times longer than the looks themselves took; the longest pause.
PACE, REST, LONGEST_REST = 0.4, 2.0, 10.0
#: Seconds between two questions whether those who listen may; and for which a look is not skipped though nothing was written.
GUARD_EVERY, AT_LEAST_EVERY = 2.0, 5.0
#: Seconds after which a silent stream says that it is there, and a stream's life.
QUIET, LIFETIME = 15.0, 3600.0

#: Returns a mark for each key; another mark means "look again". A key without a mark is looked at, too.
Watch = Callable[[Sequence[Any]], Mapping[Any, Hashable]]
_watches: dict[str, Watch] = {}


def watches(kind: str) -> Callable[[Watch], Watch]:
    """Decorate the function that makes marks for all topics of `kind` that somebody listens to, in few queries."""

    def add(watch: Watch) -> Watch:
        _watches[kind] = watch
        return watch

    return add


@dataclass(frozen=True)
class Topic:
    """What a stream is about.

    `look` returns JSON-able data, or None to end the stream; a member `"finished": true` ends it after that. It is
    called in a thread and must mean the same for all who name the same kind and key. Without it the stream tells only
    that the mark is another one: `{"state": "<digest of the mark>"}`, and ends when there is none.
    """

    kind: str
    key: Hashable
    look: Callable[[], dict[str, Any] | None] | None = field(default=None, compare=False)
    every: float = field(default=PACE, compare=False)


class _Listener:
    """One stream: whether there is something to tell, and whether it must end."""

    __slots__ = ("gone", "wake")

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.gone = False

    def end(self) -> None:
        self.gone = True
        self.wake.set()


class _Followed:
    """A topic that somebody listens to, and what was told last."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.mark: Hashable = self  # equal to no mark
        self.version: Any = None  # of the database at the last look; None is like no other
        self.due = 0.0
        self.text = ""
        self.known = self.over = False
        self.listeners: set[_Listener] = set()

    def take(self, text: str, over: bool) -> None:
        """Keep what was seen and wake who listens, when it is new."""
        if self.known and text == self.text and over == self.over:
            return
        self.text, self.over, self.known = text, over, True
        for listener in self.listeners:
            listener.wake.set()


class Hub:
    """All live streams of one event loop, which is all of a web process."""

    def __init__(self, *, pace: float = PACE, guard_every: float = GUARD_EVERY) -> None:
        self._pace, self._guard_every = pace, guard_every
        self._topics: dict[tuple[str, Hashable], _Followed] = {}
        self._passes: dict[Pass, set[_Listener]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._seen_at = self._guarded_at = 0.0
        #: How often what was done; for benchmarks and tests.
        self.counts: Counter[str] = Counter()

    @contextmanager
    def _listening(self, topic: Topic | None, by: Pass | None) -> Iterator[tuple[_Listener, _Followed | None]]:
        listener, followed = _Listener(), None
        if topic is not None:
            followed = self._topics.setdefault((topic.kind, topic.key), _Followed(topic))
            followed.listeners.add(listener)
            if followed.known:
                listener.wake.set()
            else:
                self._hurry.set()
        if by is not None:
            self._passes[by].add(listener)
        if (topic or by) is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield listener, followed
        finally:
            if topic is not None and followed is not None:
                followed.listeners.discard(listener)
                if not followed.listeners:
                    self._topics.pop((topic.kind, topic.key), None)
            if by is not None:
                self._passes[by].discard(listener)
                if not self._passes[by]:
                    del self._passes[by]

    async def follow(self, topic: Topic, by: Pass | None, *, lifetime: float = LIFETIME) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events with what `topic` looks like, each time it changes."""
        yield b"retry: 2000\n\n"
        # Streams that were opened together shall not all end together.
        loop = asyncio.get_running_loop()
        ends = loop.time() + lifetime * random.uniform(0.8, 1.0)  # noqa: S311
        with self._listening(topic, by) as (listener, followed):
            assert followed is not None
            while loop.time() < ends:
                try:
                    await asyncio.wait_for(listener.wake.wait(), QUIET)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                listener.wake.clear()
                if listener.gone:
                    return
                text, over = followed.text, followed.over
                if text:
                    yield f"data: {text}\n\n".encode()
                if over:
                    if text:
                        yield b"event: done\ndata: {}\n\n"
                    return

    @contextmanager
    def guarded(self, by: Pass | None) -> Iterator[_Listener]:
        """Watch over a stream that looks by itself: `gone` is set when it must end."""
        with self._listening(None, by) as (listener, _):
            yield listener

    async def _run(self) -> None:
        """Look again and again while anybody listens."""
        loop = asyncio.get_running_loop()
        trouble, regular = 0, 0.0
        with ThreadPoolExecutor(1, thread_name_prefix="live") as thread:
            try:
                while True:
                    if not (self._topics or self._passes):
                        # In one step with the question: who comes now begins anew.
                        self._task = None
                        break
                    self._hurry.clear()
                    begun = loop.time()
                    usual = begun >= regular
                    try:
                        await self._round(loop, thread, begun, usual)
                        trouble = 0
                    except Exception:
                        trouble += 1
                        logger.warning("live streams cannot look at present", exc_info=trouble == 1)
                    took = loop.time() - begun
                    if usual or trouble:
                        rest = max(self._pace, REST * took, self._pace * 2.0 ** min(trouble, 10) if trouble else 0.0)
                        regular = loop.time() + min(rest, LONGEST_REST)
                    if trouble:
                        await asyncio.sleep(max(0.0, regular - loop.time()))
                        continue
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), max(0.0, regular - loop.time()))
                        # Pages that are opened together are looked at together.
                        await asyncio.sleep(0.05)
            finally:
                await loop.run_in_executor(thread, connections.close_all)

    async def _round(self, loop: asyncio.AbstractEventLoop, thread: Any, now: float, usual: bool) -> None:
        due = [each for each in self._topics.values() if not each.known or (usual and each.due <= now + self._pace / 2)]
        passes: list[Pass] = []
        if usual and now - self._guarded_at >= self._guard_every:
            self._guarded_at = now
            passes = list(self._passes)
        forced = now - self._seen_at >= AT_LEAST_EVERY
        if usual and forced:
            self._seen_at = now
        seen, gone = await loop.run_in_executor(thread, self._look, due, passes, forced)
        for each in due:
            each.due = now + each.topic.every
        for each, text, over in seen:
            each.take(text, over)
        for by in gone:
            for listener in list(self._passes.get(by, ())):
                listener.end()

    def _look(
        self, due: list[_Followed], passes: list[Pass], forced: bool
    ) -> tuple[list[tuple[_Followed, str, bool]], set[Pass]]:
        """Look at what is due, in the one thread of this; nothing here touches what the event loop owns."""
        self.counts["rounds"] += 1
        try:
            # Asked before the looks: what was written until now is in them. Each topic remembers for itself, since not every
            # round looks at every topic.
            version = self._version()
            if not forced and version is not None:
                due = [each for each in due if not each.known or each.version != version]
            groups: dict[str, list[_Followed]] = defaultdict(list)
            for each in due:
                groups[each.topic.kind].append(each)
            seen = [found for kind, group in groups.items() for found in self._of_kind(kind, group, version)]
            return seen, guard.void(passes) if passes else set()
        except DatabaseError:
            connections.close_all()
            raise

    def _of_kind(self, kind: str, group: list[_Followed], version: Any) -> Iterator[tuple[_Followed, str, bool]]:
        watch = _watches.get(kind)
        marks: Mapping[Any, Hashable] = {}
        if watch is not None:
            self.counts["marks"] += 1
            try:
                marks = watch([each.topic.key for each in group])
            except DatabaseError:
                raise
            except Exception:
                # One kind that cannot be looked at must not silence all others.
                logger.exception("live streams cannot look at any %s", kind)
                return
        for each in group:
            mark = marks.get(each.topic.key)
            if mark is not None and each.known and mark == each.mark:
                each.version = version
                continue
            self.counts["looks"] += 1
            try:
                data = each.topic.look() if each.topic.look else _told(mark)
            except DatabaseError:
                raise
            except Exception:
                logger.exception("a live stream cannot look at %s %s", kind, each.topic.key)
                continue
            each.mark, each.version = mark, version
            if data is None:
                yield each, "", True
            else:
                yield each, json.dumps(data, default=str, separators=(",", ":")), data.get("finished") is True

    def _version(self) -> Any:
        """Return a value that differs once anybody wrote; SQLite has one, of others None says that it is always supposed.

        PostgreSQL would tell by LISTEN/NOTIFY, but every NOTIFY takes one lock of the whole database at commit: reports
        of a thousand nodes would queue there, to spare a few indexed queries of the pages that are open.
        """
        if connection.vendor != "sqlite":
            return None
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            return cursor.fetchone()[0]


def _told(mark: Hashable) -> dict[str, Any] | None:
    return None if mark is None else {"state": hashlib.blake2s(repr(mark).encode(), digest_size=8).hexdigest()}


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub()
    return found


async def follow(topic: Topic, by: Pass | None, *, lifetime: float = LIFETIME) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events of `topic` for who came in by `by`, as `Hub.follow` of this process does."""
    async with aclosing(hub().follow(topic, by, lifetime=lifetime)) as parts:
        async for part in parts:
            yield part
