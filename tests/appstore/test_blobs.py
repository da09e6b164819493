"""The store of files by content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from appstore.packages import blobs
from appstore.packages.models import Blob, Package
from core.errors import Invalid, TooLarge


def files(settings: Any) -> list[str]:
    """Everything in the store, by path."""
    root = Path(settings.BLOB_DIR)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) if root.exists() else []


def test_a_file_is_stored_under_its_digest_and_never_changes(settings: Any) -> None:
    digest, size = blobs.store([b"hel", b"lo"])
    assert (digest, size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    path = blobs.path_of(digest)
    assert path.read_bytes() == b"hello"
    assert files(settings) == [f"sha256/{digest[:2]}/{digest}"]
    assert not path.stat().st_mode & 0o222


def test_storing_the_same_twice_is_storing_it_once(settings: Any, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    assert blobs.store(source) == blobs.store([b"hello"])
    assert len(files(settings)) == 1


def test_what_fails_half_way_leaves_nothing(settings: Any) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"first"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.store(breaks())
    with pytest.raises(TooLarge):
        blobs.store([b"x" * 10, b"y" * 10], limit=15)
    with pytest.raises(Invalid, match="SHA-256"):
        blobs.store([b"hello"], expected="0" * 64)
    assert files(settings) == []


def test_a_file_while_it_arrives_is_not_in_the_store(settings: Any) -> None:
    with blobs.incoming() as file:
        file.write(b"half")
        assert [name.split("/")[0] for name in files(settings)] == ["incoming"]
    assert files(settings) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 64 + "/x"])
def test_only_digests_are_paths(name: str) -> None:
    with pytest.raises(Invalid):
        blobs.path_of(name)


@given(st.lists(st.binary(max_size=50), max_size=8))
@examples(max_examples=30, deadline=None)
def test_however_it_is_cut_it_is_the_same_file(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert blobs.store(chunks) == (hashlib.sha256(whole).hexdigest(), len(whole))


def age(path: Path, hours: float = 48) -> None:
    """Make a file look old."""
    then = time.time() - hours * 3600
    os.utime(path, (then, then))


@pytest.mark.django_db
def test_garbage_goes_and_what_is_needed_stays(settings: Any, organisation: Any) -> None:
    kept, lost, fresh = (blobs.store([word])[0] for word in (b"kept", b"lost", b"fresh"))
    package = Package.objects.create(organisation=organisation, sha256=kept, size=4)
    package.blobs.add(Blob.objects.create(sha256=kept, size=4))
    Blob.objects.create(sha256=lost, size=4)
    with blobs.incoming() as part:
        part.write(b"from a process that was killed")
        for path in (blobs.path_of(kept), blobs.path_of(lost), part.path):
            age(path)
        assert blobs.collect_garbage() == 2
        assert not part.path.exists()
    assert blobs.path_of(kept).exists()
    assert blobs.path_of(fresh).exists()
    assert not blobs.path_of(lost).exists()
    assert list(Blob.objects.values_list("pk", flat=True)) == [kept]
    assert blobs.collect_garbage() == 0


@pytest.mark.django_db
def test_a_file_that_is_stored_again_is_no_garbage(settings: Any) -> None:
    digest, _ = blobs.store([b"again"])
    age(blobs.path_of(digest))
    blobs.store([b"again"])
    assert blobs.collect_garbage() == 0
    assert blobs.path_of(digest).exists()
