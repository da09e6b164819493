"""Is this chart file safe to hand to Helm? Digest, and no way out of its folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from core.errors import Invalid
from core.words import say
from engines.helm import schemas

LARGEST_ARCHIVE, UNPACKED, MOST_MEMBERS = 32 << 20, 64 << 20, 5000
#: Charts inside of charts inside of charts are looked into so far.
_DEEPEST = 4


def check(chart: Path) -> str:
    """Return the SHA-256 of a chart (`.tgz` or folder) that leads nowhere outside of it; `Invalid` otherwise.

    Its members stay inside its folder, and its schemas, those of its subcharts too, refer to nothing else.
    """
    if chart.is_dir():
        return _check_folder(chart)
    try:
        size = chart.stat().st_size
        if size > LARGEST_ARCHIVE:
            raise Invalid(say("The chart is larger than {largest_archive} MiB", largest_archive=LARGEST_ARCHIVE >> 20))
        with chart.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        _check_members(chart)
    except FileNotFoundError:
        raise Invalid(say("The chart is not there")) from None
    except (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeError):
        raise Invalid(say("The chart is no readable .tgz")) from None
    return digest


def _check_members(chart: Path) -> None:
    unpacked = 0
    roots: set[str] = set()
    seen: set[str] = set()
    with gzip.open(chart) as plain, tarfile.open(fileobj=_Meter(plain), mode="r|") as archive:  # type: ignore[call-overload]
        for number, member in enumerate(archive):
            if number >= MOST_MEMBERS:
                raise Invalid(say("The chart has more than {most_members} members", most_members=MOST_MEMBERS))
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
                raise Invalid(say("The chart has a member outside of it: {name}", name=repr(member.name[:200])))
            if not (member.isreg() or member.isdir()):
                raise Invalid(
                    say("The chart has a member that is neither file nor folder: {name}", name=repr(member.name[:200]))
                )
            if member.isreg():
                if str(path) in seen:
                    raise Invalid(say("The chart has two members of one name: {name}", name=repr(member.name[:200])))
                seen.add(str(path))
            unpacked += member.size
            if unpacked > UNPACKED:
                raise Invalid(say("The chart unpacks to more than {unpacked} MiB", unpacked=UNPACKED >> 20))
            roots.update(path.parts[:1])
            inner = "/".join(path.parts[1:])
            if member.isreg() and _LOOKED_INTO.match(inner):
                body = archive.extractfile(member)
                _look_into(inner, body.read() if body else b"", 1)
    if len(roots) != 1:
        raise Invalid(say("The chart must hold exactly one folder at its top"))


#: What Helm reads as a schema or as a packed subchart, by its path inside the chart.
_LOOKED_INTO = re.compile(r"(?:charts/[^/]+/)*(?:values\.schema\.json|charts/[^/]+\.tgz)\Z")


def _look_into(name: str, body: bytes, depth: int) -> None:
    """Check a schema, or the schemas of a packed subchart."""
    if name.endswith("values.schema.json"):
        schemas.check(body)
        return
    if depth >= _DEEPEST:
        raise Invalid(say("The chart holds charts inside of charts more than {deepest} deep", deepest=_DEEPEST))
    with gzip.open(io.BytesIO(body)) as plain, tarfile.open(fileobj=_Meter(plain), mode="r|") as archive:  # type: ignore[call-overload]
        for number, member in enumerate(archive):
            if number >= MOST_MEMBERS:
                raise Invalid(say("A subchart has more than {most_members} members", most_members=MOST_MEMBERS))
            inner = "/".join(PurePosixPath(member.name).parts[1:])
            if member.isreg() and _LOOKED_INTO.match(inner):
                content = archive.extractfile(member)
                _look_into(inner, content.read() if content else b"", depth + 1)


class _Meter:
    """Reads on, but never past the limit: a small file may unpack to very much."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, UNPACKED + (8 << 20)

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise Invalid(say("The chart unpacks to more than {unpacked} MiB", unpacked=UNPACKED >> 20))
        return chunk


def _check_folder(chart: Path) -> str:
    digest, total = hashlib.sha256(), 0
    root = chart.resolve()
    for number, path in enumerate(sorted(chart.rglob("*"))):
        if number >= MOST_MEMBERS:
            raise Invalid(say("The chart has more than {most_members} members", most_members=MOST_MEMBERS))
        if not path.resolve().is_relative_to(root):
            raise Invalid(say("The chart has a link that leaves it: {chart}", chart=path.relative_to(chart)))
        if path.is_file():
            total += path.stat().st_size
            if total > UNPACKED:
                raise Invalid(say("The chart is larger than {unpacked} MiB", unpacked=UNPACKED >> 20))
            body = path.read_bytes()
            inner = path.relative_to(chart).as_posix()
            if _LOOKED_INTO.match(inner):
                try:
                    _look_into(inner, body, 1)
                except (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeError):
                    raise Invalid(say("{name} of the chart is no readable .tgz", name=path.name)) from None
            digest.update(f"{path.relative_to(chart).as_posix()}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()
