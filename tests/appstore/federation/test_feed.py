"""Documents of a feed: what is written is read, and what may not be there is refused by name."""

from __future__ import annotations

import gzip
import json

import pytest

from appstore.federation import feed
from appstore.federation.feed import Refused
from tests.appstore.federation.forge import AUDIENCE, ref, release

FILE = feed.File(f"{AUDIENCE}/index-3.json.gz", "a" * 64, 1000)


def entry(**changes: object) -> bytes:
    said = {
        "format": feed.FORMAT, "audience": AUDIENCE, "serial": 3, "time": "2026-01-01T00:00:00+00:00",
        "expires": "2027-01-01T00:00:00+00:00", "full": FILE.as_dict(),
        "diffs": {"2": {"to": 3, "path": f"{AUDIENCE}/diff-2-3.json.gz", "sha256": "b" * 64, "size": 10}}, **changes,
    }  # fmt: skip
    return feed.pack(said)


def test_an_entry_reads_back_as_it_was_written() -> None:
    read = feed.Entry.of(entry())
    assert feed.Entry.of(read.as_bytes()) == read
    assert read.diffs[2].to == 3


def test_equal_indexes_are_equal_bytes() -> None:
    one = {ref(1): release("one"), ref(2): release("two")}
    assert feed.index_bytes(4, one) == feed.index_bytes(4, dict(reversed(one.items())))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "breakwater-feed/99"}, "unknown-format"),
        ({"serial": -1}, "wrong-value"),
        ({"serial": 2**70}, "wrong-value"),
        ({"serial": True}, "wrong-value"),
        ({"serial": "3"}, "wrong-value"),
        ({"time": "now"}, "wrong-value"),
        ({"diffs": []}, "wrong-value"),
        ({"diffs": {"x": {"to": 3, **FILE.as_dict()}}}, "wrong-value"),
        ({"diffs": {"2": {"to": 9, **FILE.as_dict()}}}, "wrong-value"),
        ({"diffs": {"3": {"to": 3, **FILE.as_dict()}}}, "wrong-value"),
        ({"full": {"path": "../../etc/passwd", "sha256": "a" * 64, "size": 1}}, "wrong-value"),
        ({"full": {"path": f"{AUDIENCE}/index-3.json.gz", "sha256": "A" * 64, "size": 1}}, "wrong-value"),
        ({"full": {"path": f"{AUDIENCE}/index-3.json.gz", "sha256": "a" * 64, "size": 10**12}}, "wrong-value"),
        ({"full": None}, "wrong-type"),
    ],
)
def test_an_entry_that_is_none_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        feed.Entry.of(entry(**changes))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", ""),
        ("name", "x" * 129),
        ("name", "ap\u202egnp.exe"),
        ("name", "hidden\u200bspace"),
        ("name", "two\nlines"),
        ("name", "nul\x00"),
        ("name", ["list"]),
        ("version", 1),
        ("state", "sold"),
        ("sha256", "A" * 64),
        ("sha256", "../../x"),
        ("size", 0),
        ("size", -1),
        ("size", 1.5),
        ("size", True),
        ("size", 2**64),
        ("published", "yesterday"),
        ("published", "2026-01-01T00:00:00"),
        ("owner", "../acme"),
        ("keywords", ["x"] * 41),
        ("keywords", [{"a": 1}]),
        ("via", ["x"]),
        ("signature", "golden"),
        ("description", "x" * 2001),
    ],
)
def test_a_release_with_a_member_that_it_may_not_have_is_refused(member: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        feed.checked_release(ref(1), release(**{member: value}) if member != "name" else {**release(), "name": value})
    assert refused.value.context["member"] == member


def test_members_that_we_do_not_know_are_dropped() -> None:
    assert "origin" not in feed.checked_release(ref(1), {**release(), "origin": "me", "package": 7})


def test_an_index_of_another_serial_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        feed.read_index(feed.index_bytes(4, {}), 5)
    assert refused.value.reason == "mixed"


def test_a_packed_bomb_is_refused_before_it_unpacks() -> None:
    bomb = gzip.compress(b"\0" * (8 << 20))
    with pytest.raises(Refused) as refused:
        feed.unpack(bomb, 1 << 20)
    assert refused.value.reason == "too-large"


@pytest.mark.parametrize(
    "data", [b"", b"no gzip", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(b"{}", mtime=0) + b"more"]
)
def test_a_file_that_is_not_packed_rightly_is_refused(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        feed.unpack(data)
    assert refused.value.reason == "garbage"


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"[1]", b'{"a": NaN}', b"{} {}"],
    ids=["deep-lists", "deep-objects", "no-utf-8", "a-list", "nan", "two"],
)
def test_json_that_is_none_or_too_deep_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        feed.parsed(data)


def test_a_file_of_countless_tiny_values_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_VALUES", 1000)
    for value in (b"{}", b"[]", b"1"):
        with pytest.raises(Refused) as refused:
            feed.parsed(b'{"a":[' + b",".join([value] * 1000) + b"]}")
        assert refused.value.reason == "too-large"
    assert feed.parsed(b'{"a":[' + b",".join([b"1"] * 900) + b"]}")


def test_text_of_ours_loses_what_a_feed_may_not_carry() -> None:
    tidy = feed.tidy("two\nlines \u202e and\x00 more   ", 14)
    assert tidy == "two lines and "[:14]
    assert feed.checked_release(ref(1), release(description=feed.tidy("a\u200bb\r\n\ud800c", 100)))


def test_what_a_feed_carries_is_json_that_others_read() -> None:
    text = gzip.decompress(feed.index_bytes(1, {ref(1): release("größer")}))
    assert json.loads(text)["releases"][ref(1)]["name"] == "größer"
