"""Files that only their owner reads: whole or not at all, and on the disk when a function returns."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def put_once(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 unless there is one of that name; of two that begin at once the first wins."""
    fresh = _fresh(path, content)
    try:
        # link() refuses an existing name.
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    _keep(path.parent)


def put(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 in the place of the one there, at one stroke: whoever reads finds one or the other."""
    fresh = _fresh(path, content)
    try:
        fresh.replace(path)
    except OSError:
        fresh.unlink()  # it may hold a key
        raise
    _keep(path.parent)


def _fresh(path: Path, content: bytes) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _keep(folder: Path) -> None:
    """Have the name on the disk, too: a database may be about to rely on it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
