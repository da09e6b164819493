"""Safe reading of untrusted zip and tar(.gz) files.

`open_archive(path)` lists the members that are safe to read and every problem as a finding, all at
once; nothing is ever extracted by itself. Members are streamed under one running budget, so that
neither a lying header nor a nest of archives can grow into a bomb. What cannot be read at all
raises `core.errors.Invalid`, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from core.archives.base import Archive, Budget, Damaged, Limits, Member, finding_of
from core.archives.tars import TarArchive
from core.archives.zips import ZipArchive
from core.errors import Invalid
from core.words import say

__all__ = [
    "Archive",
    "Budget",
    "Damaged",
    "Limits",
    "Member",
    "TarArchive",
    "ZipArchive",
    "finding_of",
    "open_archive",
    "read_archive",
    "sniff",
]


def sniff(file: IO[bytes]) -> str:
    """Return `zip`, `gzip`, `tar` or an empty word for the content of `file`; the position is kept."""
    at = file.tell()
    head = file.read(512)
    file.seek(at)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"):
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[257:262] == b"ustar":
        return "tar"
    return ""


def read_archive(file: IO[bytes], limits: Limits | None = None, budget: Budget | None = None) -> Archive:
    """Return the archive in the seekable `file`; `Damaged` when it is none. The file stays the caller's to close."""
    limits = limits or Limits()
    budget = budget or Budget(limits)
    kind = sniff(file)
    if kind == "zip":
        return ZipArchive(file, limits, budget)
    if kind in ("gzip", "tar"):
        return TarArchive(file, limits, budget, packed=kind == "gzip")
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise Damaged("empty-file", say("The file is empty"))
    # Some writers put bytes before a zip. Whoever reads from the end still sees a zip, so say what it is.
    with suppress(Damaged):
        return ZipArchive(file, limits, budget)
    raise Damaged("not-an-archive", say("The file is neither a zip nor a tar archive"))


@contextmanager
def open_archive(path: Path, limits: Limits | None = None, budget: Budget | None = None) -> Iterator[Archive]:
    """Open the archive at `path` for the length of a `with` block.

    >>> with open_archive(Path("app.csar")) as archive:
    ...     manifest = archive.read("app.mf", at_most=1 << 20)
    """
    try:
        file = path.open("rb")
    except OSError as problem:
        raise Invalid(say("The file cannot be opened: {strerror}", strerror=problem.strerror or problem)) from problem
    with file:
        yield read_archive(file, limits, budget)
