"""Untrusted archives: what is read, what is refused, and that nothing gets out."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import resource
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.archives import Budget, Damaged, Limits, open_archive, read_archive
from core.archives.base import safe_name
from core.errors import Invalid
from tests.appstore import hostile
from tests.appstore.making import edgegallery, sample, tar_bytes, zip_bytes

FILES = {"a.txt": "hello", "folder/b.bin": bytes(range(256)) * 999, "folder/deep/empty": ""}


@pytest.mark.parametrize(
    "content",
    [zip_bytes(FILES), tar_bytes(FILES), tar_bytes(FILES, packed=True)],
    ids=["zip", "tar", "tar.gz"],
)
def test_a_plain_archive_is_read_whole(content: bytes) -> None:
    archive = read_archive(io.BytesIO(content))
    assert archive.sound
    assert archive.names() == list(FILES)
    for name in reversed(archive.names()):
        expected = FILES[name]
        assert archive.read(name) == (expected.encode() if isinstance(expected, str) else expected)


def test_members_of_a_tar_may_be_read_in_turns() -> None:
    archive = read_archive(io.BytesIO(tar_bytes({"a": b"a" * 3_000_000, "b": b"b" * 3_000_000}, packed=True)))
    one, two = archive.chunks("a"), archive.chunks("b")
    assert next(one)[:1] == b"a"
    assert next(two)[:1] == b"b"
    assert set(b"".join(one)) == {ord("a")}


def test_streamed_and_large_zips_of_ordinary_tools_are_read() -> None:
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        """A file that cannot go back, so that zipfile writes data descriptors."""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            return out.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("streamed.txt", "x" * 1000)
        with archive.open("wide.txt", "w", force_zip64=True) as member:
            member.write(b"y" * 1000)
        archive.writestr("folder/", "")
    read = read_archive(io.BytesIO(out.getvalue()))
    assert read.findings == []
    assert read.read("streamed.txt") == b"x" * 1000
    assert read.read("wide.txt") == b"y" * 1000


def test_long_and_pax_names_of_a_tar_are_read() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        name = "folder/" + "n" * 150 + "/ü.txt"
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
        archive = read_archive(io.BytesIO(out.getvalue()))
        assert archive.findings == []
        assert archive.read(name) == b"ok"


@pytest.mark.parametrize(
    "name", ["test2048_1.0.csar", "22406fba-fd5d-4f55-b3fa-89a45fee913a-apprules.csar", "sampleapp.csar"]
)
def test_the_real_samples_are_sound(name: str) -> None:
    with open_archive(sample(name)) as archive:
        assert archive.findings == []
        for member in archive.names():
            archive.sha256(member)
            if member.endswith((".zip", ".tgz")):
                assert archive.nested(member).sound


@pytest.mark.parametrize(("make", "code"), hostile.ZIPS.values(), ids=hostile.ZIPS.keys())
def test_a_hostile_zip_is_found_out(make: Callable[[], bytes], code: str) -> None:
    archive = read_archive(io.BytesIO(make()))
    assert code in {finding.code for finding in archive.findings}
    assert not archive.sound


@pytest.mark.parametrize(("make", "code"), hostile.TARS.values(), ids=hostile.TARS.keys())
def test_a_hostile_tar_is_found_out(make: Callable[[], bytes], code: str) -> None:
    archive = read_archive(io.BytesIO(make()))
    assert code in {finding.code for finding in archive.findings}
    assert not archive.sound


@pytest.mark.parametrize(("make", "code"), hostile.BROKEN.values(), ids=hostile.BROKEN.keys())
def test_what_is_no_archive_is_refused(make: Callable[[], bytes], code: str) -> None:
    with pytest.raises(Damaged) as problem:
        read_archive(io.BytesIO(make()))
    assert problem.value.finding == code
    assert problem.value.status == 400


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(Damaged, match="empty"):
        read_archive(io.BytesIO(b""))


def test_all_problems_are_told_at_once() -> None:
    content = hostile.write_zip(
        hostile.Entry(b"../a", b"1"), hostile.Entry(b"/b", b"2"), hostile.Entry(b"ok.txt", b"3"),
        hostile.Entry(b"link", b"x", mode=0o120777),
    )  # fmt: skip
    archive = read_archive(io.BytesIO(content))
    assert [f.code for f in archive.findings] == ["unsafe-path", "unsafe-path", "unsafe-member"]
    assert archive.names() == ["ok.txt"]
    assert archive.read("ok.txt") == b"3"


def test_a_lying_header_cannot_bomb() -> None:
    archive = read_archive(io.BytesIO(hostile.lying_bomb()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Damaged, match="more than it says"):
        archive.read("hello.mf")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_member_that_is_shorter_or_other_than_it_says_is_refused() -> None:
    short = hostile.write_zip(hostile.Entry(b"a", hostile.zeros(1), 8, size=2 << 20, crc=0))
    with pytest.raises(Damaged, match="less than it says"):
        read_archive(io.BytesIO(short)).read("a", at_most=4 << 20)
    wrong = hostile.write_zip(hostile.Entry(b"a", b"text", crc=7))
    with pytest.raises(Damaged, match="checksum"):
        read_archive(io.BytesIO(wrong)).read("a")
    garbage = hostile.write_zip(hostile.Entry(b"a", b"\xff\xff\xff", 8, size=9))
    with pytest.raises(Damaged, match="cannot be unpacked"):
        read_archive(io.BytesIO(garbage)).read("a")


def test_the_budget_is_one_for_an_archive_and_those_inside_it() -> None:
    inner = zip_bytes({"big": bytes(600_000)})
    content = zip_bytes({"one.zip": inner, "two.zip": inner})
    limits = Limits(total_bytes=1_000_000, passes=1)
    archive = read_archive(io.BytesIO(content), limits, Budget(limits))
    archive.nested("one.zip").read("big")
    with pytest.raises(Damaged, match="unpacks to more"):
        archive.nested("two.zip").read("big")


def test_archives_inside_archives_end_somewhere() -> None:
    content = zip_bytes({"x": "bottom"})
    for _ in range(4):
        content = zip_bytes({"x": content})
    archive = read_archive(io.BytesIO(content))
    with pytest.raises(Damaged, match="too many"):
        archive.nested("x").nested("x").nested("x")


def test_100_000_members_are_answered_quickly_and_in_little_memory() -> None:
    content = hostile.crowd()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    archive = read_archive(io.BytesIO(content))
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    assert len(archive.members) <= Limits().members
    assert "100000" in archive.findings[-1].message


def test_a_member_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    archive = read_archive(io.BytesIO(zip_bytes({"a.txt": "hello"})))
    folder = tmp_path / "own"
    folder.mkdir()
    target = folder / "out.txt"
    digest = hashlib.sha256(b"hello").hexdigest()
    assert archive.copy_member("a.txt", target, sha256=digest) == (digest, 5)
    assert target.read_text() == "hello"
    other = folder / "other.txt"
    with pytest.raises(Damaged):
        archive.copy_member("a.txt", other, sha256="0" * 64)
    lying = read_archive(io.BytesIO(hostile.write_zip(hostile.Entry(b"a", b"text", crc=7))))
    with pytest.raises(Damaged):
        lying.copy_member("a", other)
    assert [path.name for path in folder.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("make", [make for make, _ in (*hostile.ZIPS.values(), *hostile.TARS.values())])
def test_reading_writes_nothing_anywhere(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = folder / "package"
    path.write_bytes(make())
    with open_archive(path) as archive:
        for name in archive.names()[:3]:
            try:
                archive.read(name)
            except Invalid:
                continue
    assert [p.name for p in folder.iterdir()] == ["package"]
    assert not Path("/etc/evil.txt").exists()


def read_everything(content: bytes) -> None:
    """Read as a package check would; only our errors may come."""
    limits = Limits(total_bytes=8 << 20, member_bytes=8 << 20)
    try:
        archive = read_archive(io.BytesIO(content), limits)
        for name in archive.names()[:50]:
            try:
                archive.sha256(name)
                archive.nested(name)
            except Invalid:
                continue
    except Invalid:
        return


@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08\0", b"PK\5\6" + bytes(18)]))
@settings(max_examples=400, deadline=None)
def test_no_byte_soup_makes_the_reader_raise_anything_but_our_errors(soup: bytes, head: bytes) -> None:
    read_everything(head + soup)


RIGHT = [
    edgegallery(),
    tar_bytes(FILES),
    tar_bytes({"a": "b" * 600}, packed=True),
    hostile.write_zip(hostile.Entry(b"a", b"b")),
]


@given(st.sampled_from(RIGHT), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_no_damage_to_a_right_archive_makes_the_reader_raise_anything_but_our_errors(
    content: bytes, chance: random.Random
) -> None:
    soup = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(soup))
        deed = chance.randrange(3)
        if deed == 0:
            soup[at] = chance.randrange(256)
        elif deed == 1:
            del soup[at : at + chance.randint(1, 40)]
        else:
            soup[at:at] = soup[at : at + chance.randint(1, 40)]
        if not soup:
            return
    read_everything(bytes(soup))
    if content[:2] == b"\x1f\x8b":
        read_everything(gzip.compress(bytes(soup)))


@given(st.text(max_size=60))
@settings(max_examples=500)
def test_a_safe_name_stays_below_its_folder(name: str) -> None:
    safe, why = safe_name(name, Limits())
    if why is None and safe:
        folder = Path("/store/package")
        assert (folder / safe).resolve().is_relative_to(folder)
        assert safe == safe.strip("/")
        assert "\\" not in safe
