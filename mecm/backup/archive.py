"""The file of a backup: a tar whose last member, the manifest, names every other one with its SHA-256.

What was broken off has no manifest, so it can be taken for nothing else; what was changed has another digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from core.errors import Conflict, Invalid
from core.words import say

FORMAT, VERSION = "breakwater-backup", 1
MANIFEST = "manifest.json"
_CHUNK = 1 << 20
#: A manifest names every stored file: room for a million.
_LONGEST_MANIFEST = 256 << 20


class Writer:
    """A backup on its way: members are hashed as they are written; `finish` makes it whole, anything else nothing."""

    def __init__(self, target: Path, *, replace: bool = False) -> None:
        if target.exists() and not replace:
            raise Conflict(say("{target} is there already; say --replace, or give another name", target=target))
        self.target, self._replace = target, replace
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        # A backup holds what nobody else should read.
        handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self.members: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def add_file(self, name: str, path: Path, *, expected: str = "") -> None:
        """Add a file; `Invalid` when it is not the content that its digest says."""
        with path.open("rb") as source:
            self._add(name, source, os.fstat(source.fileno()).st_size, expected)

    def add(self, name: str, content: bytes) -> None:
        """Add bytes."""
        self._add(name, io.BytesIO(content), len(content), "")

    def finish(self, facts: dict[str, Any]) -> str:
        """Write the manifest, bring the file safely to disk and give it its name; returns the manifest's SHA-256."""
        manifest = {"format": FORMAT, "version": VERSION, **facts, "members": self.members}
        content = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=1).encode()
        self._add(MANIFEST, io.BytesIO(content), len(content), "")
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._replace:
            self._part.replace(self.target)
        else:
            try:
                os.link(self._part, self.target)  # refuses a name that somebody else took meanwhile
            except FileExistsError:
                raise Conflict(say("{target} was made by somebody else meanwhile", target=self.target)) from None
        folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return hashlib.sha256(content).hexdigest()

    def _add(self, name: str, source: IO[bytes], size: int, expected: str) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, int(time.time())
        hashed = _Hashed(source)
        try:
            self._tar.addfile(member, hashed)  # type: ignore[arg-type]
        except OSError as problem:
            if problem.errno is None:
                raise Invalid(say("{name} became shorter while it was read", name=name)) from None
            raise
        digest = hashed.digest.hexdigest()
        if expected and digest != expected:
            raise Invalid(
                say(
                    "The stored file {expected} is damaged: its SHA-256 is another. Nothing was written.",
                    expected=expected,
                )
            )
        self.members[name] = {"size": size, "sha256": digest}


class _Hashed:
    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.digest = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self.digest.update(chunk)
        return chunk


class Reader:
    """A backup that is there: `manifest` is believed only as far as `verify` found every member as it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._tar = tarfile.open(path, mode="r:")  # noqa: SIM115
            self._found = {member.name: member for member in self._tar}
        except tarfile.TarError:
            raise Invalid(say("{path} is no backup of ours, or it was broken off", path=path)) from None
        last = self._found.get(MANIFEST)
        if last is None or next(reversed(self._found)) != MANIFEST or last.size > _LONGEST_MANIFEST:
            raise Invalid(say("{path} is no whole backup: it has no manifest at its end", path=path))
        content = self._stream(MANIFEST).read()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(content)
            known = self.manifest["format"] == FORMAT and self.manifest["version"] == VERSION
            self.members: dict[str, dict[str, Any]] = dict(self.manifest["members"])
        except (ValueError, KeyError, TypeError):
            raise Invalid(say("The manifest of {path} cannot be read", path=path)) from None
        if not known:
            raise Invalid(
                say(
                    "{path} was written in a form that this Breakwater does not know; take the one that wrote it",
                    path=path,
                )
            )
        if set(self.members) != set(self._found) - {MANIFEST}:
            raise Invalid(say("{path} does not hold what its manifest says", path=path))

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def verify(self, tell: Callable[[str], None] = lambda name: None) -> None:
        """Read every member and compare its digest; `Invalid` names the first that is damaged."""
        for name in self.members:
            for _ in self.chunks(name):
                pass
            tell(name)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member's bytes; `Invalid` at its end when they are not what the manifest says."""
        digest, source = hashlib.sha256(), self._stream(name)
        size = 0
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        wanted = self.members[name]
        if digest.hexdigest() != wanted["sha256"] or size != wanted["size"]:
            raise Invalid(say("{path} is damaged: {name} is not what was backed up", path=self.path, name=name))

    def read(self, name: str) -> bytes:
        """Return a small member whole."""
        return b"".join(self.chunks(name))

    def extract(self, name: str, target: Path) -> None:
        """Write a member to a new file; what turns out to be damaged leaves none."""
        try:
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for chunk in self.chunks(name):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(FileNotFoundError):
                target.unlink()
            raise

    def _stream(self, name: str) -> IO[bytes]:
        member = self._found.get(name)
        found = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if found is None:
            raise Invalid(say("{path} does not hold {name}", path=self.path, name=name))
        return found


@contextmanager
def told_of_disks() -> Iterator[None]:
    """Say in words what a disk or a folder refuses."""
    try:
        yield
    except OSError as problem:
        raise Conflict(f"{problem.filename or 'The disk'}: {problem.strerror or problem}") from problem
