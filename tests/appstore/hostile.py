"""Archives that want to do harm, made byte by byte, and what each must be found out as."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.appstore.making import edgegallery, zip_bytes


@dataclass
class Entry:
    """One member of a zip, with every field that a liar may set apart in its two headers."""

    name: bytes
    data: bytes = b""
    method: int = 0
    size: int | None = None
    crc: int | None = None
    flags: int = 1 << 11
    mode: int = 0o100644
    local_name: bytes | None = None
    local_size: int | None = None
    local_method: int | None = None
    extra: bytes = b""
    at: int | None = None


def write_zip(*entries: Entry, before: bytes = b"", after: bytes = b"", count: int | None = None) -> bytes:
    """Write a zip as told, true or not."""
    out = bytearray(before)
    directory = bytearray()
    for entry in entries:
        size = len(entry.data) if entry.size is None else entry.size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        local = entry.name if entry.local_name is None else entry.local_name
        at = len(out) if entry.at is None else entry.at
        if entry.at is None:
            method = entry.method if entry.local_method is None else entry.local_method
            local_size = size if entry.local_size is None else entry.local_size
            out += struct.pack(
                "<4s5H3I2H", b"PK\3\4", 20, entry.flags, method, 0, 33, crc, len(entry.data), local_size, len(local), 0
            )
            out += local + entry.data
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 3 << 8 | 20, 20, entry.flags, entry.method, 0, 33, crc, len(entry.data), size,
            len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16, at,
        )  # fmt: skip
        directory += entry.name + entry.extra
    told = len(entries) if count is None else count
    told = min(told, 0xFFFF)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, told, told, len(directory), len(out), 0)
    return bytes(out + directory + end + after)


def zeros(mebibytes: int) -> bytes:
    """A deflate stream of that many MiB of zeros, made without making them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (mebibytes - 1) + packer.flush()


def bomb() -> bytes:
    """10 GiB that say that they are."""
    return write_zip(
        Entry(b"bomb.bin", zeros(2048), 8, size=2 << 30), Entry(b"rest.bin", zeros(4096), 8, size=0xFFFFFFF0)
    )


def lying_bomb() -> bytes:
    """10 GiB that say they are the manifest of a small package."""
    return write_zip(
        Entry(b"hello.mf", zeros(10240), 8, size=1000, crc=0),
        Entry(b"TOSCA-Metadata/TOSCA.meta", b"CSAR-Version: 1.1\n"),
    )


def gzip_bomb() -> bytes:
    """A chart of 10 GiB."""
    head = tarfile.TarInfo("chart/Chart.yaml")
    head.size = 10 << 30
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head.tobuf()) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + zeros(10240) + bytes(8)


def crowd(number: int = 100_000) -> bytes:
    """A zip of that many empty members, and a directory to match."""
    out, directory = bytearray(), bytearray()
    for index in range(number):
        name = b"%06d" % index
        directory += (
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0x81A40000, len(out))
            + name
        )
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 6, 0) + name
    start, size = len(out), len(directory)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, size, start, 0)
    return bytes(out + directory + end64 + locator + end)


def tar_of(*members: tarfile.TarInfo, packed: bool = True) -> bytes:
    """A tar with members that need no content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if packed else "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """One member."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def inside_csar(member: str, content: bytes) -> bytes:
    """An else right package in which one member is evil; its digest in the manifest is right."""
    from tests.appstore.making import edgegallery_files, manifest_of

    files = {**edgegallery_files(), member: content}
    return zip_bytes({"hello.mf": manifest_of(files), **files})


PNG = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000000010000000108060000001f15c489") + b"\0" * 40
_LINK = stat.S_IFLNK | 0o777

#: Name -> (how to make it, the finding that tells it).
ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent folder": (lambda: write_zip(Entry(b"../evil.txt", b"x")), "unsafe-path"),
    "parent folder inside": (lambda: write_zip(Entry(b"a/../../evil.txt", b"x")), "unsafe-path"),
    "absolute": (lambda: write_zip(Entry(b"/etc/evil.txt", b"x")), "unsafe-path"),
    "drive letter": (lambda: write_zip(Entry(b"C:evil.txt", b"x")), "unsafe-path"),
    "backslash": (lambda: write_zip(Entry(b"..\\evil.txt", b"x")), "unsafe-path"),
    "NUL": (lambda: write_zip(Entry(b"good.txt\0.exe", b"x")), "unsafe-path"),
    "no name": (lambda: write_zip(Entry(b"", b"x")), "unsafe-path"),
    "dotted steps": (lambda: write_zip(Entry(b"a/./b", b"x")), "unsafe-path"),
    "endless name": (lambda: write_zip(Entry(b"n" * 4000, b"x")), "name-too-long"),
    "endless step": (lambda: write_zip(Entry(b"a/" + b"n" * 300, b"x")), "name-too-long"),
    "deep path": (lambda: write_zip(Entry(b"a/" * 100 + b"b", b"x")), "path-too-deep"),
    "symlink": (lambda: write_zip(Entry(b"link", b"/etc/passwd", mode=_LINK)), "unsafe-member"),
    "device": (lambda: write_zip(Entry(b"null", mode=stat.S_IFCHR | 0o666)), "unsafe-member"),
    "pipe": (lambda: write_zip(Entry(b"pipe", mode=stat.S_IFIFO | 0o666)), "unsafe-member"),
    "folder with content": (lambda: write_zip(Entry(b"folder/", b"x", mode=0)), "unsafe-member"),
    "duplicate": (lambda: write_zip(Entry(b"a.txt", b"1"), Entry(b"a.txt", b"2")), "duplicate-member"),
    "duplicate by case": (lambda: write_zip(Entry(b"a.txt", b"1"), Entry(b"A.TXT", b"2")), "duplicate-member"),
    "duplicate by Unicode": (
        lambda: write_zip(Entry("é.txt".encode(), b"1"), Entry("e\u0301.txt".encode(), b"2")),
        "duplicate-member",
    ),
    "file and folder": (lambda: write_zip(Entry(b"a", b"1"), Entry(b"a/b", b"2")), "duplicate-member"),
    "folder and file": (lambda: write_zip(Entry(b"a/b", b"2"), Entry(b"a", b"1")), "duplicate-member"),
    "other local name": (lambda: write_zip(Entry(b"a.txt", b"1", local_name=b"b.txt")), "header-mismatch"),
    "other local size": (lambda: write_zip(Entry(b"a.txt", b"1", local_size=9)), "header-mismatch"),
    "other local method": (lambda: write_zip(Entry(b"a.txt", b"1", local_method=8)), "header-mismatch"),
    "second name": (
        lambda: write_zip(Entry(b"a.txt", b"1", extra=struct.pack("<2HBI", 0x7075, 10, 1, 0) + b"b.txt")),
        "header-mismatch",
    ),
    "stored with two sizes": (lambda: write_zip(Entry(b"a.txt", b"1", size=9)), "header-mismatch"),
    "points nowhere": (lambda: write_zip(Entry(b"a.txt", b"1", at=7)), "header-mismatch"),
    "encrypted": (lambda: write_zip(Entry(b"a.txt", b"1", flags=1 | 1 << 11)), "encrypted-member"),
    "unknown compression": (lambda: write_zip(Entry(b"a.txt", b"1", method=99)), "unknown-compression"),
    "overlap": (lambda: write_zip(Entry(b"a.txt", b"1" * 99), Entry(b"a.txt", b"1" * 99, at=0)), "overlapping-members"),
    "hidden member": (lambda: _with_gap(), "hidden-data"),
    "prepended data": (lambda: b"#!/bin/sh\n" + zip_bytes({"a.txt": "x"}), "prepended-data"),
    "trailing data": (lambda: zip_bytes({"a.txt": "x"}) + b"evil", "trailing-data"),
    "two ends": (lambda: _with_two_ends(), "ambiguous-zip"),
    "false count": (lambda: write_zip(Entry(b"a.txt", b"1"), count=7), "directory-mismatch"),
    "bomb": (bomb, "compression-bomb"),
    "crowd": (crowd, "too-many-members"),
}  # fmt: skip

#: What cannot be opened at all.
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut zip": (lambda: edgegallery()[:-40], "broken-zip"),
    "first half of a zip": (lambda: edgegallery()[:900], "broken-zip"),
    "damaged directory": (lambda: _damaged_directory(), "broken-zip"),
    "cut gzip": (lambda: tar_of(tar_member("a/b", size=5000))[:-30], "broken-gzip"),
    "garbage in gzip": (lambda: b"\x1f\x8b\x08\0" + b"garbage" * 99, "broken-gzip"),
    "PNG": (lambda: PNG, "not-an-archive"),
    "text": (lambda: b"hello " * 99, "not-an-archive"),
}

TARS: dict[str, tuple[Callable[[], bytes], str]] = {
    "parent folder": (lambda: tar_of(tar_member("../evil.txt")), "unsafe-path"),
    "absolute": (lambda: tar_of(tar_member("/etc/evil")), "unsafe-path"),
    "symlink": (lambda: tar_of(tar_member("link", tarfile.SYMTYPE, "/etc/passwd")), "unsafe-member"),
    "hard link": (lambda: tar_of(tar_member("link", tarfile.LNKTYPE, "/etc/passwd")), "unsafe-member"),
    "device": (lambda: tar_of(tar_member("null", tarfile.CHRTYPE)), "unsafe-member"),
    "pipe": (lambda: tar_of(tar_member("pipe", tarfile.FIFOTYPE)), "unsafe-member"),
    "duplicate": (lambda: tar_of(tar_member("a"), tar_member("A")), "duplicate-member"),
    "trailing data": (lambda: tar_of(tar_member("a"), packed=False) + b"evil", "trailing-data"),
    "cut": (lambda: tar_of(tar_member("a/b"), tar_member("a/c", size=5000), packed=False)[:3000], "broken-tar"),
    "bomb": (gzip_bomb, "compression-bomb"),
    "crowd": (lambda: tar_of(*(tar_member(f"m/{n}") for n in range(5000))), "too-many-members"),
}


def _with_gap() -> bytes:
    """A member between two others that the directory does not know."""
    whole = write_zip(Entry(b"a.txt", b"1"), Entry(b"evil.txt", b"2"), Entry(b"c.txt", b"3"))
    at = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 1)
    length = 46 + len(b"evil.txt")
    cut = bytearray(whole[:at] + whole[at + length :])
    end = cut.rindex(b"PK\5\6")
    size = struct.unpack_from("<I", cut, end + 12)[0] - length
    struct.pack_into("<2HI", cut, end + 8, 2, 2, size)
    return bytes(cut)


def _with_two_ends() -> bytes:
    """An archive whose comment is an archive."""
    inner = write_zip(Entry(b"other.txt", b"2"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "1")
        archive.comment = inner + b"."
    return out.getvalue()


def _damaged_directory() -> bytes:
    content = bytearray(edgegallery())
    at = content.rindex(b"PK\1\2")
    content[at : at + 4] = b"XXXX"
    return bytes(content)
