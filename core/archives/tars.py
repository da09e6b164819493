"""Reading tar and tar.gz files: ustar, GNU long names and pax headers (POSIX.1-2017), plain files and folders only."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import IO, ClassVar

from core.archives.base import CHUNK, Archive, Budget, Damaged, Limits, Member
from core.words import say

_BLOCK = 512
_LONGEST_HEADER = 1 << 16
_FILES, _FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"0\0" + b"7", b"5", b"L", b"K", b"x", b"g"
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}


class _Plain:
    """The bytes of an uncompressed tar."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.length = file.seek(0, os.SEEK_END)
        self.at = 0

    def seek(self, offset: int) -> None:
        if offset > self.length:
            raise Damaged("broken-tar", say("The tar is cut off"))
        self.at = offset

    def read(self, size: int) -> bytes:
        self.file.seek(self.at)
        data = self.file.read(size)
        self.at += len(data)
        return data


class _Gzip:
    """The unpacked bytes of a gzip file, read forward; going back starts again. Every byte is counted once a pass."""

    def __init__(self, file: IO[bytes], limits: Limits, budget: Budget) -> None:
        self.file, self.limits, self.budget = file, limits, budget
        self._restart()

    def _restart(self) -> None:
        self.file.seek(0)
        self.at = self.eaten = 0
        self.rest = b""
        self.inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.over = False

    def seek(self, offset: int) -> None:
        if offset < self.at:
            self._restart()
        while self.at < offset:
            if not self.read(min(CHUNK, offset - self.at)):
                raise Damaged("broken-tar", say("The tar is cut off"))

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        wanted = size
        while wanted and not self.over:
            chunk = self._step(wanted)
            parts.append(chunk)
            wanted -= len(chunk)
        return b"".join(parts)

    def _step(self, wanted: int) -> bytes:
        if not self.rest:
            self.rest = self.file.read(1 << 16)
            self.eaten += len(self.rest)
            if not self.rest:
                raise Damaged("broken-gzip", say("The gzip file is cut off"))
        try:
            chunk = self.inflate.decompress(self.rest, wanted)
        except zlib.error as problem:
            raise Damaged("broken-gzip", say("The gzip file cannot be unpacked")) from problem
        self.rest = self.inflate.unconsumed_tail
        self.at += len(chunk)
        self.budget.take(len(chunk), "")
        if self.at > self.limits.ratio_floor and self.at > self.limits.ratio * self.eaten:
            raise Damaged(
                "compression-bomb", say("{eaten} bytes unpack to {at} and more", eaten=self.eaten, at=self.at)
            )
        if self.inflate.eof:
            self.rest = self.inflate.unused_data or self.file.read(1 << 16)
            if self.rest:  # RFC 1952, 2.2: a gzip file is a series of members
                self.inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            else:
                self.over = True
        return chunk


class TarArchive(Archive):
    """A tar file, gzipped or not."""

    kind: ClassVar[str] = "tar"

    def __init__(
        self, file: IO[bytes], limits: Limits, budget: Budget, level: int = 0, *, packed: bool = False
    ) -> None:
        super().__init__(file, limits, budget, level)
        self._bytes: _Plain | _Gzip = _Gzip(file, limits, budget) if packed else _Plain(file)
        try:
            self._list()
        except Damaged as problem:
            if problem.finding in ("broken-gzip", "broken-tar") and not self._count:
                raise
            self.problem(problem.finding, problem.place, problem.detail)
        self.finish()

    def _list(self) -> None:
        at, long_name = 0, ""
        pax: dict[str, str] = {}
        while True:
            self._bytes.seek(at)
            header = self._bytes.read(_BLOCK)
            if len(header) < _BLOCK:
                raise Damaged("broken-tar", say("The tar is cut off"))
            if not any(header):
                break
            if not _checksum_fits(header):
                raise Damaged("broken-tar", say("A header of the tar is damaged"))
            kind = header[156:157]
            size = _number(header[124:136])
            at += _BLOCK
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                if size > _LONGEST_HEADER:
                    raise Damaged("broken-tar", say("An extended header of the tar is far too long"))
                body = self._bytes.read(size)
                if kind == _LONG_NAME:
                    long_name = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
                elif kind == _PAX:
                    pax = _pax(body)
                elif kind == _PAX_GLOBAL and {"path", "size"} & set(_pax(body)):
                    raise Damaged("broken-tar", say("A global header of the tar renames or resizes members"))
            else:
                name = pax.get("path") or long_name or _name(header)
                if "size" in pax:
                    size = int(pax["size"]) if pax["size"].isdecimal() and len(pax["size"]) < 20 else -1
                if size < 0:
                    raise Damaged("broken-tar", say("A header of the tar is damaged"))
                self._take(header, kind, name, size, at, sparse=any(key.startswith("GNU.sparse") for key in pax))
                long_name, pax = "", {}
                if kind == _FOLDER or kind in _KINDS:
                    size = 0  # POSIX: these carry no data, whatever the size field says
            at += -(-size // _BLOCK) * _BLOCK
        self._check_end()

    def _take(self, header: bytes, kind: bytes, name: str, size: int, at: int, *, sparse: bool) -> None:
        if kind == _FOLDER or (kind in (b"0", b"\0") and name.endswith("/")):
            if size:
                self.problem("unsafe-member", name, say("The member is a folder and a file at once"))
            self.admit(Member(name, 0, 0, at), folder=True)
            return
        if kind not in _FILES or sparse:
            what = say("a sparse file") if sparse else _KINDS.get(kind, f"of the unknown type {kind!r}")
            self.problem("unsafe-member", name, say("The member is {what}", what=what), say("Ship plain files"))
            self.count()
            return
        if isinstance(self._bytes, _Plain) and at + size > self._bytes.length:
            raise Damaged("broken-tar", say("The tar is cut off"))
        self.admit(Member(name, size, 0, at - _BLOCK, data=at), folder=False)

    def _check_end(self) -> None:
        """After the empty block nothing but empty blocks may come: some readers would go on there."""
        while block := self._bytes.read(CHUNK):
            if block.strip(b"\0"):
                self.problem("trailing-data", "", say("There are bytes after the end of the archive"))
                return

    def raw_chunks(self, member: Member) -> Iterator[bytes]:
        self._bytes.seek(member.data)
        left, at = member.size, member.data
        while left:
            if self._bytes.at != at:  # another member was read in between
                self._bytes.seek(at)
            chunk = self._bytes.read(min(CHUNK, left))
            if not chunk:
                raise Damaged("member-damaged", say("{name} is cut off", name=member.name), member.name)
            left, at = left - len(chunk), at + len(chunk)
            yield chunk


def _checksum_fits(header: bytes) -> bool:
    """The sum of all bytes, the checksum field counted as blanks; old writers summed signed bytes."""
    told = _number(header[148:156])
    plain = header[:148] + b" " * 8 + header[156:]
    unsigned = sum(plain)
    return told == unsigned or told == unsigned - 256 * sum(byte > 127 for byte in plain)


def _number(field: bytes) -> int:
    """Return an octal or base-256 number field; -1 when it is neither."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip(b" ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return -1


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return name.decode("utf-8", "surrogateescape")


def _pax(body: bytes) -> dict[str, str]:
    """Return the records of a pax header: `length key=value newline`."""
    records: dict[str, str] = {}
    while body.strip(b"\0"):
        length, _, _ = body.partition(b" ")
        size = int(length) if length.isdigit() and len(length) < 8 else 0
        record = body[len(length) + 1 : size]
        if size <= len(length) + 1 or size > len(body) or not record.endswith(b"\n") or b"=" not in record:
            raise Damaged("broken-tar", say("An extended header of the tar is damaged"))
        key, _, value = record[:-1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        body = body[size:]
    return records
