"""NFV-SOL 004 option 2: a zip with one CSAR, a CMS signature of it, and perhaps the signer's certificate beside.

The package inside is read as if it were alone; its signature is the one beside it, over each of its bytes. The inner file
is read where it lies when the outer zip only stores it, else unpacked to a temporary file: never whole in memory.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from appstore.packages import cms, signatures
from appstore.packages.formats.contract import Reading
from core.archives import Archive, Damaged, Limits, open_archive, read_archive
from core.findings import Finding, Level
from core.words import say

_SIGNATURE, _CERTIFICATE = (".cms", ".p7s", ".sig"), (".cert", ".crt", ".cer", ".pem")
_END = b"-----END CERTIFICATE-----\n"


@dataclass(slots=True)
class Enclosure:
    """The outer zip: which member is the package, which its signature, which the certificate (may be empty)."""

    archive: Archive
    package: str
    signature: str
    certificate: str
    _digests: dict[str, bytes]

    def digest(self, algorithm: str) -> bytes:
        """Return the digest of the package inside; streamed, once for each algorithm."""
        if algorithm not in self._digests:
            digest = hashlib.new(algorithm)
            for chunk in self.archive.chunks(self.package):
                digest.update(chunk)
            self._digests[algorithm] = digest.digest()
        return self._digests[algorithm]


@dataclass(slots=True)
class Opened:
    """A package that was opened: the archive whose members it has, and what it lies in, if anything."""

    archive: Archive
    enclosure: Enclosure | None = None


@contextmanager
def open_package(path: Path, limits: Limits | None = None) -> Iterator[Opened]:
    """Open a package for the length of a `with` block, also one that lies in a zip beside its signature.

    Whoever wants the members of a package opens it by this. `Damaged` when it cannot be read as an archive.
    """
    with open_archive(path, limits) as outer:
        enclosure = enclosure_of(outer)
        if enclosure is None:
            yield Opened(outer)
            return
        with _inner(enclosure, path) as file:
            inner = read_archive(file, outer.limits, outer.budget)
            inner.findings[:0] = outer.findings
            yield Opened(inner, enclosure)


def enclosure_of(archive: Archive) -> Enclosure | None:
    """Return what the parts of an option 2 zip are; None for anything else, also for one with a file too many."""
    if archive.kind != "zip" or not 2 <= len(archive.members) <= 3:
        return None
    names = archive.names()
    packages = [n for n in names if n.lower().endswith(".csar")]
    signed = [n for n in names if n.lower().endswith(_SIGNATURE)]
    certificates = [n for n in names if n.lower().endswith(_CERTIFICATE)]
    if (len(packages), len(signed)) != (1, 1) or len(names) != 2 + len(certificates):
        return None
    return Enclosure(archive, packages[0], signed[0], next(iter(certificates), ""), {})


def judge(enclosure: Enclosure, reading: Reading) -> None:
    """Put the signature beside the package into its reading. A broken one inside stays an error, a right one is told."""
    found = [f for f in reading.findings if f.code not in ("signature-missing", "signer-unknown")]
    try:
        der, loose = _block(enclosure.archive.read(enclosure.signature, at_most=cms.LONGEST))
        if enclosure.certificate:
            beside, untidy = _certificates(enclosure.archive.read(enclosure.certificate, at_most=cms.LONGEST))
            der, loose = cms.with_certificates(der, beside), loose or untidy
        signature, remarks = signatures.verify_whole(der, enclosure.digest, enclosure.signature, loose=loose)
    except cms.Refused as why:
        signature, remarks = signatures.broken(str(why), enclosure.signature)
    except Damaged as problem:
        signature, remarks = signatures.broken(problem.detail, problem.place or enclosure.signature)
    except cms.UNREADABLE:
        signature, remarks = signatures.broken("it cannot be read", enclosure.certificate or enclosure.signature)
    if reading.signature.state == "valid":
        found.append(
            Finding(
                Level.INFO,
                "signature-twice",
                enclosure.signature,
                say("The package is signed inside, too; the signature around it counts, because it covers every byte"),
            )
        )
    if enclosure.archive.findings:
        found += [f for f in enclosure.archive.findings if f not in found]
    reading.findings[:] = [*found, *remarks]
    reading.signature = signatures.covering(signature, len(enclosure.archive.members), [])


def _block(content: bytes) -> tuple[bytes, str]:
    """Return the DER of a signature file: DER itself, or PEM."""
    if content[:1] == b"\x30":
        return content, ""
    try:
        return cms.unarmoured(content.decode("ascii"))
    except UnicodeDecodeError as problem:
        raise cms.Refused("it is neither DER nor PEM") from problem


def _certificates(content: bytes) -> tuple[list[bytes], str]:
    """Return the certificates of the file beside, DER: one in DER, or one or more in PEM."""
    if content[:1] == b"\x30":
        return [content], ""
    pieces = content.split(_END)
    read = [_block(piece + _END) for piece in pieces[:-1][: cms.MOST_CERTIFICATES]]
    if not read:
        raise cms.Refused("the certificate beside is neither DER nor PEM")
    untidy = next((loose for _, loose in read if loose), "")
    return [der for der, _ in read], untidy or (
        "" if not pieces[-1].strip() else "there is text after the certificates"
    )


@contextmanager
def _inner(enclosure: Enclosure, path: Path) -> Iterator[Any]:
    member = enclosure.archive.member(enclosure.package)
    if member.method == 0 and member.size == member.packed:
        with path.open("rb", buffering=0) as whole:
            yield io.BufferedReader(_Window(whole, member.data, member.size))
        return
    # The folder of incoming files lies on the disk that has room for packages; the temporary folder may not.
    with tempfile.TemporaryFile(dir=_roomy(path)) as file:
        for chunk in enclosure.archive.chunks(enclosure.package):
            file.write(chunk)
        file.seek(0)
        yield file


def _roomy(path: Path) -> Path | None:
    incoming = path.parent.parent.parent / "incoming"
    return incoming if incoming.is_dir() else None


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view) if len(view) else 0  # type: ignore[attr-defined]
        self._at += count
        return int(count)
