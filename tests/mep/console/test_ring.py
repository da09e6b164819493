"""The log ring: bounded, tolerant, without secrets."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mep.console import ring


def speak(folder: Path, process: str, *texts: str, level: int = logging.INFO) -> None:
    """Log lines as a process of that name."""
    handler = ring.RingHandler(folder, process)
    for text in texts:
        handler.emit(logging.LogRecord("mep.test", level, "", 0, text, (), None))


def test_the_newest_line_comes_first_whoever_wrote_it(tmp_path: Path) -> None:
    speak(tmp_path, "mp1", "zero", "first")
    speak(tmp_path, "agent", "second")
    assert [line.text for line in ring.read(tmp_path, process="mp1")] == ["first", "zero"]
    assert [(line.process, line.text) for line in ring.read(tmp_path)][:2] == [("agent", "second"), ("mp1", "first")]
    assert ring.processes(tmp_path) == ["agent", "mp1"]


def test_level_text_and_process_select(tmp_path: Path) -> None:
    speak(tmp_path, "mp1", "all is well")
    speak(tmp_path, "mp1", "Notification given up", level=logging.WARNING)
    speak(tmp_path, "dns", "it broke", level=logging.ERROR)
    assert [line.text for line in ring.read(tmp_path, level="WARNING")] == ["it broke", "Notification given up"]
    assert [line.text for line in ring.read(tmp_path, words="notification")] == ["Notification given up"]
    assert [line.text for line in ring.read(tmp_path, process="dns")] == ["it broke"]


def test_the_files_stay_small_and_keep_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "FILE_BYTES", 2000)
    speak(tmp_path / "log", "mp1", *(f"line {number} {'x' * 60}" for number in range(200)))
    assert sum(path.stat().st_size for path in (tmp_path / "log").iterdir()) < 3 * 2000
    assert ring.read(tmp_path / "log")[0].text.startswith("line 199")


def test_only_this_user_reads_the_files(tmp_path: Path) -> None:
    speak(tmp_path / "log", "mp1", "hello")
    assert stat.S_IMODE((tmp_path / "log" / "mp1.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("got eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln from it", "eyJhbGciOiJFUzI1NiJ9"),
        ("client_secret=hunter2&x=1", "hunter2"),
        ('{"password": "hunter2"}', "hunter2"),
    ],
)
def test_what_lets_somebody_in_is_blacked_out(text: str, hidden: str, tmp_path: Path) -> None:
    speak(tmp_path, "mp1", text)
    assert hidden not in (tmp_path / "mp1.jsonl").read_text()
    assert "***" in ring.read(tmp_path)[0].text


@given(st.binary(max_size=400))
def test_a_file_of_somebody_else_breaks_nothing(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("log")
    (folder / "foreign.jsonl").write_bytes(content + b'\n{"at": "x"}\n[[[[\n')
    speak(folder, "mp1", "still here")
    assert "still here" in [line.text for line in ring.read(folder)]


def test_a_folder_that_cannot_be_written_silences_and_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file, not a folder")
    speak(tmp_path / "log", "mp1", "nobody hears this")
    assert (tmp_path / "log").read_text() == "a file, not a folder"


def test_a_line_is_never_longer_than_allowed(tmp_path: Path) -> None:
    speak(tmp_path, "mp1", "x" * 100_000)
    assert len(ring.read(tmp_path)[0].text) == ring.LINE_CHARACTERS
