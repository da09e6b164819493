"""Container images that a package carries: configuration, architecture, and the software in their layers.

Layers are read in place, as streams with bounds, from the topmost down: a file counts in the layer that last wrote it,
and a whiteout (OCI image specification, "Representing Changes") hides it below. Nothing is ever unpacked to disk, but
for the layers of an archive that is gzipped as a whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from appstore.contents import software
from appstore.contents.facts import Component
from core.archives import Archive, Budget, Damaged, Limits, TarArchive, open_archive, sniff
from core.errors import Invalid
from core.words import say

_OUTER = Limits(members=20_000)
_LAYER = Limits(members=200_000, total_bytes=6 << 30, member_bytes=6 << 30, depth=64, passes=3)
_MOST_LAYERS, _MOST_IMAGES, MOST_COMPONENTS = 200, 8, 10_000
#: All layers of one archive together may take this long; what is left is named as not read.
SECONDS = 240.0
_DOCUMENT = 4 << 20
#: Findings of a listing that ended before its end. Links, devices and the like are usual in an image.
_CUT_SHORT = {"broken-tar", "broken-gzip", "compression-bomb", "too-many-members", "archive-too-large", "trailing-data"}
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(slots=True)
class ImageReading:
    """What one image says and holds."""

    names: tuple[str, ...] = ()
    image_id: str = ""
    #: The digest of its manifest, which is what a reference pins; only archives with an OCI index tell it.
    digest: str = ""
    architecture: str = ""
    size: int = 0
    components: list[Component] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_images(path: Path, place: str, *, seconds: float = SECONDS) -> list[ImageReading]:
    """Return what the docker-archive at `path` holds; whatever cannot be read is a problem of the image, never an error."""
    try:
        with open_archive(path, _OUTER) as archive:
            return _Reader(archive, path, place, time.monotonic() + seconds).read()
    except Invalid as problem:
        return [ImageReading(names=(place,), problems=[f"{place}: {problem.detail}"])]


class _Reader:
    """One archive while it is read."""

    def __init__(self, archive: Archive, path: Path, place: str, until: float) -> None:
        self.archive, self.path, self.place, self.until = archive, path, place, until

    def read(self) -> list[ImageReading]:
        """Read every image of the archive."""
        manifest = self._json("manifest.json")
        if not isinstance(manifest, list):
            raise Damaged("image-bad-manifest", say("The manifest.json of the image archive cannot be read"))
        digests = self._manifest_digests()
        return [self._image(entry, digests) for entry in manifest[:_MOST_IMAGES] if isinstance(entry, Mapping)]

    def _image(self, entry: Mapping[str, Any], digests: Mapping[str, str]) -> ImageReading:
        tags = entry.get("RepoTags")
        found = ImageReading(names=tuple(str(tag)[:300] for tag in tags[:20]) if isinstance(tags, list) else ())
        name = found.names[0] if found.names else self.place
        config = str(entry.get("Config") or "")
        layers = [str(each) for each in entry.get("Layers") or [] if isinstance(each, str)][:_MOST_LAYERS]
        try:
            content = self.archive.read(config, at_most=_DOCUMENT)
            identity = hashlib.sha256(content).hexdigest()
            found.image_id, found.digest = f"sha256:{identity}", digests.get(identity, "")
            told = json.loads(content)
            found.architecture = _architecture(told if isinstance(told, Mapping) else {})
        except (Damaged, ValueError, RecursionError):
            found.problems.append(say("{name}: its configuration cannot be read", name=name))
        found.size = sum(self.archive.members[layer].size for layer in layers if layer in self.archive)
        self._layers(layers, name, found)
        return found

    def _layers(self, layers: list[str], name: str, found: ImageReading) -> None:
        hidden = _Hidden()
        files: list[tuple[str, str, bytes]] = []
        for number, layer in enumerate(reversed(layers)):
            if time.monotonic() > self.until:
                found.problems.append(
                    say(
                        "{name}: reading took too long; {layers_count} layers are not read",
                        name=name,
                        layers_count=len(layers) - number,
                    )
                )
                break
            try:
                with self._opened(layer) as opened:
                    files += _interesting(opened, hidden)
                    found.problems += [
                        f"{name}: a layer cannot be read whole ({each.message[:160]})"
                        for each in opened.findings
                        if each.code in _CUT_SHORT
                    ][:1]
            except Damaged as problem:
                found.problems.append(
                    say("{name}: a layer cannot be read ({detail})", name=name, detail=problem.detail[:160])
                )
        release = next((software.release_of(body) for path in software.RELEASES for kind, at, body in files
                        if kind == "release" and at == path), {})  # fmt: skip
        components: dict[Component, None] = {}
        for kind, path, body in files:
            if kind == "rpm-old":
                found.problems.append(
                    say("{name}: its RPM database is of a kind that is not read ({path})", name=name, path=path)
                )
            elif kind != "release":
                components.update(dict.fromkeys(software.read(kind, body, name, release)))
            if len(components) > MOST_COMPONENTS:
                found.problems.append(
                    say(
                        "{name}: it holds more than {most_components} packages; the rest is not listed",
                        name=name,
                        most_components=MOST_COMPONENTS,
                    )
                )
                break
        found.components = sorted(components, key=lambda c: (c.kind, c.name, c.version))[:MOST_COMPONENTS]

    @contextmanager
    def _opened(self, layer: str) -> Iterator[TarArchive]:
        """Open a layer where it lies, or in a copy when the archive around it is packed."""
        member = self.archive.member(layer)
        if self.archive.kind == "tar" and not _packed(self.path):
            with self.path.open("rb") as file:
                window: IO[bytes] = io.BufferedReader(_Window(file, member.data, member.size), 1 << 16)
                yield _tar(window)
            return
        if member.size > _LAYER.total_bytes:
            raise Damaged("member-too-large", say("The layer is too large to be read"))
        with tempfile.TemporaryFile(prefix="layer-") as copy:
            for chunk in self.archive.chunks(layer):
                copy.write(chunk)
            copy.seek(0)
            yield _tar(copy)

    def _json(self, member: str) -> Any:
        try:
            return json.loads(self.archive.read(member, at_most=_DOCUMENT))
        except (ValueError, RecursionError):
            return None

    def _manifest_digests(self) -> dict[str, str]:
        """Return the manifest's digest by the digest of the configuration, from an OCI layout beside manifest.json."""
        found: dict[str, str] = {}
        if "index.json" not in self.archive:
            return found
        index = self._json("index.json")
        for entry in (index.get("manifests") or [] if isinstance(index, Mapping) else [])[:_MOST_IMAGES]:
            digest = str(entry.get("digest", "")) if isinstance(entry, Mapping) else ""
            member = f"blobs/sha256/{digest.removeprefix('sha256:')}"
            if not digest.startswith("sha256:") or member not in self.archive:
                continue
            try:
                content = self.archive.read(member, at_most=_DOCUMENT)
                told = json.loads(content)
                config = str(told["config"]["digest"]).removeprefix("sha256:")
            except (Damaged, ValueError, RecursionError, KeyError, TypeError):
                continue
            if hashlib.sha256(content).hexdigest() == digest.removeprefix("sha256:"):
                found[config] = digest
        return found


class _Hidden:
    """What upper layers have written or taken away."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.removed: set[str] = set()
        self.opaque: set[str] = set()

    def hides(self, path: str) -> bool:
        """Whether an upper layer speaks for this path."""
        if path in self.written or path in self.removed:
            return True
        parent = posixpath.dirname(path)
        while parent:
            if parent in self.opaque or parent in self.removed:
                return True
            parent = posixpath.dirname(parent)
        return "" in self.opaque


def _interesting(layer: TarArchive, hidden: _Hidden) -> list[tuple[str, str, bytes]]:
    """Return kind, path and bytes of the files that tell about software, and note what this layer hides below."""
    wanted: list[tuple[int, str, str]] = []
    removed: set[str] = set()
    opaque: set[str] = set()
    for name, member in layer.members.items():
        folder, _, base = name.rpartition("/")
        if base == _OPAQUE:
            opaque.add(folder)
        elif base.startswith(_WHITEOUT):
            removed.add(posixpath.join(folder, base.removeprefix(_WHITEOUT)))
        elif (kind := software.kind_of(name)) and not hidden.hides(name):
            wanted.append((member.data, kind, name))
    files: list[tuple[str, str, bytes]] = []
    for _, kind, name in sorted(wanted)[: MOST_COMPONENTS * 2]:  # in the order of the tar: a gzip is read once
        hidden.written.add(name)
        if kind == "rpm-old":
            files.append((kind, name, b""))
        elif layer.members[name].size <= software.largest(kind):
            files.append((kind, name, layer.read(name, at_most=software.largest(kind))))
    hidden.removed |= removed
    hidden.opaque |= opaque
    return files


def _tar(file: IO[bytes]) -> TarArchive:
    kind = sniff(file)
    if kind not in ("tar", "gzip"):
        raise Damaged("layer-unknown", say("it is neither a tar nor gzipped"))
    return TarArchive(file, _LAYER, Budget(_LAYER), packed=kind == "gzip")


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff(file) == "gzip"


def _architecture(config: Mapping[str, Any]) -> str:
    parts = [config.get("os"), config.get("architecture"), config.get("variant")]
    return "/".join(part[:40] for part in parts if isinstance(part, str) and part)


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        content = self._file.read(min(len(buffer), left))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
