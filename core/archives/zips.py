"""Reading zip files (PKWARE APPNOTE 6.3.10) as the strictest of their readers would.

The central directory is what counts, and every local header must agree with it: an archive that
two programs read differently is refused (the lesson of the ZIP confusion attacks).
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO, ClassVar

from core.archives.base import CHUNK, Archive, Budget, Damaged, Limits, Member, printable
from core.words import say

_EOCD, _EOCD64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_STREAMED, _UTF8 = 1 << 3, 1 << 11
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
#: A data descriptor: signature, CRC and two sizes of eight bytes.
_DESCRIPTOR = 24


@dataclass(frozen=True, slots=True)
class _Entry:
    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


class ZipArchive(Archive):
    """A zip file. Members are stored or deflated; all else is a finding."""

    kind: ClassVar[str] = "zip"

    def __init__(self, file: IO[bytes], limits: Limits, budget: Budget, level: int = 0) -> None:
        super().__init__(file, limits, budget, level)
        self._length = file.seek(0, os.SEEK_END)
        start, size, count, end = self._directory()
        spans: list[tuple[int, int, int, str]] = []
        seen = 0
        try:
            for entry in self._entries(start, size):
                seen += 1
                self._consider(entry, spans, start)
        except Damaged as problem:
            if problem.finding != "too-many-members":
                raise
            self.problem(
                problem.finding,
                "",
                say("{detail} (it says {most})", detail=problem.detail, most=max(count, seen)),
                say("Ship fewer files"),
            )
            return
        if seen != count:
            self.problem(
                "directory-mismatch",
                "",
                say("The archive says that it has {count} members but lists {seen}", count=count, seen=seen),
            )
        self._check_spans(spans, start, end)
        self.finish()

    # The end of the file: where the directory is.

    def _directory(self) -> tuple[int, int, int, int]:
        """Return start, size and declared count of the central directory, and where the end records begin."""
        tail_at = max(0, self._length - 22 - _FULL16)
        tail = self._at(tail_at, self._length - tail_at)
        found = tail.rfind(_EOCD)
        # A comment may hold the signature too: take the last record whose comment ends where the file ends.
        at = found
        while at >= 0 and (
            len(tail) < at + 22 or at + 22 + int(struct.unpack_from("<H", tail, at + 20)[0]) != len(tail)
        ):
            at = tail.rfind(_EOCD, 0, at)
        if at < 0 and found >= 0 and len(tail) >= found + 22:
            at = found
            self.problem("trailing-data", "", say("There are bytes after the end of the archive"))
        if at < 0:
            raise Damaged("broken-zip", say("The zip has no end record: it is cut off or damaged"))
        if tail.find(_EOCD, at + 4) >= 0 and at != found:
            self.problem("ambiguous-zip", "", say("The archive has more than one end record"))
        disk, dir_disk, here, count, size, start, _ = struct.unpack_from("<4H2IH", tail, at + 4)
        end = tail_at + at
        if _FULL16 in (disk, dir_disk, here, count) or _FULL32 in (size, start):
            wide = self._directory64(end)
            if wide:
                start, size, count, end = wide
                disk = dir_disk = 0
                here = count
        if disk or dir_disk or here != count:
            raise Damaged("broken-zip", say("The zip is one of several parts"))
        if start + size > end:
            raise Damaged("broken-zip", say("The directory of the zip lies outside of the file"))
        if start + size < end:
            # Either bytes before the archive, which shift every offset, or bytes hidden before the end record.
            self.problem(
                "prepended-data", "", say("There are {end} bytes that belong to no member", end=end - start - size)
            )
            if self._at(start, 4) != _CENTRAL:
                start = end - size
        return start, size, count, end

    def _directory64(self, end: int) -> tuple[int, int, int, int] | None:
        locator = self._at(end - 20, 20) if end >= 20 else b""
        if locator[:4] != _LOCATOR:
            return None
        disk, at, disks = struct.unpack_from("<IQI", locator, 4)
        record = self._at(at, 56) if at + 56 <= end - 20 else b""
        if record[:4] != _EOCD64 or len(record) < 56 or disk or disks > 1:
            raise Damaged("broken-zip", say("The zip64 end record is damaged"))
        length, _, _, number, dir_disk, here, count, size, start = struct.unpack_from("<Q2H2I4Q", record, 4)
        if number or dir_disk or here != count or at + 12 + length != end - 20:
            raise Damaged("broken-zip", say("The zip64 end record is damaged"))
        return start, size, count, at

    # The central directory, entry by entry and never more of it in memory than one window.

    def _entries(self, start: int, size: int) -> Iterator[_Entry]:
        at, stop = start, start + size
        window, base = b"", start
        while at < stop:
            if at - base + 46 > len(window):
                window, base = self._at(at, min(CHUNK, stop - at)), at
            head = window[at - base : at - base + 46]
            if len(head) < 46 or head[:4] != _CENTRAL:
                raise Damaged("broken-zip", say("The directory of the zip is damaged"))
            flags, method = struct.unpack_from("<2H", head, 8)
            crc, packed, full, names, extras, notes, disk = struct.unpack_from("<3I4H", head, 16)
            external, offset = struct.unpack_from("<2I", head, 38)
            length = 46 + names + extras + notes
            if at + length > stop:
                raise Damaged("broken-zip", say("The directory of the zip is damaged"))
            if at - base + length > len(window):
                window, base = self._at(at, min(max(CHUNK, length), stop - at)), at
            inside = at - base + 46
            raw, extra = window[inside : inside + names], window[inside + names : inside + names + extras]
            name = self._decode(raw, flags, extra)
            if _FULL32 in (packed, full, offset) or disk == _FULL16:
                full, packed, offset, disk = self._wide(name, extra, full, packed, offset, disk)
            if disk:
                raise Damaged("broken-zip", say("The zip is one of several parts"))
            yield _Entry(raw, name, flags, method, crc, packed, full, offset, external >> 16)
            at += length

    def _decode(self, raw: bytes, flags: int, extra: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            if flags & _UTF8:
                self.problem("bad-name", raw.decode("cp437"), say("The name says that it is UTF-8 and is not"))
            name = raw.decode("cp437")
        other = _fields(extra).get(0x7075)
        if other is not None and other[5:] != raw and other[5:] != name.encode():
            # Info-ZIP's Unicode path: half of the readers believe it, half do not.
            self.problem("header-mismatch", name, say("The member has a second, different name"))
        return name

    def _wide(
        self, name: str, extra: bytes, full: int, packed: int, offset: int, disk: int
    ) -> tuple[int, int, int, int]:
        """Return the 64-bit values of APPNOTE 4.5.3: only those fields are present that are all ones."""
        field, at = _fields(extra).get(1, b""), 0
        values = []
        for value in (full, packed, offset):
            if value == _FULL32:
                if at + 8 > len(field):
                    raise Damaged(
                        "broken-zip", say("{name} lacks its zip64 sizes", name=printable(name)), printable(name)
                    )
                value, at = struct.unpack_from("<Q", field, at)[0], at + 8
            values.append(value)
        if disk == _FULL16:
            disk = struct.unpack_from("<I", field, at)[0] if at + 4 <= len(field) else 1
        return values[0], values[1], values[2], disk

    # Each entry against its local header.

    def _consider(self, entry: _Entry, spans: list[tuple[int, int, int, str]], directory: int) -> None:
        name, folder = entry.name, entry.name.endswith("/")
        kind = stat.S_IFMT(entry.mode)
        member = Member(name, entry.size, entry.packed, entry.offset, entry.method, entry.crc)
        if kind and not stat.S_ISREG(entry.mode) and not stat.S_ISDIR(entry.mode):
            what = say("a symbolic link") if stat.S_ISLNK(entry.mode) else say("a device or pipe")
            self.problem("unsafe-member", name, say("The member is {what}", what=what), say("Ship plain files"))
        elif folder and (entry.size or stat.S_ISREG(entry.mode)):
            self.problem("unsafe-member", name, say("The member is a folder and a file at once"))
        elif entry.flags & _ENCRYPTED:
            self.problem("encrypted-member", name, say("The member is encrypted"), say("Ship it in the clear"))
        elif entry.method not in (_STORED, _DEFLATED):
            self.problem(
                "unknown-compression",
                name,
                say("Compression method {method} is not read", method=entry.method),
                say("Use deflate"),
            )
        elif entry.method == _STORED and entry.size != entry.packed:
            self.problem("header-mismatch", name, say("The member is stored, but its two sizes differ"))
        else:
            data = self._local(entry)
            if data:
                self.admit(replace(member, data=data), folder=folder)
                slack = _DESCRIPTOR if entry.flags & _STREAMED else 0
                spans.append((entry.offset, data + entry.packed, slack, name))
                return
        self.count()
        header = self._at(entry.offset, 30) if entry.offset + 30 <= directory else b""
        if header[:4] == _LOCAL:
            data = entry.offset + 30 + sum(struct.unpack_from("<2H", header, 26))
            spans.append((entry.offset, data + entry.packed, _DESCRIPTOR if entry.flags & _STREAMED else 0, name))

    def _local(self, entry: _Entry) -> int:
        """Return where the data of `entry` starts; 0 when its local header says something else."""
        header = self._at(entry.offset, 30) if entry.offset + 30 <= self._length else b""
        if header[:4] != _LOCAL:
            self.problem("header-mismatch", entry.name, say("The directory points to where no member begins"))
            return 0
        flags, method = struct.unpack_from("<2H", header, 6)
        crc, packed, full, names, extras = struct.unpack_from("<3I2H", header, 14)
        rest = self._at(entry.offset + 30, names + extras)
        differs = []
        if rest[:names] != entry.raw:
            differs.append("name")
        if method != entry.method:
            differs.append("method")
        if (flags ^ entry.flags) & (_ENCRYPTED | _STREAMED | _UTF8):
            differs.append("flags")
        wide = _fields(rest[names:]).get(1, b"")
        if _FULL32 in (packed, full) and len(wide) >= 16:
            full, packed = struct.unpack_from("<2Q", wide)
        streamed = bool(entry.flags & _STREAMED)
        for what, there, here in (
            ("size", full, entry.size),
            ("packed size", packed, entry.packed),
            ("CRC", crc, entry.crc),
        ):
            if there != here and not (streamed and there == 0):
                differs.append(what)
        data: int = entry.offset + 30 + names + extras
        if data + entry.packed > self._length:
            differs.append("end")
        if differs:
            self.problem(
                "header-mismatch",
                entry.name,
                say("Local header and directory differ in {differs}", differs=", ".join(differs)),
                say("Write the zip with an ordinary tool"),
            )
            return 0
        return data

    def _check_spans(self, spans: list[tuple[int, int, int, str]], directory: int, end: int) -> None:
        at, slack, before = 0, 0, ""
        for start, stop, room, name in [*sorted(spans), (directory, end, 0, "")]:
            if start < at:
                self.problem(
                    "overlapping-members", name, say("The data overlaps that of {before}", before=printable(before))
                )
            elif start - at > slack:
                code = "hidden-data" if before or not name else "prepended-data"
                self.problem(
                    code, name, say("There are {start} bytes before it that belong to no member", start=start - at)
                )
            at, slack, before = max(at, stop), room, name

    # Data.

    def raw_chunks(self, member: Member) -> Iterator[bytes]:
        crc, produced = 0, 0
        for chunk in self._unpacked(member):
            produced += len(chunk)
            if produced > member.size:
                raise Damaged("member-lies", say("{name} unpacks to more than it says", name=member.name), member.name)
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if produced != member.size:
            raise Damaged("member-lies", say("{name} unpacks to less than it says", name=member.name), member.name)
        if crc != member.crc:
            raise Damaged(
                "crc-mismatch", say("{name} is damaged: its checksum is wrong", name=member.name), member.name
            )

    def _unpacked(self, member: Member) -> Iterator[bytes]:
        if member.method == _STORED:
            yield from self._packed(member)
            return
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for block in self._packed(member):
                while block:
                    chunk = inflate.decompress(block, CHUNK)
                    block = inflate.unconsumed_tail
                    if chunk:
                        yield chunk
                    elif not block:
                        break
                if inflate.eof:
                    break
            rest = inflate.flush() if inflate.eof else b""
        except zlib.error as problem:
            raise Damaged(
                "member-damaged", say("{name} cannot be unpacked", name=member.name), member.name
            ) from problem
        if rest:
            yield rest
        if not inflate.eof:
            raise Damaged("member-damaged", say("{name} is cut off", name=member.name), member.name)
        if inflate.unused_data:
            raise Damaged("hidden-data", say("{name} has bytes after its end", name=member.name), member.name)

    def _packed(self, member: Member) -> Iterator[bytes]:
        at, left = member.data, member.packed
        while left:
            block = self._at(at, min(left, CHUNK))
            if not block:
                raise Damaged("member-damaged", say("{name} is cut off", name=member.name), member.name)
            yield block
            at, left = at + len(block), left - len(block)

    def _at(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(length)


def _fields(extra: bytes) -> dict[int, bytes]:
    """Return the extra fields of a header by id; the first of each id counts."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        ident, length = struct.unpack_from("<2H", extra, at)
        fields.setdefault(ident, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields
