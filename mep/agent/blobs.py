"""Files by digest on the node: charts and images, fetched with resume, verified, kept for a cold start."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from core.errors import BreakwaterError, Invalid, Rejected, Unavailable
from engines.applier import Blob, missing_blob
from mep.agent.backoff import pause
from mep.agent.identity import Identity, refusal

logger = logging.getLogger("breakwater.agent")

CHUNK = 1 << 20
THREADS = 2


class Blobs:
    """The folder of files: `<sha256>` once verified, `<sha256>.part` while it comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, blob: Blob) -> Path:
        """Return where the file lies; `Missing` when it is not here."""
        path = self.folder / blob.sha256
        if not path.is_file():
            raise missing_blob(blob)
        return path

    def lacking(self, blobs: Iterable[Blob]) -> list[Blob]:
        """Return those of `blobs` that are not here yet."""
        return [blob for blob in blobs if not (self.folder / blob.sha256).is_file()]

    def part(self, blob: Blob) -> Path:
        """Return where the file grows while it comes."""
        return self.folder / f"{blob.sha256}.part"

    def settle(self, blob: Blob) -> Path:
        """Verify what came and give it its name; `Invalid` (and gone) when it is something else."""
        part = self.part(blob)
        digest = hashlib.sha256()
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            os.fsync(file.fileno())
        if digest.hexdigest() != blob.sha256:
            part.unlink()
            raise Invalid(f"The file {blob.name or blob.sha256} came with another content than its digest says")
        return part.replace(self.folder / blob.sha256)

    def collect(self, keep: set[str], *, older_than: float = 60.0) -> int:
        """Remove files that no wish names, unless they are very new; returns how many."""
        count = 0
        for path in self.folder.iterdir():
            if path.name.removesuffix(".part") not in keep and time.time() - path.stat().st_mtime > older_than:
                path.unlink(missing_ok=True)
                count += 1
        return count


def download(http: httpx.Client, blob: Blob, blobs: Blobs) -> Path:
    """Bring one file here, going on where an earlier try stopped (RFC 9110, 14.2)."""
    part = blobs.part(blob)
    have = part.stat().st_size if part.exists() else 0
    if have > blob.size:
        part.unlink()
        have = 0
    if have < blob.size or not part.exists():
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with http.stream("GET", f"/api/v1/edge/blobs/{blob.sha256}", headers=headers) as answer:
                if answer.status_code not in (200, 206):
                    answer.read()
                    raise refusal(answer)
                resumed = answer.status_code == 206 and _begins_at(answer) == have
                if answer.status_code == 206 and not resumed:
                    raise Rejected("The centre sent another part of the file than was asked for")
                _write(answer, part, have if resumed else 0, blob)
        except httpx.HTTPError as problem:
            raise Unavailable(
                f"The file {blob.name or blob.sha256} stopped coming: {type(problem).__name__}"
            ) from problem
    return blobs.settle(blob)


def _begins_at(answer: httpx.Response) -> int:
    text = answer.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdigit() else -1


def _write(answer: httpx.Response, part: Path, have: int, blob: Blob) -> None:
    with part.open("ab" if have else "wb") as file:
        for chunk in answer.iter_bytes(CHUNK):
            have += len(chunk)
            if have > blob.size:
                break
            file.write(chunk)
    if have != blob.size:
        if have > blob.size:
            part.unlink()
        raise Unavailable(f"The file {blob.name or blob.sha256} has {have} bytes so far, not {blob.size}")


@dataclass
class Try:
    """How fetching one file goes: under way, or failed with a problem and to be tried again at a time."""

    running: bool = True
    tries: int = 0
    problem: BreakwaterError | None = None
    again_at: float = 0.0


class Fetcher:
    """Brings missing files in threads of its own, so that nothing that could run now waits for the centre.

    It tries once for each `want`, with a pause that grows after failures; who still wants the file asks again.
    """

    def __init__(self, blobs: Blobs, identity: Callable[[], Identity | None]) -> None:
        self.blobs, self.identity = blobs, identity
        self._tries: dict[str, Try] = {}
        self._listeners: dict[str, set[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")

    def want(self, blob: Blob, told: Callable[[], None]) -> Try:
        """Ask for a file and return how it goes; `told` is called when the try that is under way has ended."""
        with self._lock:
            state = self._tries.setdefault(blob.sha256, Try(running=False))
            if state.running:
                self._listeners[blob.sha256].add(told)
            elif time.monotonic() >= state.again_at:
                state.running = True
                self._listeners[blob.sha256] = {told}
                self._pool.submit(self._bring, blob, state)
            return state

    def stop(self) -> None:
        """Begin no more tries."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _bring(self, blob: Blob, state: Try) -> None:
        problem: BreakwaterError | None = None
        try:
            identity = self.identity()
            if identity is None:
                raise Unavailable("This node has not joined a centre yet")
            with identity.http() as http:
                download(http, blob, self.blobs)
        except BreakwaterError as known:
            problem = known
        except OSError as trouble:
            problem = Unavailable(f"The node cannot store the file {blob.name or blob.sha256}: {trouble.strerror}")
        except Exception:
            logger.exception("fetching %s failed", blob.sha256)
            problem = Unavailable(f"Fetching {blob.name or blob.sha256} failed; the agent's log tells why")
        with self._lock:
            if problem is None:
                self._tries.pop(blob.sha256, None)
            else:
                state.running, state.problem = False, problem
                state.again_at = time.monotonic() + pause(state.tries, base=0.5)
                state.tries += 1
            listeners = self._listeners.pop(blob.sha256, set())
        for told in listeners:
            told()
