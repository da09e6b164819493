"""Files that arrive in parts: `BLOB_DIR/partial/<id>`, each with at most one writer at a time.

The writer holds the kernel's lock of the file (flock), so that a process that dies lets go at once, and so that nobody
writes any more when the file becomes one of the store. Where several machines share the folder their file system must
pass such locks on, as NFSv4 and CephFS do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from appstore.packages import blobs
from core import privately
from core.errors import Conflict, Invalid, TooLarge
from core.words import say

_CHUNK = 1 << 20


class Busy(Conflict):
    """Somebody writes to this upload already; the other writer ends, or its line does, and then there is room."""

    title, status, retryable = say("Somebody else is writing"), 423, True


class WrongChecksum(Invalid):
    """A part did not arrive as it was sent (tus, Checksum: 460)."""

    title = say("Checksum mismatch")
    status = 460


def path_of(upload_id: UUID) -> Path:
    """Return where the bytes of an upload are."""
    return Path(settings.BLOB_DIR) / "partial" / str(upload_id)


class Partial:
    """One file with its only writer: `write` parts, then `settle`; whatever happens, `close`."""

    def __init__(self, upload_id: UUID) -> None:
        self.upload_id, self.path = upload_id, path_of(upload_id)
        self.offset = self.size = self.limit = 0
        self._check: Any = None
        self._checksum = b""
        with blobs.disk_errors():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise Busy(
                say("Another request writes to this upload at the moment; ask for its offset and go on")
            ) from None
        except OSError:
            os.close(self._handle)
            raise
        self._open = True

    @property
    def present(self) -> int:
        """Bytes that the file has."""
        return os.fstat(self._handle).st_size

    def begin(self, offset: int, limit: int, *, algorithm: str = "", checksum: bytes = b"") -> None:
        """Go on behind `offset`; what a writer that died has left there is cut off. At most `limit` bytes in all."""
        with blobs.disk_errors():
            os.ftruncate(self._handle, offset)
            os.lseek(self._handle, offset, os.SEEK_SET)
        self.offset, self.size, self.limit = offset, offset, limit
        self._checksum = checksum
        self._check = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Add bytes; `TooLarge` when they are more than the file was said to have, and then none of this part counts."""
        if self.size + len(chunk) > self.limit:
            self.undo()
            raise TooLarge(
                say("More than the {limit} bytes that this upload was said to have", limit=self.limit), limit=self.limit
            )
        if self._check is not None:
            self._check.update(chunk)
        view = memoryview(chunk)
        with blobs.disk_errors():
            while view:
                view = view[os.write(self._handle, view) :]
        self.size += len(chunk)

    def settle(self) -> int:
        """Make what was written safe from a power cut and return the new offset; `WrongChecksum` keeps none of it."""
        if self._check is not None and self._check.digest() != self._checksum:
            self.undo()
            raise WrongChecksum(say("This part did not arrive as it was sent; send it again"))
        with blobs.disk_errors():
            os.fsync(self._handle)
            if not self.offset:
                privately.sync_folder(self.path.parent)
        return self.size

    @property
    def checked(self) -> bool:
        """Whether this part has a checksum, so that it counts whole or not at all."""
        return self._check is not None

    def undo(self) -> None:
        """Forget what was written since `begin`."""
        with blobs.disk_errors():
            os.ftruncate(self._handle, self.offset)
            os.lseek(self._handle, self.offset, os.SEEK_SET)
        self.size, self._check = self.offset, None

    def chunks(self) -> Iterator[bytes]:
        """Read the whole file in pieces."""
        place = 0
        while chunk := os.pread(self._handle, _CHUNK, place):
            place += len(chunk)
            yield chunk

    def remove(self) -> None:
        """Take the file away."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def close(self) -> None:
        """Let the next writer in."""
        if self._open:
            self._open = False
            os.close(self._handle)


def size_of(upload_id: UUID) -> int:
    """Return how many bytes lie on disk; 0 when there is no file."""
    with suppress(FileNotFoundError):
        return path_of(upload_id).stat().st_size
    return 0
