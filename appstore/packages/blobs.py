"""The store of files by content: `BLOB_DIR/sha256/ab/abcdef…`. A file that is there is whole, and never changes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q

from core import privately
from core.errors import Invalid, TooLarge, Unavailable
from core.words import say

_DIGEST = re.compile(r"^[0-9a-f]{64}\Z")
_CHUNK = 1 << 20
#: The disk is told to write every so often, so that it never owes more than this and the last sync is short.
_FLUSH_EVERY = 64 << 20
#: Files that nobody names are kept for this long: somebody may be about to.
GRACE = 24 * 3600.0


def path_of(sha256: str) -> Path:
    """Return where the file with that digest is, or would be."""
    if not _DIGEST.match(sha256):
        raise Invalid(say("That is not a SHA-256 digest in lower-case hex"))
    return Path(settings.BLOB_DIR) / "sha256" / sha256[:2] / sha256


class Incoming:
    """A file on its way into the store: written chunk by chunk, hashed as it runs."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path, self.limit = path, limit
        self.size = 0
        self._digest = hashlib.sha256()
        self._file = path.open("xb", buffering=0)
        self._owed = 0
        self._kept = False

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Add bytes; `TooLarge` as soon as there are more than the limit."""
        if self.limit is not None and self.size + len(chunk) > self.limit:
            raise TooLarge(
                say("The file is larger than the {limit} bytes that are taken", limit=self.limit), limit=self.limit
            )
        self._digest.update(chunk)
        view = memoryview(chunk)
        with disk_errors():
            while view:
                view = view[self._file.write(view) :]
        self.size += len(chunk)
        self._owed += len(chunk)
        if self._owed >= _FLUSH_EVERY:
            self._owed = 0
            _start_writeback(self._file.fileno())

    def keep(self, *, expected: str = "") -> tuple[str, int]:
        """Put the file under its digest, safe from a power cut, and return digest and size.

        `Invalid` when the sender expected another digest; then nothing is kept.
        """
        digest = self._digest.hexdigest()
        if expected and expected.lower() != digest:
            raise Invalid(say("The file did not arrive as it was sent: its SHA-256 is another"), sha256=digest)
        with disk_errors():
            self._place(path_of(digest))
        return digest, self.size

    def _place(self, target: Path) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.utime(target)  # so that the garbage sweep takes it for new
            if target.exists():
                self.path.unlink()
                self._kept = True
                return
        self.path.chmod(0o444)
        self.path.replace(target)
        self._kept = True
        privately.sync_folder(target.parent)

    def abandon(self) -> None:
        """Forget the file unless it was kept."""
        self._file.close()
        if not self._kept:
            with suppress(FileNotFoundError):
                self.path.unlink()


@contextmanager
def disk_errors() -> Iterator[None]:
    """Translate what a full or broken disk raises."""
    try:
        yield
    except OSError as problem:
        raise Unavailable(
            say("The store cannot write at the moment: {strerror}", strerror=problem.strerror or problem)
        ) from problem


def begin(limit: int | None = None) -> Incoming:
    """Return a new file on its way in; whoever begins must `keep` or `abandon` it."""
    folder = Path(settings.BLOB_DIR) / "incoming"
    with disk_errors():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Incoming(folder / f"{secrets.token_hex(16)}.part", limit)


@contextmanager
def incoming(limit: int | None = None) -> Iterator[Incoming]:
    """Receive one file: `write` chunks, then `keep`. Leaving without `keep` leaves nothing."""
    file = begin(limit)
    try:
        yield file
    finally:
        file.abandon()


def store(source: Path | Iterable[bytes], *, limit: int | None = None, expected: str = "") -> tuple[str, int]:
    """Store a file or a stream of chunks; return its SHA-256 and size. What fails half way leaves nothing."""
    with incoming(limit) as file:
        for chunk in _read(source) if isinstance(source, Path) else source:
            file.write(chunk)
        return file.keep(expected=expected)


def adopt(path: Path, sha256: str) -> None:
    """Put a whole file of this disk, whose digest the caller has verified, into the store; `path` is gone then."""
    target = path_of(sha256)
    with disk_errors():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.chmod(0o444)
        # Over a file that is there: it has the same bytes, and is now as new as the garbage sweep should think.
        path.replace(target)
        os.utime(target)
        privately.sync_folder(target.parent)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def collect_garbage(grace: float = GRACE) -> int:
    """Remove files that nothing names and that nobody touched for `grace` seconds; return how many."""
    from appstore.packages.models import Blob  # this module is also used where models are not loaded yet

    old = time.time() - grace
    removed = 0
    # Whatever points to a file of the store needs it: packages, and rows of topics above.
    named = Q()
    for relation in Blob._meta.related_objects:
        named |= Q(**{f"{relation.field.related_query_name()}__isnull": False})
    for part in (Path(settings.BLOB_DIR) / "incoming").glob("*.part"):
        removed += _remove_if_old(part, old)
    for folder in (Path(settings.BLOB_DIR) / "sha256").glob("??"):
        names = {path.name: path for path in folder.iterdir() if _DIGEST.match(path.name)}
        used: set[str] = set(Blob.objects.filter(named, sha256__in=names).values_list("sha256", flat=True))
        for name in names.keys() - used:
            if _remove_if_old(names[name], old):
                removed += 1
                Blob.objects.filter(~named, sha256=name).delete()
    return removed


def _remove_if_old(path: Path, old: float) -> bool:
    """Remove a file unless it was touched lately; looked at again once it cannot be found any more by others."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime >= old:
            return False
        trash = path.with_name(f".{path.name}.{secrets.token_hex(4)}.trash")
        path.rename(trash)
        if trash.stat().st_mtime >= old:
            trash.rename(path)
            return False
        trash.unlink()
        return True
    return False


def _start_writeback(handle: int) -> None:
    """Let the disk work while the network does; a hint that may be missing."""
    advise: Any = getattr(os, "posix_fadvise", None)
    if advise is not None:
        with suppress(OSError):
            advise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
