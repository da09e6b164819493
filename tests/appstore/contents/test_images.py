"""Images that a package carries: layers over each other, databases of packages, hostile archives."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.contents import software
from appstore.contents.images import ImageReading, read_images
from tests.appstore.contents import inside
from tests.appstore.hostile import zeros
from tests.appstore.making import tar_bytes


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """Read an archive of one image."""

    def at(content: bytes, **options: Any) -> ImageReading:
        path = tmp_path / "image.tar"
        path.write_bytes(content)
        (reading,) = read_images(path, "image.tar", **options)
        return reading

    return at


def names(reading: ImageReading) -> set[str]:
    return {each.name for each in reading.components}


@pytest.mark.parametrize("packed", [False, True])
def test_software_of_alpine_is_found_in_plain_and_in_gzipped_layers(look: Any, packed: bool) -> None:
    reading = look(inside.image(inside.ALPINE, packed=packed))
    assert reading.problems == []
    assert {(c.name, c.version, c.licence) for c in reading.components} == {
        ("musl", "1.2.4-r2", "MIT"),
        ("busybox", "1.36.1-r5", "GPL-2.0-only"),
    }
    assert "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.18.4" in {c.purl for c in reading.components}


def test_an_archive_that_is_gzipped_as_a_whole_is_read_too(look: Any) -> None:
    assert names(look(inside.gzipped(inside.image(inside.ALPINE)))) == {"musl", "busybox"}


def test_the_id_is_the_digest_of_the_configuration_and_a_manifest_is_used_where_there_is_one(look: Any) -> None:
    config = json.dumps({"architecture": "arm64", "os": "linux", "variant": "v8"}).encode()
    plain, oci = look(inside.image(inside.ALPINE)), look(inside.image(inside.ALPINE, oci=True))
    assert plain.image_id == oci.image_id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert plain.digest == ""
    assert oci.digest.startswith("sha256:")
    assert oci.digest != oci.image_id
    assert plain.architecture == "linux/arm64/v8"


def test_the_topmost_database_counts(look: Any) -> None:
    newer = {"lib/apk/db/installed": inside.APK.replace("1.2.4-r2", "1.2.5-r0")}
    assert {c.version for c in look(inside.image(inside.ALPINE, newer)).components} == {"1.2.5-r0", "1.36.1-r5"}


@pytest.mark.parametrize(
    "white", ["lib/apk/db/.wh.installed", "lib/.wh.apk", ".wh.lib", "lib/apk/db/.wh..wh..opq", "lib/.wh..wh..opq"]
)
def test_what_an_upper_layer_takes_away_is_not_there(look: Any, white: str) -> None:
    assert names(look(inside.image(inside.ALPINE, {white: ""}))) == set()


def test_what_a_layer_writes_beside_its_own_whiteout_is_there(look: Any) -> None:
    upper = {"lib/apk/db/.wh..wh..opq": "", "lib/apk/db/installed": "P:new\nV:1\n\n"}
    assert names(look(inside.image(inside.ALPINE, upper))) == {"new"}


def test_distroless_images_have_a_file_for_each_package(look: Any) -> None:
    layer = {"var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a\nArchitecture: all\n"}
    assert names(look(inside.image(layer))) == {"tzdata"}


def test_a_layer_of_ten_gibibytes_of_nothing_ends_soon_and_is_named(look: Any) -> None:
    bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zeros(2048) + bytes(8)
    files: dict[str, bytes | str] = {"c.json": "{}", "l.tar": bomb}
    files["manifest.json"] = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}])
    reading = look(tar_bytes(files))
    assert reading.components == []
    assert "a layer cannot be read whole" in reading.problems[0]


def test_reading_stops_when_it_takes_too_long(look: Any) -> None:
    reading = look(inside.image(inside.ALPINE, {"a": "b"}), seconds=-1.0)
    assert "2 layers are not read" in reading.problems[0]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no archive", tar_bytes({"manifest.json": "[1, null]"}), tar_bytes({"manifest.json": "{"}),
        tar_bytes({"manifest.json": '[{"Config": 7, "Layers": [3, "x"], "RepoTags": "a"}]'}), tar_bytes({"a": "b"}),
        tar_bytes({"manifest.json": '[{"Config": "c", "Layers": []}]', "c": "[" * 5000}),
    ],
)  # fmt: skip
def test_what_is_no_image_is_a_problem_and_no_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tar"
    path.write_bytes(content)
    assert all(not reading.components for reading in read_images(path, "odd.tar"))


def test_packages_of_rpm_are_read_from_its_database(tmp_path: Path) -> None:
    def header(**texts: str) -> bytes:
        tags = {"name": 1000, "version": 1001, "release": 1002, "license": 1014, "arch": 1022}
        index, data = b"", b""
        for key, text in texts.items():
            index += struct.pack(">IIII", tags[key], 6, len(data), 1)
            data += text.encode() + b"\0"
        return struct.pack(">II", len(texts), len(data)) + index + data

    path = tmp_path / "rpmdb.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    rows = [header(name="bash", version="5.1", release="2.el9", license="GPL-3.0-or-later", arch="x86_64"),
            header(name="gpg-pubkey", version="1"), b"short", struct.pack(">II", 1 << 30, 5), None]  # fmt: skip
    database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(row,) for row in rows])
    database.commit()
    database.close()
    (found,) = software.read("rpm", path.read_bytes(), "image", {"ID": "rhel", "VERSION_ID": "9"})
    assert found.purl == "pkg:rpm/rhel/bash@5.1-2.el9?arch=x86_64&distro=rhel-9"
    assert found.licence == "GPL-3.0-or-later"


@given(st.binary(max_size=300), st.sampled_from(["dpkg", "apk", "rpm", "python", "node"]))
def test_odd_databases_are_no_errors(content: bytes, kind: str) -> None:
    for prefix in (
        b"",
        b"Package: a\nVersion: ",
        b"P:a\nV:",
        b'{"name": "a", "version": "',
        b"SQLite format 3\0",
        b"Name: ",
    ):
        assert all(each.name for each in software.read(kind, prefix + content, "x", {}))
