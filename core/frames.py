"""The frames of the edge link: JSON, zipped when large, and the digests both ends compare.

Centre and edge both read this page, because neither may import the other. Django-free.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import Invalid, TooLarge
from core.words import say

#: Version of the protocol, told in HELLO.
PROTOCOL = 1
#: A frame larger than this travels zipped, as a binary frame.
ZIP_ABOVE = 4096
#: Bounds of one PUT.
PUT_OBJECTS, PUT_BYTES = 100, 256 * 1024
#: A spec larger than this never enters the store, so that every object fits a PUT of its own.
SPEC_BYTES = 240 * 1024
#: Largest frame on the wire, and unpacked.
WIRE_BYTES, UNPACKED_BYTES = 1 << 20, 4 << 20


def encode(frame: Mapping[str, Any]) -> str | bytes:
    """Return the frame as text, or as gzip bytes when that text is over `ZIP_ABOVE`."""
    text = json.dumps(frame, separators=(",", ":"), ensure_ascii=False)
    if len(text) <= ZIP_ABOVE:
        return text
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(text.encode()) + packer.flush()


def decode(data: str | bytes) -> dict[str, Any]:
    """Return the frame that the other end sent; `Invalid` for anything that is none, `TooLarge` for a bomb."""
    if len(data) > WIRE_BYTES:
        raise TooLarge(say("A frame may have at most {wire_bytes} bytes", wire_bytes=WIRE_BYTES))
    text = _unzip(data) if isinstance(data, bytes) else data
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Invalid(say("A frame is no JSON")) from problem
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise Invalid(say("A frame must be a JSON object with a type"))
    return frame


def _unzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(data, UNPACKED_BYTES)
    except zlib.error as problem:
        raise Invalid(say("A binary frame is not gzip")) from problem
    if not unpacker.eof:
        raise TooLarge(
            say(
                "A frame may unpack to at most {unpacked_bytes} bytes, and must be whole", unpacked_bytes=UNPACKED_BYTES
            )
        )
    return text


def canonical(value: Any) -> bytes:
    """Return JSON with one spelling: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Return the SHA-256 by which both ends know a spec."""
    return hashlib.sha256(canonical(spec)).hexdigest()


def store_digest(objects: Iterable[tuple[str, str, int]]) -> str:
    """Return the digest over `(kind, key, rev)` of everything wished for; equal digests mean equal stores."""
    rows = sorted([kind, key, rev] for kind, key, rev in objects)
    return hashlib.sha256(canonical(rows)).hexdigest()


def named_blobs(spec: Any) -> set[str]:
    """Return every SHA-256 that a spec names under a key `sha256`, however deep."""
    found: set[str] = set()
    waiting = [spec]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            digest = value.get("sha256")
            if isinstance(digest, str) and len(digest) == 64:
                found.add(digest)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return found
