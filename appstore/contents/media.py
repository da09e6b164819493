"""Pictures of a package: only raster images that are what they say, small, and never fetched from elsewhere."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from core.errors import Invalid
from core.words import say

LARGEST, MOST = 2 << 20, 16
#: More pixels than this would only serve to exhaust the browser that decodes them.
_LONGEST_SIDE, _MOST_PIXELS = 8192, 40_000_000
TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture; `kind` is `icon`, `screenshot` or `readme`, `source` how the author refers to it."""

    kind: str
    source: str
    name: str
    content_type: str
    width: int
    height: int
    content: bytes
    title: str = ""

    @property
    def sha256(self) -> str:
        """The digest under which the store keeps it."""
        return hashlib.sha256(self.content).hexdigest()


def picture(kind: str, source: str, content: bytes, title: str = "") -> Picture:
    """Return the picture in `content`; `Invalid` says why it is not shown."""
    if len(content) > LARGEST:
        raise Invalid(
            say("The picture {source} is larger than {largest} MiB", source=source[:120], largest=LARGEST >> 20)
        )
    ending, size = sniff(content)
    if not ending:
        raise Invalid(
            say("{source} is no PNG, JPEG or WebP picture; other kinds (SVG, GIF) are not shown", source=source[:120])
        )
    width, height = size
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE) or width * height > _MOST_PIXELS:
        raise Invalid(
            say(
                "The picture {source} has {width} x {height} pixels, which is not shown",
                source=source[:120],
                width=width,
                height=height,
            )
        )
    name = f"{hashlib.sha256(content).hexdigest()[:20]}.{ending}"
    return Picture(kind, source, name, TYPES[ending], width, height, content, " ".join(title.split())[:200])


def sniff(content: bytes) -> tuple[str, tuple[int, int]]:
    """Return the kind (`png`, `jpg`, `webp`) and the size in pixels, from the bytes alone; empty when it is none."""
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR" and len(content) >= 33:
        width, height = struct.unpack(">II", content[16:24])
        return "png", (width, height)
    if content[:3] == b"\xff\xd8\xff":
        size = _jpeg_size(content)
        return ("jpg", size) if size else ("", (0, 0))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        size = _webp_size(content)
        return ("webp", size) if size else ("", (0, 0))
    return "", (0, 0)


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Walk the segments (ITU-T T.81, B.1.1.4) to the frame header."""
    at = 2
    while at + 9 < len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        if marker == 0xDA or 0xD0 <= marker <= 0xD9:
            return None
        at += 2 + int(struct.unpack(">H", content[at + 2 : at + 4])[0])
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None
