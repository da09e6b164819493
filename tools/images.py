"""Container images without a registry and without a container engine.

`build()` packs the Python that runs it (interpreter, standard library, shared libraries) as one layer and an
application as a second one, and writes a docker-archive that docker, podman and containerd load. The same input
gives the same bytes. Standard library only, so that it runs before anything is installed.

    python tools/images.py --name echo --version 1.0.0 --app ./echo --to echo.tar -- python3 /app/app.py
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PREFIX = "localhost/breakwater"
USER = 10001
_EPOCH = "1970-01-01T00:00:00Z"

# Parts of the standard library that no service needs; half of its size.
_LEFT_OUT = {
    "__pycache__", "__phello__", "config", "curses", "dbm", "dist-packages", "distutils", "ensurepip", "idlelib",
    "lib2to3", "msilib", "pydoc_data", "site-packages", "sqlite3", "test", "tests", "tkinter", "turtledemo", "venv",
}  # fmt: skip
_LEFT_OUT_FILES = ("sitecustomize", "turtle.", "pydoc.", "doctest.", "_pydecimal.", "_pyio.")
_LEFT_OUT_EXTENSIONS = (
    "_codecs_", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_multibytecodec", "_sqlite3", "_test", "_tkinter",
    "_xx", "audioop", "nis", "ossaudiodev", "readline", "xxlimited",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """A docker-archive on disk: `reference` is the name a chart asks for, `id` the digest of its configuration."""

    reference: str
    archive: Path
    id: str
    sha256: str
    size: int


class _Layer:
    """A tar written so that the same members give the same bytes."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()

    def folder(self, path: str, mode: int = 0o755) -> None:
        path = path.strip("/")
        if not path or path in self._folders:
            return
        self.folder(path.rpartition("/")[0])
        self._folders.add(path)
        self._tar.addfile(self._member(path, tarfile.DIRTYPE, mode))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        path = path.strip("/")
        self.folder(path.rpartition("/")[0])
        member = self._member(path, tarfile.REGTYPE, mode)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))

    def link(self, path: str, target: str) -> None:
        path = path.strip("/")
        self.folder(path.rpartition("/")[0])
        member = self._member(path, tarfile.SYMTYPE, 0o777)
        member.linkname = target
        self._tar.addfile(member)

    def close(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()

    @staticmethod
    def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.mtime = kind, mode, 0
        return member


def build(
    name: str,
    version: str,
    files: Mapping[str, bytes | Path],
    *,
    to: Path,
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    ports: Sequence[int] = (),
    labels: Mapping[str, str] | None = None,
) -> Image:
    """Write the image `localhost/breakwater/<name>:<version>` to `to`; `files` maps a path in the image to its content.

    The process runs as user 10001 in `/app` and needs nothing writable but `/tmp`.
    """
    application = _Layer()
    for path, content in sorted(files.items()):
        application.file(path, content.read_bytes() if isinstance(content, Path) else content)
    layers = [python_layer(), application.close()]
    reference = f"{PREFIX}/{name}:{version}"
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "created": _EPOCH,
        "config": {
            "User": f"{USER}:{USER}",
            "WorkingDir": "/app",
            "Env": [f"{key}={value}" for key, value in {**_environment(), **(env or {})}.items()],
            "Cmd": list(command),
            "ExposedPorts": {f"{port}/tcp": {} for port in ports},
            "Labels": dict(labels or {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}" for layer in layers]},
        "history": [{"created": _EPOCH, "created_by": f"breakwater {part}"} for part in ("python", "application")],
    }
    return _write_archive(reference, config, layers, to)


def rootless_files() -> dict[str, bytes]:
    """Return the few files of `/etc` that a process expects to find."""
    return {
        "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\napp:x:{USER}:{USER}:app:/app:/sbin/nologin\n".encode(),
        "etc/group": f"root:x:0:\napp:x:{USER}:\n".encode(),
        "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
    }


@cache
def python_layer() -> bytes:
    """Return the layer with the running Python; made once per process."""
    layer = _Layer()
    layer.folder("tmp", 0o1777)
    layer.folder("app")
    for path, content in sorted(rootless_files().items()):
        layer.file(path, content)
    executable, extensions = _executable(), list(_extensions())
    home = f"usr/lib/python{sysconfig.get_python_version()}"
    # With PYTHONHOME=/usr an interpreter from any prefix finds its library here.
    for path, content in _standard_library():
        layer.file(f"{home}/{path}", content)
    binaries = {f"{home}/lib-dynload/{extension.name}": extension for extension in extensions}
    binaries |= _shared_libraries([executable, *extensions]) | {"usr/bin/python3": executable}
    for path, content in sorted(_without_debug_symbols(binaries).items()):
        layer.file(path, content, 0o755)
    layer.link("usr/bin/python", "python3")
    return layer.close()


def python_identity() -> str:
    """Return what `python_layer` depends on in one word, without building it."""
    executable = _executable()
    facts = [sys.version, str(executable), str(shutil.which("strip"))]
    for path in (executable, Path(sysconfig.get_path("stdlib")) / "os.py", Path(__file__)):
        seen = path.stat()
        facts.append(f"{seen.st_size}:{seen.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _write_archive(reference: str, config: dict[str, object], layers: Sequence[bytes], to: Path) -> Image:
    described = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    identity = _digest(described)
    names = [f"{_digest(layer)}/layer.tar" for layer in layers]
    manifest = [{"Config": f"{identity}.json", "RepoTags": [reference], "Layers": names}]
    archive = _Layer()
    for name, layer in zip(names, layers, strict=True):
        archive.file(name, layer)
    archive.file(f"{identity}.json", described)
    archive.file("manifest.json", json.dumps(manifest, separators=(",", ":")).encode())
    content = archive.close()
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".{to.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(to)
    return Image(reference, to, f"sha256:{identity}", _digest(content), len(content))


def _standard_library() -> Iterator[tuple[str, bytes]]:
    """Yield `(path, bytes)`: compiled where the installation has a fresh compilation, so that an app starts fast."""
    root = Path(sysconfig.get_path("stdlib"))
    for source in sorted(root.rglob("*.py")):
        relative = source.relative_to(root)
        if any(part in _LEFT_OUT or part.startswith("config-") for part in relative.parts):
            continue
        if relative.name.startswith(_LEFT_OUT_FILES) or not source.is_file() or not _inside(source, root):
            continue
        compiled = _compiled(source)
        yield (f"{relative}c", compiled) if compiled else (str(relative), source.read_bytes())


def _compiled(source: Path) -> bytes | None:
    """Return the installed compilation of `source`, made valid for good (PEP 552, unchecked hash), if it is fresh."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    if not cached.is_file():
        return None
    content, seen = cached.read_bytes(), source.stat()
    fresh = (0).to_bytes(4, "little") + (int(seen.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
    if content[:4] != importlib.util.MAGIC_NUMBER or content[4:12] != fresh:
        return None
    return content[:4] + (1).to_bytes(4, "little") + bytes(8) + content[16:]


def _extensions() -> Iterator[Path]:
    # Not "platstdlib": in a virtual environment that is the environment's own, empty folder.
    folder = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    for extension in sorted(folder.glob("*.so")):
        if not extension.name.startswith(_LEFT_OUT_EXTENSIONS):
            yield extension


def _shared_libraries(binaries: Sequence[Path]) -> dict[str, Path]:
    """Map a path in the image to each library that `binaries` need; the loader keeps the path the kernel asks for."""
    listed = subprocess.run(
        ["ldd", *map(str, binaries)], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    found: dict[str, Path] = {}
    for line in listed.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if "not found" in rest:
            raise RuntimeError(f"A shared library of this Python is missing on this machine: {name}")
        if arrow:
            found[f"usr/lib/{name}"] = Path(rest.rsplit(" (", 1)[0])
        elif name.startswith("/") and " (" in name:
            loader = name.rsplit(" (", 1)[0]
            found[loader.lstrip("/")] = Path(loader)
    if not found:
        raise RuntimeError(f"ldd told nothing about {binaries[0]}: {listed.stderr.strip()}")
    return found


def _without_debug_symbols(binaries: Mapping[str, Path]) -> dict[str, bytes]:
    """Read `binaries`; a Python built from source carries 20 MB of symbols, which go where `strip` is at hand."""
    if not shutil.which("strip"):
        return {path: binary.read_bytes() for path, binary in binaries.items()}
    with tempfile.TemporaryDirectory() as scratch:
        copies = {path: Path(scratch, str(number)) for number, path in enumerate(binaries)}
        for path, copy in copies.items():
            shutil.copyfile(binaries[path], copy)
        subprocess.run(["strip", "--strip-debug", *map(str, copies.values())], check=True, capture_output=True)
        return {path: copy.read_bytes() for path, copy in copies.items()}


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin",
        "PYTHONHOME": "/usr",
        "LD_LIBRARY_PATH": "/usr/lib",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }


def _executable() -> Path:
    """Return the interpreter itself, also when we run in a virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _folder(root: Path) -> dict[str, bytes | Path]:
    return {f"app/{path.relative_to(root)}": path for path in sorted(root.rglob("*")) if path.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--app", type=Path, required=True, help="folder that becomes /app")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--gzip", action="store_true", help="compress the archive")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    image = build(wanted.name, wanted.version, _folder(wanted.app), to=wanted.to, command=wanted.command)
    if wanted.gzip:
        packed = gzip.compress(image.archive.read_bytes(), mtime=0)
        image.archive.with_name(image.archive.name + ".gz").write_bytes(packed)
    print(f"{image.reference} {image.id} {image.size} bytes in {image.archive}")


if __name__ == "__main__":
    main()
