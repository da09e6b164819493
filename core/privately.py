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
    sync_folder(path.parent)


def put(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 in the place of the one there, at one stroke: whoever reads finds one or the other."""
    fresh = _fresh(path, content)
    try:
        fresh.replace(path)
    except OSError:
        fresh.unlink()  # it may hold a key
        raise
    sync_folder(path.parent)


def _fresh(path: Path, content: bytes) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        fresh.unlink(missing_ok=True)  # a full disk leaves no part of a secret
        raise
    return fresh


def sync_folder(folder: Path) -> None:
    """Have the names of a folder on the disk, too: a database may be about to rely on them."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
