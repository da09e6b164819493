"""The embedded broker gives every message once and whole."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from core.operations import broker


@pytest.fixture
def channel(tmp_path: Path) -> Callable[[], Any]:
    """Return a function that opens a channel of its own on one folder."""

    def opened() -> Any:
        folder = str(tmp_path)
        options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control"}
        return Connection(
            "filesystem://", transport="core.operations.broker:Transport", transport_options=options
        ).channel()

    return opened


def taken(channel: Any, queue: str = "q") -> Any:
    """Return the next message of the queue, or None."""
    try:
        return channel._get(queue)
    except Empty:
        return None


def test_a_reader_never_sees_a_message_that_is_still_being_written(
    channel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is stopped at each step; a reader that looks then finds nothing or the whole message."""
    reader, found = channel(), []
    write, replace = Path.write_text, Path.replace

    def written(self: Path, text: str) -> int:
        self.touch()
        found.append(taken(reader))
        done = write(self, text)
        found.append(taken(reader))
        return done

    def replaced(self: Path, target: Path) -> Path:
        found.append(taken(reader))
        return replace(self, target)

    monkeypatch.setattr(Path, "write_text", written)
    monkeypatch.setattr(Path, "replace", replaced)
    channel()._put("q", {"body": "whole"})
    assert found == [None, None, None]
    assert taken(reader) == {"body": "whole"}
    assert not list(tmp_path.glob("*.msg*"))


def test_messages_come_in_order_and_to_one_reader_only(channel: Any) -> None:
    writer, first, second = channel(), channel(), channel()
    for number in range(200):
        writer._put("q", {"number": number})
    seen: dict[Any, list[int]] = {first: [], second: []}

    def read(reader: Any) -> None:
        while message := taken(reader):
            seen[reader].append(message["number"])

    threads = [threading.Thread(target=read, args=(reader,)) for reader in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen[first] + seen[second]) == list(range(200))
    assert all(numbers == sorted(numbers) for numbers in seen.values())


def test_what_is_no_message_is_dropped_and_told(channel: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "00.q.msg").write_text("")
    channel()._put("q", {"body": "good"})
    with caplog.at_level(logging.ERROR):
        assert taken(channel()) == {"body": "good"}
    assert "00.q.msg" in caplog.text


def test_what_a_killed_process_left_is_swept(channel: Any, tmp_path: Path) -> None:
    old, young = tmp_path / "1.q.msg.x.taken", tmp_path / ".2.q.msg.y.part"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - broker.LEFT_AFTER - 1,) * 2)
    channel()
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [young.name]


def test_a_message_that_waited_for_long_is_not_swept_while_it_is_taken(
    channel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = channel()
    reader._put("q", {"body": "late"})
    (message,) = tmp_path.glob("*.msg")
    os.utime(message, (time.time() - broker.LEFT_AFTER - 1,) * 2)
    read = Path.read_text

    def read_meanwhile(self: Path) -> str:
        if self.suffix == ".taken":
            channel()  # another process starts, and sweeps
        return read(self)

    monkeypatch.setattr(Path, "read_text", read_meanwhile)
    assert taken(reader) == {"body": "late"}


def bind(open_channel: Callable[[], Any], names: list[str]) -> None:
    """Bind queues in a process of its own."""
    each = open_channel()
    for name in names:
        each._queue_bind("celery", name, "", name)


def test_processes_that_bind_at_the_same_time_lose_no_queue(channel: Any) -> None:
    context = multiprocessing.get_context("fork")
    names = [[f"{number}-{each}" for each in range(20)] for number in range(3)]
    processes = [context.Process(target=bind, args=(channel, part)) for part in names]
    for process in processes:
        process.start()
    reader = channel()
    while any(process.is_alive() for process in processes):
        reader.get_table("celery")
    bound = {each.queue for each in reader.get_table("celery")}
    assert bound == {name for part in names for name in part}
    reader._delete("0-0", "celery", "0-0", "")
    assert len(reader.get_table("celery")) == 59
