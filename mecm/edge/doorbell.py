"""The doorbell: tells every process on this host that some node's wish changed, without a broker.

It is eight bytes in a file that all of them map into memory. Ringing writes bytes that were not there before;
listening compares them, which costs less than a microsecond. A lost ring costs the hub's next sweep.
"""

from __future__ import annotations

import mmap
import os
import secrets
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import transaction

SIZE = 8


class Doorbell:
    """One mapped file; `value()` differs after each `ring()`, in whichever process it was rung."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < SIZE:
                os.ftruncate(handle, SIZE)
            self._memory = mmap.mmap(handle, SIZE)
        finally:
            os.close(handle)

    def ring(self) -> None:
        """Make every listener look."""
        self._memory[:SIZE] = secrets.token_bytes(SIZE)

    def value(self) -> bytes:
        """Return the present bytes."""
        return self._memory[:SIZE]


def bell() -> Doorbell:
    """Return the doorbell of this installation."""
    return _at(Path(settings.VAR_DIR) / "edge.bell")


@cache
def _at(path: Path) -> Doorbell:
    return Doorbell(path)


def ring_on_commit() -> None:
    """Ring once the caller's transaction is visible to others."""
    transaction.on_commit(lambda: bell().ring())
