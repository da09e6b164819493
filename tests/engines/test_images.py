"""Archives of images are read as a stranger's bytes, and names of images as container engines read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from engines.images.archive import opened
from engines.images.names import Name, carried
from engines.store import UNCLAIMED, Store

Write = Callable[..., Path]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar(members: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
                continue
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


LAYER = tar({"etc/hello": b"hello"})
CONFIG = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(LAYER)}"]}}).encode()
ENTRY = {"Config": f"{sha(CONFIG)}.json", "RepoTags": ["acme/app:1"], "Layers": ["layer.tar"]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a sound archive with some members exchanged (None leaves one out) or entries added to its manifest."""

    def made(changed: dict[str, Any] | None = None, *entries: dict[str, Any], pack: bool = False) -> Path:
        members: dict[str, Any] = {
            f"{sha(CONFIG)}.json": CONFIG,
            "layer.tar": LAYER,
            "manifest.json": json.dumps([ENTRY, *entries]).encode(),
            **(changed or {}),
        }
        content = tar({name: body for name, body in members.items() if body is not None})
        path = tmp_path / "image.tar"
        path.write_bytes(gzip.compress(content) if pack else content)
        return path

    return made


def read(path: Path) -> dict[str, str]:
    with opened(path) as found:
        found.check_layers()
        return {name: image.digest for image in found.images for name in image.known_as()}


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzipped"])
def test_an_image_is_its_configuration_and_goes_by_its_tag_and_its_digest(write: Write, pack: bool) -> None:
    names = ["docker.io/acme/app:1", f"docker.io/acme/app@sha256:{sha(CONFIG)}"]
    assert read(write(pack=pack)) == dict.fromkeys(names, sha(CONFIG))


def test_a_gzipped_layer_is_measured_unpacked(write: Write) -> None:
    assert sha(CONFIG) in read(write({"layer.tar": gzip.compress(LAYER)})).values()


def test_the_runtime_is_given_nothing_but_what_was_checked_under_the_name_that_we_choose(write: Write) -> None:
    other = json.dumps({"victim/app": {"1": sha(CONFIG)}}).encode()
    index = json.dumps({"manifests": []}).encode()
    path = write({"repositories": other, "index.json": index, "oci-layout": b"{}", "link": "/etc/passwd"})
    with opened(path) as found:
        made = io.BytesIO(b"".join(found.stream(lambda image: f"held:{image.digest}")))
    with tarfile.open(fileobj=made) as archive:
        held = {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]
    told = json.loads(held.pop("manifest.json"))
    assert held == {f"{sha(CONFIG)}.json": CONFIG, f"{sha(LAYER)}.tar": LAYER}
    assert told == [
        {"Config": f"{sha(CONFIG)}.json", "RepoTags": [f"held:{sha(CONFIG)}"], "Layers": [f"{sha(LAYER)}.tar"]}
    ]


def test_a_layer_that_is_a_link_to_an_equal_one_is_found_by_its_content(write: Write) -> None:
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{sha(LAYER)}"] * 2}}).encode()
    entry = {"Config": "second.json", "RepoTags": ["acme/second:1"], "Layers": ["layer.tar", "old/layer.tar"]}
    assert sha(config) in read(write({"second.json": config, "old/layer.tar": "../layer.tar"}, entry)).values()


def test_the_digest_of_a_manifest_beside_the_image_is_one_of_its_names(write: Write) -> None:
    manifest = json.dumps({"config": {"digest": f"sha256:{sha(CONFIG)}"}}).encode()
    index = json.dumps({"manifests": [{"digest": f"sha256:{sha(manifest)}"}]}).encode()
    names = read(write({"index.json": index, f"blobs/sha256/{sha(manifest)}": manifest}))
    assert f"docker.io/acme/app@sha256:{sha(manifest)}" in names
    with pytest.raises(Invalid, match="content is not its digest"):
        read(write({"index.json": index, f"blobs/sha256/{sha(manifest)}": manifest + b" "}))


WRONG_CONFIG = json.dumps({"rootfs": {"diff_ids": [f"sha256:{'0' * 64}"]}}).encode()
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "another configuration": ({f"{sha(CONFIG)}.json": WRONG_CONFIG}, "its content is"),
    "another layer": ({"layer.tar": tar({"etc/hello": b"other"})}, "not the one"),
    "a layer that is missing": ({"layer.tar": None}, "lacks layer.tar"),
    "a layer that is a link": ({"layer.tar": "/etc/passwd"}, "lacks layer.tar"),
    "a layer packed unreadably": ({"layer.tar": b"BZh9" + bytes(600)}, "use gzip"),
    "a layer cut short": ({"layer.tar": gzip.compress(LAYER)[:-20]}, "not the one"),
    "a layer that is a bomb": ({"layer.tar": gzip.compress(bytes(64 << 20), 9) + b"\x1f\x8bx"}, "unpacks to far more|cannot"),
    "no configuration": ({f"{sha(CONFIG)}.json": None}, "no docker-archive"),
    "a configuration that is no JSON": ({"manifest.json": json.dumps([{**ENTRY, "Config": "layer.tar"}]).encode()}, "read"),
    "no layers in the configuration": (
        {"c.json": b"{}", "manifest.json": json.dumps([{**ENTRY, "Config": "c.json"}]).encode()}, "same layers",
    ),
    "no manifest": ({"manifest.json": None}, "docker save"),
    "an OCI layout alone": ({"manifest.json": None, "index.json": b"{}", "oci-layout": b"{}"}, "docker save"),
    "a manifest that is no list": ({"manifest.json": b"{}"}, "must list"),
    "a manifest too deep": ({"manifest.json": b"[" * 100_000}, "cannot be read"),
    "a manifest too large": ({"manifest.json": b" " * (2 << 20)}, "larger than"),
    "an entry of another kind": ({"manifest.json": b"[7]"}, "cannot be read"),
    "too many images": ({"manifest.json": json.dumps([ENTRY] * 51).encode()}, "must list"),
    "a name that is an ID": ({"manifest.json": json.dumps([{**ENTRY, "RepoTags": [f"a@sha256:{'0' * 64}"]}]).encode()}, "tag"),
    "a name that is none": ({"manifest.json": json.dumps([{**ENTRY, "RepoTags": ["../A b"]}]).encode()}, "no name"),
    "a path out of the archive": ({"../../etc/cron.d/x": b"x"}, "leads out"),
    "an absolute path": ({"/etc/cron.d/x": b"x"}, "absolute"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "why"), HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_is_not_what_it_says_is_refused(write: Write, changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read(write(changed))


def test_one_name_for_two_images_of_an_archive_is_refused(write: Write) -> None:
    config = CONFIG + b" "
    entry = {"Config": "second.json", "RepoTags": ["docker.io/acme/app:1"], "Layers": ["layer.tar"]}
    with pytest.raises(Invalid, match="two different images called"):
        read(write({"second.json": config}, entry))


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"PK\x05\x06" + bytes(18), gzip.compress(b"no tar" * 500)],
    ids=["empty", "text", "zip", "gzip"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    for path in (tmp_path / "file", tmp_path / "not-there", tmp_path):
        with pytest.raises(Invalid):
            read(path)


@pytest.mark.parametrize(
    ("text", "tagged", "pinned"),
    [
        ("nginx", "docker.io/library/nginx:latest", ""),
        ("acme/app:1", "docker.io/acme/app:1", ""),
        ("localhost/app", "localhost/app:latest", ""),
        ("registry:5000/app:1", "registry:5000/app:1", ""),
        (f"reg.example/a/b@sha256:{'a' * 64}", "", f"reg.example/a/b@sha256:{'a' * 64}"),
        (f"a:1@sha256:{'a' * 64}", "docker.io/library/a:1", f"docker.io/library/a@sha256:{'a' * 64}"),
    ],
)
def test_short_names_are_completed_as_engines_do(text: str, tagged: str, pinned: str) -> None:
    name = Name.read(text)
    assert (name.tagged, name.pinned) == (tagged, pinned)


@pytest.mark.parametrize(
    "text", ["", "a/B", "a b", "a:", "a@sha256:12", "/a", "a//b", "-a", "a" * 600, "a\n", "../a:1"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Name.read(text)


def test_a_package_has_an_image_by_tag_or_by_the_right_digest_alone() -> None:
    own, right = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    images = {"docker.io/acme/app:1": own, f"docker.io/acme/app@{right}": own}
    assert [carried(images, text) for text in ("acme/app:1", f"acme/app@{right}", f"acme/app:1@{right}")] == [own] * 3
    assert [carried(images, text) for text in ("acme/app", "acme/other:1", own, "a" * 64, "")] == [""] * 5
    for text in (f"acme/app@sha256:{'0' * 64}", f"acme/app:1@sha256:{'0' * 64}"):
        with pytest.raises(Invalid, match="not sha256:000"):
            carried(images, text)


def test_a_load_keeps_its_image_until_a_release_claims_it_or_an_hour_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(None)
    store.note_load("sha256:a")
    store.note_load("sha256:a")
    store.note_load("sha256:b")
    store.claim_images(["sha256:a", "sha256:a"])
    assert store.images_in_use() == {"sha256:a", "sha256:b"}, "of two loads one is claimed"
    store.claim_images(["sha256:a"])
    assert store.images_in_use() == {"sha256:b"}
    monkeypatch.setattr("engines.store.UNCLAIMED", -UNCLAIMED)
    assert store.images_in_use() == set()
    store.close()
