"""The image that the contract charts run: a static busybox, packed here without registry and without engine."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

IMAGE = "localhost/breakwater/contract:1"
APPLETS = (
    "sh",
    "httpd",
    "test",
    "touch",
    "rm",
    "cat",
    "sleep",
    "dd",
    "echo",
    "printf",
    "wget",
    "nslookup",
    "ls",
    "id",
    "nc",
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def busybox() -> Path:
    """Return a busybox that needs no library; skips the test where there is none."""
    found = shutil.which("busybox")
    if not found:
        pytest.skip("needs busybox-static (apt-get install busybox-static)")
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
    if "=>" in linked.stdout:
        pytest.skip("needs busybox-static; the busybox here is linked dynamically")
    return Path(found)


def write_archive(path: Path, image: str = IMAGE, mark: str = "") -> Path:
    """Write the image as a docker-archive to `path`, the same bytes every time; with `mark` it is another image."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        body = busybox().read_bytes()
        _add(tar, "bin/busybox", body, 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", 0o644)
        if mark:
            _add(tar, "etc/mark", mark.encode())
        for applet in APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    with tarfile.open(path, mode="w") as archive:
        _add(archive, name, config)
        _add(archive, "layer.tar", layer.getvalue())
        _add(
            archive,
            "manifest.json",
            json.dumps([{"Config": name, "RepoTags": [image], "Layers": ["layer.tar"]}]).encode(),
        )
    return path


def _add(tar: tarfile.TarFile, name: str, body: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(body), mode
    tar.addfile(info, io.BytesIO(body))
