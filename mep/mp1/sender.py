"""Sends one notification over HTTP, to an address that was judged, over connections that are kept for the next one.

A client of its own, because little is wanted and much must not happen: no redirects, no proxies, no cookies, no
decoding, and of an answer nothing is read but its head and what is needed to use the connection again.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from core.errors import BreakwaterError
from mep.mp1 import callbacks
from mep.mp1.outbox import Letter

#: Seconds that an unused connection is kept: long enough for a burst, short enough for a name that moves.
KEPT = 15.0
#: Unused connections that are kept.
IDLE = 256
#: Bytes of the head of an answer, and of a body that is read away so that its connection can be used again.
LONGEST_HEAD, LONGEST_BODY = 16384, 16384
#: Seconds that such a body may take.
LONGEST_WAIT = 1.0
#: Interim answers (RFC 9110 15.2) that are passed over.
INTERIM = 4
#: Scheme, name and port: a connection whose TLS peer showed the certificate of one name is not used for another.
Origin = tuple[str, str, int]


class Nonsense(Exception):
    """The subscriber's answer is not HTTP as we read it."""


class Stale(Exception):
    """A kept connection was closed before it answered."""


@dataclass(slots=True)
class Line:
    """One connection, and until when it may be used again."""

    origin: Origin
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    until: float = 0.0

    def usable(self, now: float) -> bool:
        """Return whether the other side has neither hung up nor sent what nobody asked for."""
        return now < self.until and not self.reader.at_eof() and not self.writer.is_closing() and not self.chatty()

    def chatty(self) -> bool:
        """Return whether there are bytes beyond the last answer."""
        return bool(self.reader._buffer)  # type: ignore[attr-defined] # asyncio has no public way to look

    def abort(self) -> None:
        """Close it now."""
        self.writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer: its status, and how many bytes follow (None: the connection cannot be kept)."""

    status: int
    length: int | None

    @classmethod
    def read(cls, head: bytes) -> Answer:
        """Return what the head says; `Nonsense` when it is none."""
        lines = head.split(b"\r\n")
        first = re.fullmatch(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?", lines[0])
        if first is None:
            raise Nonsense("the subscriber's answer is not HTTP/1.1")
        status = int(first[2])
        named: dict[bytes, list[bytes]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            named.setdefault(name.strip().lower(), []).append(value.strip().lower())
        if first[1] == b"0" or b"transfer-encoding" in named or b"close" in b",".join(named.get(b"connection", [])):
            return cls(status, None)
        if status < 200 or status in (204, 304):
            return cls(status, 0)
        (length, *more) = named.get(b"content-length", [b""])
        if more or not re.fullmatch(rb"\d{1,5}", length) or int(length) > LONGEST_BODY:
            return cls(status, None)
        return cls(status, int(length))


class Sender:
    """Sends letters; each caller sends one at a time."""

    def __init__(self, authority: str | None = None) -> None:
        self._trust = ssl.create_default_context()
        if authority:
            self._trust.load_verify_locations(cadata=authority)
        self._kept: dict[Origin, list[Line]] = {}
        # Not the loop's own few threads: a name server that is silent must not stop every other name.
        self._resolvers = ThreadPoolExecutor(16, "mep-resolve")

    async def send(self, letter: Letter) -> str:
        """Send one letter and return what went wrong, empty when nothing did."""
        try:
            async with asyncio.timeout(settings.CALLBACK_TIMEOUT):
                line, answer = await self._post(letter)
        except BreakwaterError as problem:
            return problem.detail
        except Nonsense as problem:
            return str(problem)
        except TimeoutError:
            return f"no answer within {settings.CALLBACK_TIMEOUT:g} seconds"
        except (OSError, EOFError, ValueError) as problem:
            return f"{type(problem).__name__}: {problem}"
        await self._finish(line, answer)
        return "" if 200 <= answer.status < 300 else f"the subscriber answered {answer.status}"

    def close(self) -> None:
        """Close every connection, and do not wait for name servers."""
        for lines in self._kept.values():
            for line in lines:
                line.abort()
        self._kept.clear()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _post(self, letter: Letter) -> tuple[Line, Answer]:
        parts = urlsplit(letter.url)
        origin = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(letter.body)}\r\nX-Notification-Id: {letter.tag}\r\nUser-Agent: breakwater-mep\r\n\r\n"
        )
        request = head.encode("ascii") + letter.body
        kept = self._take(origin)
        if kept is not None:
            try:
                return kept, await _exchange(kept, request, again=True)
            except Stale:
                pass  # it was being closed at this very moment; the tag is the same
        line = await self._connect(origin)
        return line, await _exchange(line, request)

    async def _connect(self, origin: Origin) -> Line:
        """Connect to the address of the name that was judged; `Invalid` when it may not be called."""
        scheme, host, port = origin
        address = callbacks.as_address(host)
        if address is None:
            # Resolved once: what was judged is what is connected to. TLS verifies the name all the same.
            loop = asyncio.get_running_loop()
            address = await loop.run_in_executor(self._resolvers, callbacks.resolve, host, port)
        else:
            address = callbacks.judge(address)
        secure = scheme == "https"
        return Line(
            origin,
            *await asyncio.open_connection(
                str(address),
                port,
                limit=LONGEST_HEAD,
                ssl=self._trust if secure else None,
                server_hostname=host if secure else None,
            ),
        )

    async def _finish(self, line: Line, answer: Answer) -> None:
        """Keep the connection when its answer ends soon, close it otherwise; the answer counts all the same."""
        clean = False
        try:
            if answer.length is not None:
                async with asyncio.timeout(LONGEST_WAIT):
                    await line.reader.readexactly(answer.length)
                clean = not line.chatty()
        except (EOFError, OSError):
            pass  # TimeoutError is one of these
        finally:
            if clean:
                self._keep(line)
            else:
                line.abort()

    def _take(self, origin: Origin) -> Line | None:
        now = time.monotonic()
        lines = self._kept.get(origin, [])
        while lines:
            line = lines.pop()
            if not lines:
                del self._kept[origin]
            if line.usable(now):
                return line
            line.abort()
        return None

    def _keep(self, line: Line) -> None:
        now = time.monotonic()
        if sum(map(len, self._kept.values())) >= IDLE:
            self._clear(now)
        line.until = now + KEPT
        self._kept.setdefault(line.origin, []).append(line)

    def _clear(self, now: float) -> None:
        """Close what is too old, or everything when nothing is."""
        old = {key: [line for line in lines if not line.usable(now)] for key, lines in self._kept.items()}
        going = old if any(old.values()) else {key: list(lines) for key, lines in self._kept.items()}
        for key, lines in going.items():
            for line in lines:
                line.abort()
                self._kept[key].remove(line)
            if not self._kept[key]:
                del self._kept[key]


async def _exchange(line: Line, request: bytes, *, again: bool = False) -> Answer:
    """Send a request and return the head of its answer; the connection is closed when there is none."""
    answer = None
    try:
        line.writer.write(request)
        answer = await _answer(line.reader, again)
        return answer
    finally:
        if answer is None:
            line.abort()


async def _answer(reader: asyncio.StreamReader, again: bool) -> Answer:
    for _ in range(INTERIM + 1):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Nonsense(f"the head of the subscriber's answer is longer than {LONGEST_HEAD} bytes") from None
        except (asyncio.IncompleteReadError, ConnectionError) as problem:
            if again and not getattr(problem, "partial", b""):
                raise Stale from None
            raise
        answer = Answer.read(head[:-4])
        if answer.status >= 200:
            return answer
        again = False
    raise Nonsense("the subscriber sends interim answers only")
