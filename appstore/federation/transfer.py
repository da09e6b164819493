"""Fetching from a partner: small documents whole and bounded, packages by digest with resume. All of it is hostile.

A package arrives in a file named by the digest that it must have. When the line is cut the file stays, also over a crash, and
the next attempt asks for the rest only. It goes into the store when its digest is right, and never otherwise.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from django.conf import settings

from appstore.federation.feed import Refused
from appstore.packages import blobs
from core.errors import BreakwaterError, Missing, Rejected, Throttled, TimedOut, Unavailable
from core.words import say

_CHUNK: Final = 1 << 20
#: Attempts in a row that bring next to nothing (fewer bytes than `_SOMETHING`), and attempts in all, before the work is
#: left to a later day.
_FRUITLESS, _ATTEMPTS = 4, 40
_SOMETHING: Final = 64 << 10
#: A partner that starts from the front again and again may send so much of a file in all.
_MOST_SENT = 2.0
#: Bytes a second below which a transfer is cut, once it ran for so many seconds: a stalling partner holds no worker.
FLOOR: Final = 2048.0
GRACE: Final = 15.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})\Z")


class Answer(Protocol):
    """What a partner answers: the head is there, the body comes as it is read. Names of `headers` are in lower case."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields by lower-case name."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it was sent; `Unavailable` or `TimedOut` when the line is cut."""


class Link(Protocol):
    """A way to ask one partner. It follows no redirect, and each answer ends in a bounded time."""

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> AbstractContextManager[Answer]:
        """Ask for a path below the partner's `/api/v1/federation/`."""


class Budget(Protocol):
    """How many bytes may still be taken of a partner today."""

    def require(self, size: int) -> None:
        """`Throttled` when `size` more bytes are too many."""

    def spend(self, size: int) -> None:
        """Note what came."""


@dataclass(frozen=True, slots=True)
class Small:
    """A small answer, whole; `fresh` is False when the partner says that ours is the present one."""

    body: bytes
    etag: str = ""
    fresh: bool = True


def small(link: Link, path: str, limit: int, *, etag: str = "", seconds: float = 60.0) -> Small:
    """Return a document of at most `limit` bytes; `Missing` when there is none, `Refused` when it is longer.

    `seconds` bounds the whole of it. With `etag` the partner may answer that nothing changed.
    """
    wanted = {"Accept-Encoding": "identity", **({"If-None-Match": etag} if etag else {})}
    began = time.monotonic()
    with link.get(path, wanted) as answer:
        if answer.status == 304 and etag:
            return Small(b"", etag, fresh=False)
        _expect(answer, (200,), path)
        body = bytearray()
        for chunk in answer.chunks():
            body += chunk
            if len(body) > limit:
                raise Refused(say("The answer is longer than {limit} bytes", limit=limit), reason="endless", path=path)
            if time.monotonic() - began > seconds:
                raise TimedOut(
                    say("The partner took more than {seconds} s for {path}", seconds=format(seconds, "g"), path=path),
                    path=path,
                )
        return Small(bytes(body), answer.headers.get("etag", "")[:120])


def _expect(answer: Answer, statuses: tuple[int, ...], path: str) -> None:
    """Translate every other status into an error of ours."""
    status = answer.status
    if status in statuses:
        if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise Refused(
                say("The partner packed its answer although it was asked not to"), reason="garbage", path=path
            )
        return
    if 300 <= status < 400:
        raise Refused(say("The partner sends us elsewhere; we do not follow"), reason="redirect", path=path)
    if status in (404, 410):
        raise Missing(say("The partner has no such thing, or none for us."), path=path)
    if status in (401, 403):
        raise Rejected(
            say("The partner does not let us in; look at the agreement on both sides."), path=path, answered=status
        )
    if status == 429:
        raise Throttled(say("The partner asks us to come less often."), path=path)
    if status >= 500:
        raise Unavailable(say("The partner is out of order (HTTP {status}).", status=status), path=path)
    raise Refused(say("The partner answers {status} to a plain question", status=status), reason="garbage", path=path)


class Counting:
    """A link that counts what went over it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.requests = 0
        self.bytes_in = 0

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Pass on, and count."""
        self.requests += 1
        with self._link.get(path, headers) as answer:
            yield _Counted(answer, self)


class _Counted:
    def __init__(self, answer: Answer, counter: Counting) -> None:
        self._answer, self._counter = answer, counter
        self.status, self.headers = answer.status, answer.headers

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._answer.chunks():
            self._counter.bytes_in += len(chunk)
            yield chunk


# Packages -------------------------------------------------------------------------------------------------------------

Told = Callable[[int], None]


@dataclass(slots=True)
class _Partial:
    """A file that is still arriving, with the hash of what is there."""

    file: IO[bytes]
    path: Path
    digest: Any
    have: int
    #: Whether it was put together of parts, one of which may have been spoilt on our own disk.
    pieced: bool = False

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view:
                view = view[self.file.write(view) :]
        except OSError as problem:
            raise Unavailable(
                say("The store cannot write at the moment: {strerror}", strerror=problem.strerror or problem)
            ) from problem
        self.digest.update(chunk)
        self.have += len(chunk)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.have, self.pieced = hashlib.sha256(), 0, False


def fetch(
    link: Link,
    path: str,
    *,
    sha256: str,
    size: int,
    budget: Budget,
    told: Told = lambda have: None,
    sleep: Callable[[float], None] = time.sleep,
    take_present: bool = True,
) -> int:
    """Bring a file of known digest and size into the store; return how many bytes came over the line.

    Nothing comes when the store has it; without `take_present` the partner has to show that it has it, too. `Refused` for
    other bytes, more bytes, or a partner that starts over without end; `Unavailable` or `TimedOut` when the line is cut too
    often: what came is kept for the next attempt.
    """
    if take_present and blobs.path_of(sha256).exists():
        blobs.path_of(sha256).touch()
        return 0
    with _partial(sha256, size) as partial:
        budget.require(size - partial.have)
        received = _receive(link, path, partial, sha256, size, budget, told, sleep)
        if partial.digest.hexdigest() != sha256 and partial.pieced:
            # Nobody is accused of what a crash of ours may have done to the first part: once more, and whole.
            partial.restart()
            received += _receive(link, path, partial, sha256, size, budget, told, sleep)
        if partial.digest.hexdigest() != sha256:
            partial.path.unlink(missing_ok=True)
            raise Refused(
                say(
                    "What arrived is not the file that was named: its SHA-256 is another. "
                    "The partner sent other bytes, or somebody on the way changed them; nothing was kept"
                ),
                reason="changed",
                sha256=sha256,
            )
        partial.file.flush()
        blobs.adopt(partial.path, sha256)
    return received


def _receive(
    link: Link,
    path: str,
    partial: _Partial,
    sha256: str,
    size: int,
    budget: Budget,
    told: Told,
    sleep: Callable[[float], None],
) -> int:
    received = fruitless = 0
    for _ in range(_ATTEMPTS):
        if partial.have == size:
            return received
        before = partial.have
        cut: BreakwaterError | None = None
        try:
            for count in _attempt(link, path, partial, sha256, size):
                received += count
                budget.spend(count)
                told(partial.have)
                if received > size * _MOST_SENT + _CHUNK:
                    raise Refused(
                        say("The partner starts from the front again and again"), reason="endless", sha256=sha256
                    )
        except (Unavailable, TimedOut) as problem:
            cut = problem
        except Refused:
            partial.path.unlink(missing_ok=True)
            raise
        if partial.have == size:
            return received
        fruitless = 0 if partial.have - before >= _SOMETHING else fruitless + 1
        if fruitless >= _FRUITLESS:
            raise cut or Unavailable(say("The partner breaks off before the end of the file."), sha256=sha256)
        sleep(random.uniform(0.05, 0.2) * 2**fruitless)  # noqa: S311  (spreads load, guards nothing)
    raise Unavailable(say("The line to the partner is cut again and again; what came is kept."), sha256=sha256)


def _attempt(link: Link, path: str, partial: _Partial, sha256: str, size: int) -> Iterator[int]:
    """Ask for what is missing and yield how many bytes came, as they come."""
    wanted = {"Accept-Encoding": "identity"}
    if partial.have:
        # RFC 9110, 13.1.5: another file under that name comes whole, and is then found out by its digest.
        wanted |= {"Range": f"bytes={partial.have}-", "If-Range": f'"{sha256}"'}
    with link.get(path, wanted) as answer:
        _expect(answer, (200, 206), path)
        if answer.status == 206:
            _check_range(answer, partial.have, size)
            partial.pieced = True
        elif partial.have:
            partial.restart()
        began, came = time.monotonic(), 0
        for chunk in answer.chunks():
            if partial.have + len(chunk) > size:
                raise Refused(
                    say("The partner sends more than the {size} bytes it told", size=size),
                    reason="endless",
                    sha256=sha256,
                )
            partial.write(chunk)
            came += len(chunk)
            yield len(chunk)
            waited = time.monotonic() - began
            if waited > GRACE and came < FLOOR * waited:
                raise TimedOut(say("The partner sends slower than is taken"), sha256=sha256)


def _check_range(answer: Answer, start: int, size: int) -> None:
    told = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    if not told or int(told[1]) != start or int(told[3]) != size or int(told[2]) >= size:
        raise Refused(say("The partner answers another part of the file than was asked for"), reason="mixed")


@contextmanager
def _partial(sha256: str, size: int) -> Iterator[_Partial]:
    """Open what has come of that file so far, for us alone; `Unavailable` while another worker fetches it."""
    folder = Path(settings.BLOB_DIR) / "incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The name ends like that of every file on its way in: what nobody comes back for is swept with those.
    path = folder / f"{sha256}.part"
    # a+b, since it may be there or not, and what is there must stay
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(say("Another worker fetches this file just now.")) from None
        if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            raise Unavailable(say("Another worker has just finished with this file."))
        file.seek(0)
        digest, have = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            have += len(chunk)
        partial = _Partial(file, path, digest, have)
        if have > size:
            partial.restart()
        yield partial
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
