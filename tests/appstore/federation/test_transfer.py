"""Fetching packages: resumed where the line was cut, verified as they come, and never more than was told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appstore.federation import transfer
from appstore.federation.feed import Refused
from appstore.packages import blobs
from core.errors import Missing, Throttled, TimedOut, Unavailable
from tests.appstore.federation.forge import Memory, Said

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(CONTENT).hexdigest()


class Plenty:
    """A budget without end that counts."""

    def __init__(self, left: int = 10**12) -> None:
        self.left = left
        self.spent = 0

    def require(self, size: int) -> None:
        if size > self.left:
            raise Throttled("too many bytes today")

    def spend(self, size: int) -> None:
        self.spent += size


class Cutting(Memory):
    """Breaks off after so many bytes of each answer, as often as it is told."""

    def __init__(self, files: dict[str, bytes], cuts: int, after: int = 150_000, error: Any = Unavailable) -> None:
        super().__init__(files)
        self.cuts, self.after, self.error = cuts, after, error

    @contextmanager
    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        with super().get(path, headers) as answer:
            if not self.cuts:
                yield answer
                return
            self.cuts -= 1
            yield _Cut(answer, self)


class _Cut:
    def __init__(self, answer: Said, link: Cutting) -> None:
        self.status, self.headers, self._answer, self._link = answer.status, answer.headers, answer, link

    def chunks(self) -> Iterator[bytes]:
        self._link.sent += self._link.after
        yield self._answer.body[: self._link.after]
        if self._link.error:
            raise self._link.error("cut")


def fetch(link: Any, budget: Any = None, **facts: Any) -> int:
    known = {"sha256": SHA, "size": len(CONTENT), **facts}
    return transfer.fetch(link, f"blobs/{SHA}", budget=budget or Plenty(), sleep=lambda _: None, **known)


def parts() -> list[Path]:
    return list((blobs.path_of(SHA).parents[2] / "incoming").glob("*.part"))


FILES = {f"blobs/{SHA}": CONTENT}


def test_a_package_arrives_in_the_store() -> None:
    budget = Plenty()
    assert fetch(Memory(FILES), budget) == len(CONTENT) == budget.spent
    assert blobs.path_of(SHA).read_bytes() == CONTENT
    assert parts() == []
    assert blobs.path_of(SHA).stat().st_mode & 0o222 == 0


def test_what_is_here_is_not_fetched_again() -> None:
    blobs.store([CONTENT])
    link = Memory(FILES)
    assert fetch(link) == 0
    assert link.asked == []


@pytest.mark.parametrize("error", [Unavailable, TimedOut, None])
def test_cut_five_times_it_costs_hardly_more_than_once(error: Any) -> None:
    link = Cutting(FILES, cuts=5, error=error)
    fetch(link)
    assert blobs.path_of(SHA).read_bytes() == CONTENT
    assert link.sent <= 1.05 * len(CONTENT)


def test_after_a_crash_the_rest_is_fetched() -> None:
    class Crash(Exception):
        pass

    with pytest.raises(Crash):
        fetch(Cutting(FILES, cuts=1, error=Crash))
    assert len(parts()) == 1
    link = Memory(FILES)
    assert fetch(link) == len(CONTENT) - 150_000
    assert blobs.path_of(SHA).read_bytes() == CONTENT


def test_a_partial_file_that_was_spoilt_is_thrown_away_and_fetched_anew() -> None:
    with pytest.raises(Unavailable):
        fetch(Cutting(FILES, cuts=99, after=0))
    parts()[0].write_bytes(b"spoilt" * 1000)
    # Our own disk spoilt it: the partner is asked for all of it before anybody speaks of other bytes.
    assert fetch(Memory(FILES)) == 2 * len(CONTENT) - 6000
    assert blobs.path_of(SHA).read_bytes() == CONTENT
    assert parts() == []


def test_a_line_that_brings_nothing_is_given_up() -> None:
    with pytest.raises(Unavailable):
        fetch(Cutting(FILES, cuts=99, after=0))
    assert not blobs.path_of(SHA).exists()


def test_other_bytes_are_refused_and_not_kept() -> None:
    with pytest.raises(Refused) as refused:
        fetch(Memory({f"blobs/{SHA}": b"\0" * len(CONTENT)}))
    assert refused.value.reason == "changed"
    assert not blobs.path_of(SHA).exists()
    assert parts() == []


def test_more_bytes_than_were_told_are_refused_as_they_come() -> None:
    link = Memory({f"blobs/{SHA}": CONTENT + b"more" * (1 << 20)})
    with pytest.raises(Refused) as refused:
        fetch(link)
    assert refused.value.reason == "endless"
    assert link.sent <= len(CONTENT) + (1 << 17)
    assert parts() == []


def test_a_partner_that_starts_over_again_and_again_is_refused() -> None:
    class Deaf(Cutting):
        def get(self, path: str, headers: Any = None) -> Any:
            return super().get(path, {})

    link = Deaf(FILES, cuts=99, after=900_000)
    with pytest.raises(Refused) as refused:
        fetch(link)
    assert refused.value.reason == "endless"
    assert link.sent < 5 * len(CONTENT)


def test_another_part_than_was_asked_for_is_refused() -> None:
    class Wrong(Memory):
        @contextmanager
        def get(self, path: str, headers: Any = None) -> Iterator[Any]:
            if "Range" not in (headers or {}):
                with Cutting(self.files, 1).get(path, headers) as answer:
                    yield answer
                return
            yield Said(206, {"content-range": f"bytes 0-9/{len(CONTENT)}"}, CONTENT[:10], self)

    with pytest.raises(Refused) as refused:
        fetch(Wrong(FILES))
    assert refused.value.reason == "mixed"


def test_a_package_beyond_the_budget_of_the_day_is_not_begun() -> None:
    link = Memory(FILES)
    with pytest.raises(Throttled):
        fetch(link, Plenty(left=1000))
    assert link.asked == []


def test_a_package_that_is_fetched_just_now_is_not_fetched_twice() -> None:
    class Nested(Memory):
        @contextmanager
        def get(self, path: str, headers: Any = None) -> Iterator[Any]:
            with pytest.raises(Unavailable, match="just now"):
                fetch(Memory(FILES))
            with super().get(path, headers) as answer:
                yield answer

    assert fetch(Nested(FILES)) == len(CONTENT)


def test_a_missing_package_is_missing() -> None:
    with pytest.raises(Missing):
        fetch(Memory({}))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Refused),
        (302, Refused),
        (403, Exception),
        (404, Missing),
        (429, Throttled),
        (500, Unavailable),
        (204, Refused),
    ],
)
def test_every_other_answer_is_an_error_of_ours(status: int, error: Any) -> None:
    class Says:
        @contextmanager
        def get(self, path: str, headers: Any = None) -> Iterator[Any]:
            yield Said(status, {"location": "http://127.0.0.1/"}, b"", Memory({}))

    with pytest.raises(error):
        transfer.small(Says(), "feed", 100)


def test_a_small_answer_is_cut_at_its_limit() -> None:
    link = Memory({"feed": b"x" * (1 << 20)})
    with pytest.raises(Refused) as refused:
        transfer.small(link, "feed", 1000)
    assert refused.value.reason == "endless"
    assert link.sent <= 1 << 16


def test_an_answer_that_is_packed_unasked_is_refused() -> None:
    class Packed:
        @contextmanager
        def get(self, path: str, headers: Any = None) -> Iterator[Any]:
            yield Said(200, {"content-encoding": "gzip"}, b"", Memory({}))

    with pytest.raises(Refused):
        transfer.small(Packed(), "feed", 100)
