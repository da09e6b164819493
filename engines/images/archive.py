"""A docker-archive, read as hostile: what it says of itself is compared with its bytes before any runtime sees it.

A runtime is never given the archive itself. It gets a new one with the same images (`Carried.stream`), in which each has one
name that the caller chose: the names, links, `repositories` and OCI indexes of the original could move somebody else's tag.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.archives import Archive, Damaged, Limits, open_archive
from core.errors import Invalid
from core.findings import blocking
from core.words import say
from engines.images.names import Name

#: Listing, checking and streaming are a pass each; a gzipped archive is read from its start for each of the small files.
LIMITS = Limits(members=200_000, passes=12)
_MANIFEST_BYTES, _CONFIG_BYTES = 1 << 20, 4 << 20
_MOST_IMAGES, _MOST_LAYERS, _MOST_NAMES = 50, 200, 50
_HEX = re.compile(r"[0-9a-f]{64}")
_DIFF_ID = re.compile(r"sha256:([0-9a-f]{64})")
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `digest` is the SHA-256 of its configuration, which names the content of each of its layers."""

    digest: str
    config: bytes
    names: tuple[str, ...]
    #: SHA-256 of the unpacked layers, and the members that hold them.
    layers: tuple[tuple[str, str], ...]
    #: What manifests of an OCI layout in the same archive call it, as `sha256:...`.
    manifests: tuple[str, ...] = ()

    @property
    def diff_ids(self) -> list[str]:
        return [f"sha256:{digest}" for digest, _ in self.layers]

    def known_as(self) -> Iterator[str]:
        """Yield the names that mean this image: by tag, and by every digest that its bytes have."""
        for text in self.names:
            name = Name.read(text)
            yield name.tagged
            for digest in (f"sha256:{self.digest}", *self.manifests):
                yield f"{name.repository}@{digest}"


class Carried:
    """The images of an archive that is open."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.images = tuple(self._read())
        self._members = self._sources()

    # Reading

    def _read(self) -> Iterator[Image]:
        entries = self._json("manifest.json", _MANIFEST_BYTES)
        if not isinstance(entries, list) or not 0 < len(entries) <= _MOST_IMAGES:
            raise Invalid(
                say(
                    "The manifest.json of the image archive must list 1 to {most_images} images",
                    most_images=_MOST_IMAGES,
                )
            )
        manifests = self._manifests()
        owners: dict[str, str] = {}
        for entry in entries:
            image = self._image(entry if isinstance(entry, Mapping) else {}, manifests)
            for name in image.known_as():
                if owners.setdefault(name, image.digest) != image.digest:
                    raise Invalid(say("The image archive holds two different images called {name}", name=name))
            yield image

    def _image(self, entry: Mapping[str, Any], manifests: Mapping[str, list[str]]) -> Image:
        config, layers, tags = entry.get("Config"), entry.get("Layers"), entry.get("RepoTags") or []
        if not isinstance(config, str) or not isinstance(layers, list) or not _texts(tags, _MOST_NAMES):
            raise Invalid(say("The manifest.json of the image archive cannot be read"))
        content = self._bytes(config, _CONFIG_BYTES)
        digest = hashlib.sha256(content).hexdigest()
        # `docker save` names the file by its content, as <digest>.json or blobs/sha256/<digest>.
        told = config.rpartition("/")[2].removesuffix(".json")
        if _HEX.fullmatch(told) and told != digest:
            raise Invalid(
                say(
                    "The image's configuration says that it is {told}, but its content is {digest}",
                    told=told[:12],
                    digest=digest[:12],
                )
            )
        rootfs = _object(_object(_parsed(content, config)).get("rootfs"))
        diff_ids = rootfs.get("diff_ids") or []
        if not (_texts(layers, _MOST_LAYERS) and _texts(diff_ids, _MOST_LAYERS) and len(diff_ids) == len(layers)):
            raise Invalid(say("The image's configuration and its archive do not name the same layers"))
        found = [_DIFF_ID.fullmatch(each) for each in diff_ids]
        if not all(found):
            raise Invalid(say("The image's configuration names a layer by something else than its SHA-256"))
        return Image(
            digest=digest,
            config=content,
            names=tuple(_checked(tag) for tag in tags),
            layers=tuple((match[1], layer) for match, layer in zip(found, layers, strict=True) if match),
            manifests=tuple(manifests.get(digest, ())),
        )

    def _manifests(self) -> dict[str, list[str]]:
        """Return the digests of manifests by the configuration that they are about; none without an OCI layout."""
        found: dict[str, list[str]] = {}
        if "index.json" not in self._archive:
            return found
        listed = _object(self._json("index.json", _MANIFEST_BYTES)).get("manifests")
        for entry in listed[:_MOST_IMAGES] if isinstance(listed, list) else []:
            match = _DIFF_ID.fullmatch(str(_object(entry).get("digest")))
            member = f"blobs/sha256/{match[1]}" if match else ""
            if not match or member not in self._archive:
                continue
            content = self._bytes(member, _MANIFEST_BYTES)
            if hashlib.sha256(content).hexdigest() != match[1]:
                raise Invalid(
                    say(
                        "The image archive holds a manifest whose content is not its digest {match}",
                        match=match[1][:12],
                    )
                )
            config = _DIFF_ID.fullmatch(str(_object(_object(_parsed(content, member)).get("config")).get("digest")))
            if config:
                found.setdefault(config[1], []).append(match[0])
        return found

    def _sources(self) -> dict[str, str]:
        """Return the member that holds each layer. Old archives link equal layers to each other: one of them is a file."""
        found: dict[str, str] = {}
        for image in self.images:
            for digest, member in image.layers:
                if member in self._archive:
                    found.setdefault(digest, member)
        for image in self.images:
            for digest, member in image.layers:
                if digest not in found:
                    raise Invalid(
                        say("The image archive lacks {member}, which its manifest names", member=member[:200])
                    )
        return found

    def _json(self, member: str, at_most: int) -> Any:
        if member not in self._archive:
            raise Invalid(say("The image archive has no {member}; write it with `docker save`", member=member))
        return _parsed(self._bytes(member, at_most), member)

    def _bytes(self, member: str, at_most: int) -> bytes:
        return self._archive.read(member, at_most=at_most)

    # Checking and passing on

    def check_layers(self) -> None:
        """Read every layer and compare it with the digest in the configuration; `Invalid` when one differs."""
        for digest, member in self._members.items():
            if _unpacked_digest(self._archive, member) != digest:
                raise Invalid(
                    say("The layer {member} is not the one that the image's configuration names", member=member[:200])
                )

    def stream(self, name_of: Callable[[Image], str]) -> Iterator[bytes]:
        """Yield a docker-archive with these images and no name but those that `name_of` gives."""
        unique = {image.digest: image for image in self.images}.values()
        manifest = [
            {
                "Config": f"{image.digest}.json",
                "RepoTags": [name_of(image)],
                "Layers": [f"{digest}.tar" for digest, _ in image.layers],
            }
            for image in unique
        ]
        for image in unique:
            yield from _member(f"{image.digest}.json", [image.config], len(image.config))
        for digest, member in self._members.items():
            yield from _member(f"{digest}.tar", self._archive.chunks(member), self._archive.member(member).size)
        content = json.dumps(manifest).encode()
        yield from _member("manifest.json", [content], len(content))
        yield bytes(2 * _BLOCK)


@contextmanager
def opened(path: Path) -> Iterator[Carried]:
    """Open the docker-archive at `path` for the length of a `with` block; `Invalid` when it is not sound."""
    if not path.is_file():
        raise Invalid(say("The image archive is not there"))
    try:
        with open_archive(path, LIMITS) as archive:
            # Links are left out of the listing, and so do no harm.
            wrong = [each for each in blocking(archive.findings) if each.code != "unsafe-member"]
            if archive.kind != "tar" or wrong:
                why = f": {wrong[0].place} {wrong[0].message}" if wrong else ""
                raise Invalid(say("The file is no sound docker-archive{why}", why=why)[:400])
            yield Carried(archive)
    except Damaged as problem:
        raise Invalid(say("The file is no docker-archive: {detail}", detail=problem.detail)[:400]) from None


def _unpacked_digest(archive: Archive, member: str) -> str:
    """Return the SHA-256 of a layer as it is unpacked; gzip is the one packing that layers come in here."""
    digest = hashlib.sha256()
    inflate: Any = None
    size = packed = 0
    for number, chunk in enumerate(archive.chunks(member)):
        if number == 0 and chunk[:2] == b"\x1f\x8b":
            inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif number == 0 and chunk[:4] in (b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zX"):
            raise Invalid(
                say("The layer {member} is packed in a way that is not read here; use gzip", member=member[:200])
            )
        if inflate is None:
            digest.update(chunk)
            continue
        packed += len(chunk)
        while chunk:
            try:
                out = inflate.decompress(chunk, 1 << 20)
            except zlib.error:
                raise Invalid(say("The layer {member} cannot be unpacked", member=member[:200])) from None
            size += len(out)
            digest.update(out)
            if size > LIMITS.total_bytes or (size > LIMITS.ratio_floor and size > 4 * LIMITS.ratio * packed):
                raise Invalid(say("The layer {member} unpacks to far more than it should", member=member[:200]))
            chunk = inflate.unconsumed_tail
            if inflate.eof and (chunk := inflate.unused_data):  # RFC 1952, 2.2: a series of members
                inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    if inflate is not None:
        digest.update(inflate.flush())
    return digest.hexdigest()


def _member(name: str, chunks: Any, size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from chunks
    if size % _BLOCK:
        yield bytes(_BLOCK - size % _BLOCK)


def _parsed(content: bytes, place: str) -> Any:
    try:
        return json.load(io.BytesIO(content))
    except (ValueError, RecursionError):
        raise Invalid(say("{place} of the image archive cannot be read", place=place[:200])) from None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any, at_most: int) -> bool:
    return isinstance(value, list) and len(value) <= at_most and all(isinstance(each, str) for each in value)


def _checked(tag: str) -> str:
    name = Name.read(tag)
    if name.digest:
        raise Invalid(say("The image archive calls an image {tag}, which is no name with a tag", tag=repr(tag[:120])))
    return name.tagged
