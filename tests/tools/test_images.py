"""Images without a registry: small, the same each time, and what a container engine expects."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import images

APP = b"import hashlib, json, ssl; print(ssl.OPENSSL_VERSION)"


def build(to: Path, **options: Any) -> images.Image:
    return images.build("echo", "1.2.3", {"app/app.py": APP}, to=to, command=["python3", "/app/app.py"], **options)


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}  # type: ignore[union-attr]


# Each builds a whole image.
pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> images.Image:
    return build(tmp_path_factory.mktemp("image") / "echo.tar", ports=[8080], env={"COLOUR": "blue"})


def test_the_same_input_gives_the_same_bytes(image: images.Image, tmp_path: Path) -> None:
    images.python_layer.cache_clear()
    again = build(tmp_path / "again.tar", ports=[8080], env={"COLOUR": "blue"})
    assert (again.sha256, again.id) == (image.sha256, image.id)
    other = build(tmp_path / "other.tar", ports=[8080], env={"COLOUR": "red"})
    assert other.id != image.id


def test_the_archive_is_what_docker_load_reads(image: images.Image) -> None:
    held = members(image.archive)
    (manifest,) = json.loads(held["manifest.json"])
    assert manifest["RepoTags"] == ["localhost/breakwater/echo:1.2.3"] == [image.reference]
    config = json.loads(held[manifest["Config"]])
    assert image.id == "sha256:" + hashlib.sha256(held[manifest["Config"]]).hexdigest()
    layers = [f"sha256:{hashlib.sha256(held[name]).hexdigest()}" for name in manifest["Layers"]]
    assert config["rootfs"]["diff_ids"] == layers
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert "COLOUR=blue" in config["config"]["Env"]


def test_it_runs_as_somebody_without_rights(image: images.Image) -> None:
    held = members(image.archive)
    (manifest,) = json.loads(held["manifest.json"])
    assert json.loads(held[manifest["Config"]])["config"]["User"] == "10001:10001"
    with tarfile.open(fileobj=io.BytesIO(held[manifest["Layers"][0]])) as layer:
        assert b"app:x:10001:" in layer.extractfile("etc/passwd").read()  # type: ignore[union-attr]
        assert layer.getmember("tmp").mode == 0o1777
        # Neither a set-user-id program nor anything that only its owner could read.
        assert all(not each.mode & 0o6000 and each.mode & 0o004 for each in layer)


def test_it_is_small(image: images.Image) -> None:
    assert image.size == image.archive.stat().st_size < 45 * 1024**2


def test_no_tests_and_no_packages_of_this_machine_travel_along(image: images.Image) -> None:
    held = members(image.archive)
    (manifest,) = json.loads(held["manifest.json"])
    with tarfile.open(fileobj=io.BytesIO(held[manifest["Layers"][0]])) as layer:
        parts = {part for each in layer for part in each.name.split("/")}
    assert not parts & {"site-packages", "dist-packages", "test", "idlelib", "ensurepip", "__pycache__"}
    assert any(part.startswith("ssl.py") for part in parts)


def test_every_module_in_it_can_be_imported_by_itself(image: images.Image, tmp_path: Path) -> None:
    """Run the packed Python from its own folder: the loader, the libraries and the library are all there."""
    held = members(image.archive)
    (manifest,) = json.loads(held["manifest.json"])
    for name in manifest["Layers"]:
        with tarfile.open(fileobj=io.BytesIO(held[name])) as layer:
            layer.extractall(tmp_path, filter="fully_trusted")
    loader = next(path for path in tmp_path.rglob("ld-linux*") if path.is_file())
    command = [str(loader), "--library-path", str(tmp_path / "usr/lib"), str(tmp_path / "usr/bin/python3")]
    code = (
        "import asyncio, ctypes, decimal, hashlib, json, lzma, ssl, urllib.request, uuid, zoneinfo; print(ssl.__file__)"
    )
    done = subprocess.run(
        [*command, "-c", code], capture_output=True, text=True, env={"PYTHONHOME": str(tmp_path / "usr")}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))


def test_the_command_line_builds_the_same(image: images.Image, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_bytes(APP)
    command = [sys.executable, images.__file__, "--name", "echo", "--version", "1", "--app", str(app)]
    done = subprocess.run(
        [*command, "--to", str(tmp_path / "echo.tar"), "--", "python3", "/app/app.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("localhost/breakwater/echo:1 sha256:")
    assert "manifest.json" in members(tmp_path / "echo.tar")
