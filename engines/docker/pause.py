"""The image of the container that holds a pod's network: one program of a few machine instructions, made here.

No registry and no compiler take part: the program is an ELF file put together from bytes, the image a tar archive.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
import tarfile

from core.errors import Unavailable
from core.words import say

IMAGE = "localhost/breakwater/pause:1"
PROGRAM = "pause"

#: loop: pause(); jump to loop. System calls: x86-64 number 34; AArch64 has no pause, so ppoll (73) without anything.
_CODE = {
    "amd64": (62, bytes.fromhex("b8220000000f05ebf7")),
    "arm64": (
        183,
        b"".join(
            struct.pack("<I", word)
            for word in (
                0xD2800000,  # mov x0, #0
                0xD2800001,  # mov x1, #0
                0xD2800002,  # mov x2, #0
                0xD2800003,  # mov x3, #0
                0xD2800928,  # mov x8, #73
                0xD4000001,  # svc #0
                0x17FFFFFA,  # b to the first
            )
        ),
    ),
}
_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_BASE, _HEADERS = 0x400000, 64 + 56


def program(architecture: str) -> bytes:
    """Return a static ELF program that waits for ever, for `amd64` or `arm64` (the ELF-64 object file format)."""
    try:
        machine, code = _CODE[_NAMES.get(architecture, architecture)]
    except KeyError:
        raise Unavailable(
            say("Pods cannot be held on the architecture {architecture}", architecture=repr(architecture))
        ) from None
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code


def digest(architecture: str) -> str:
    """Return the SHA-256 of the image's configuration, which names all of its content."""
    return hashlib.sha256(_content(architecture)[0]).hexdigest()


def archive(architecture: str, name: str = IMAGE) -> bytes:
    """Return the image as a docker-archive, the same bytes every time."""
    config, layer = _content(architecture)
    own = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": own, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    return _tar({own: (config, 0o644), "layer.tar": (layer, 0o644), "manifest.json": (manifest, 0o644)})


@functools.cache
def _content(architecture: str) -> tuple[bytes, bytes]:
    layer = _tar({PROGRAM: (program(architecture), 0o755)})
    config = json.dumps(
        {
            "architecture": _NAMES.get(architecture, architecture),
            "os": "linux",
            "config": {"Entrypoint": [f"/{PROGRAM}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "breakwater"}],
            "created": "1970-01-01T00:00:00Z",
        }
    ).encode()
    return config, layer


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (body, mode) in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), mode
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()
