"""What zip and tar have in common: limits, the running budget, safe names, reading and copying of members."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from core.errors import Invalid
from core.findings import Finding, Level, blocking
from core.words import say

CHUNK = 1 << 20
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an untrusted archive may be. The defaults fit application packages with container images."""

    members: int = 4096
    total_bytes: int = 32 << 30
    member_bytes: int = 20 << 30
    #: Unpacked to packed, judged only for members larger than `ratio_floor`.
    ratio: int = 250
    ratio_floor: int = 16 << 20
    name_bytes: int = 512
    segment_bytes: int = 255
    depth: int = 16
    #: Archives inside archives are held in memory, so they are small and not nested deeper than this.
    nested_bytes: int = 64 << 20
    nested_depth: int = 2
    #: How often all of it may be read: once to check digests, once to store, once in reserve.
    passes: int = 3


class Damaged(Invalid):
    """The archive, or one member of it, cannot be read; `finding` is the stable code of the reason."""

    code, title = "damaged-archive", say("The file cannot be read as an archive")

    def __init__(self, finding: str, detail: str, place: str = "") -> None:
        super().__init__(detail, finding=finding, place=place)
        self.finding, self.place = finding, place


def finding_of(problem: Invalid, place: str = "") -> Finding:
    """Return the finding that stands for an error met while reading."""
    if isinstance(problem, Damaged):
        return Finding(
            Level.ERROR, problem.finding, problem.place or place, problem.detail, say("Build the package again")
        )
    return Finding(Level.ERROR, problem.code, place, problem.detail)


class Budget:
    """The unpacked bytes that one upload may still cost, shared by an archive and all archives inside it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.total_bytes * limits.passes

    def take(self, amount: int, place: str) -> None:
        """Count `amount` unpacked bytes; `Damaged` when there were too many."""
        self.left -= amount
        if self.left < 0:
            raise Damaged(
                "archive-too-large",
                say(
                    "The archive unpacks to more than the {total_bytes} bytes that are read of it",
                    total_bytes=self.limits.total_bytes,
                ),
                place,
            )


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive that is safe to read; `offset` is where its header lies."""

    name: str
    size: int
    packed: int
    offset: int
    method: int = 0
    crc: int | None = None
    #: Where the data starts, once known.
    data: int = 0


class Archive(ABC):
    """The members of one archive that are safe to read, and every problem found in its listing."""

    kind: ClassVar[str]

    def __init__(self, file: IO[bytes], limits: Limits, budget: Budget, level: int = 0) -> None:
        self.file, self.limits, self.budget, self.level = file, limits, budget, level
        self.members: dict[str, Member] = {}
        self.folders: set[str] = set()
        self.findings: list[Finding] = []
        self._keys: dict[str, str] = {}
        self._parents: set[str] = set()
        self._count = 0
        self._digests: dict[tuple[str, str], str] = {}

    @abstractmethod
    def raw_chunks(self, member: Member) -> Iterator[bytes]:
        """Yield the unpacked bytes of `member`; raises `Damaged` as soon as they differ from its header."""

    @property
    def sound(self) -> bool:
        """Whether the listing has no error: only then it is worth while to read large members."""
        return not blocking(self.findings)

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def names(self) -> list[str]:
        """Return the names of all readable files in the order of the archive."""
        return list(self.members)

    def under(self, prefix: str, suffix: str = "") -> list[str]:
        """Return the names of files below the folder `prefix` that end in `suffix` (case does not matter)."""
        prefix = prefix.rstrip("/") + "/" if prefix else ""
        return [n for n in self.members if n.startswith(prefix) and n.lower().endswith(suffix.lower())]

    def member(self, name: str) -> Member:
        """Return the member called `name`; `Damaged` when there is none."""
        try:
            return self.members[name]
        except KeyError:
            raise Damaged("member-missing", say("There is no {name} in the archive", name=name), name) from None

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member, counted against the budget and its declared size."""
        member = self.member(name)
        produced = 0
        for chunk in self.raw_chunks(member):
            produced += len(chunk)
            if produced > self.limits.member_bytes:
                raise Damaged(
                    "member-too-large",
                    say(
                        "{name} unpacks to more than {member_bytes} bytes",
                        name=name,
                        member_bytes=self.limits.member_bytes,
                    ),
                    name,
                )
            self.budget.take(len(chunk), name)
            yield chunk

    def read(self, name: str, *, at_most: int = CHUNK) -> bytes:
        """Return a small member whole; `Damaged` when it is larger than `at_most` bytes."""
        if self.member(name).size > at_most:
            raise Damaged(
                "member-too-large",
                say("{name} is larger than the {at_most} bytes that are read of it", name=name, at_most=at_most),
                name,
            )
        return b"".join(self.chunks(name))

    def sha256(self, name: str, algorithm: str = "sha256") -> str:
        """Return the hex digest of a member, streamed once."""
        known = self._digests.get((name, algorithm))
        if known is None:
            digest = hashlib.new(algorithm)
            for chunk in self.chunks(name):
                digest.update(chunk)
            known = self._digests[name, algorithm] = digest.hexdigest()
        return known

    def copy_member(self, name: str, target: Path, *, sha256: str = "") -> tuple[str, int]:
        """Write a member to `target` at once or not at all and return its digest and size.

        The bytes go to a temporary neighbour first. When `sha256` is given and differs, nothing is left.
        """
        digest, size = hashlib.sha256(), 0
        part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        try:
            with part.open("xb") as out:
                for chunk in self.chunks(name):
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            if sha256 and digest.hexdigest() != sha256.lower():
                raise Damaged(
                    "digest-mismatch", say("{name} does not have the SHA-256 it should have", name=name), name
                )
            part.replace(target)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        return digest.hexdigest(), size

    def nested(self, name: str) -> Archive:
        """Open an archive inside this one, in memory and on the same budget."""
        from core.archives import read_archive  # the kinds of archive are known there, and it imports this module

        if self.level + 1 > self.limits.nested_depth:
            raise Damaged(
                "archive-nested-too-deep", say("{name} is an archive inside too many archives", name=name), name
            )
        content = self.read(name, at_most=self.limits.nested_bytes)
        try:
            inner = read_archive(io.BytesIO(content), self.limits, self.budget)
        except Damaged as problem:
            raise Damaged(problem.finding, f"{name}: {problem.detail}", name) from problem
        inner.level = self.level + 1
        return inner

    # Listing: what both kinds do with each entry they meet.

    def problem(self, code: str, place: str, message: str, remedy: str = "Build the package again") -> None:
        """Note an error of the listing."""
        self.findings.append(Finding(Level.ERROR, code, printable(place), message, remedy))

    def count(self) -> None:
        """Count one entry, safe or not; `Damaged` when there are too many."""
        self._count += 1
        if self._count > self.limits.members:
            raise Damaged(
                "too-many-members", say("The archive has more than {members} members", members=self.limits.members)
            )

    def admit(self, member: Member, *, folder: bool) -> None:
        """Take an entry into the listing, or note why it is unsafe."""
        self.count()
        name, why = safe_name(member.name, self.limits)
        if why:
            self.problem(why[0], member.name, why[1], say("Name members by plain relative paths"))
            return
        if not name:
            return
        if not self._alone(name, folder=folder):
            return
        if folder:
            self.folders.add(name)
            return
        if member.size > self.limits.member_bytes:
            self.problem(
                "member-too-large",
                name,
                say("says that it unpacks to {size} bytes", size=member.size),
                say("Ship less"),
            )
            return
        if member.packed and member.size > self.limits.ratio_floor and member.size > self.limits.ratio * member.packed:
            self.problem(
                "compression-bomb",
                name,
                say("says that {packed} bytes unpack to {size}", packed=member.packed, size=member.size),
                say("Ship real content"),
            )
            return
        self.members[name] = (
            member
            if name == member.name
            else Member(name, member.size, member.packed, member.offset, member.method, member.crc, member.data)
        )

    def finish(self) -> None:
        """Check what only the whole listing shows."""
        total = sum(member.size for member in self.members.values())
        if total > self.limits.total_bytes:
            self.problem(
                "archive-too-large", "", say("says that it unpacks to {total} bytes", total=total), say("Ship less")
            )

    def _alone(self, name: str, *, folder: bool) -> bool:
        key = fold(name)
        first = self._keys.get(key)
        if first is not None and not (folder and first == name and name in self.folders):
            what = (
                say("is there twice")
                if first == name
                else say("differs from {first} only in case or Unicode form", first=printable(first))
            )
            self.problem("duplicate-member", name, what, say("Keep one of them"))
            return False
        if not folder and key in self._parents:
            self.problem("duplicate-member", name, say("It is a file and a folder"), say("Keep one of them"))
            return False
        self._keys[key] = name
        parent = key
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            self._parents.add(parent)
            other = self._keys.get(parent)
            if other is not None and other in self.members:
                self.problem(
                    "duplicate-member",
                    name,
                    say("{other} is a file and a folder", other=printable(other)),
                    say("Keep one of them"),
                )
                return False
        return True


def fold(name: str) -> str:
    """Return the form in which two names are the same on some file system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def printable(text: str) -> str:
    """Return `text` fit for a finding: no control characters, not endless."""
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:300])
    return clean + ("…" if len(text) > 300 else "")


def safe_name(name: str, limits: Limits) -> tuple[str, tuple[str, str] | None]:
    """Return the name as a relative path, or the code and the sentence that say why it is unsafe."""
    if len(name.encode("utf-8", "surrogatepass")) > limits.name_bytes:
        return "", ("name-too-long", f"The name is longer than {limits.name_bytes} bytes")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "", ("unsafe-path", "The name holds control characters")
    if "\\" in name or name.startswith("/") or _DRIVE.match(name):
        return "", ("unsafe-path", "The name is an absolute path or one of another system")
    segments = name.removeprefix("./").rstrip("/").split("/")
    if segments in ([""], ["."]):
        return "", None if name in (".", "./") else ("unsafe-path", "The name is empty")
    if ".." in segments:
        return "", ("unsafe-path", "The name leads out of the archive")
    if any(s in ("", ".") for s in segments):
        return "", ("unsafe-path", "The name has empty or dotted steps")
    if len(segments) > limits.depth:
        return "", ("path-too-deep", f"The path is deeper than {limits.depth} folders")
    if any(len(s.encode()) > limits.segment_bytes for s in segments):
        return "", ("name-too-long", f"A step of the path is longer than {limits.segment_bytes} bytes")
    return "/".join(segments), None


def joined(parts: Iterable[str]) -> str:
    """Join path steps, leaving out empty ones."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
