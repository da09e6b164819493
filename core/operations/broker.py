"""The embedded broker: messages as files in a folder, for an installation without a broker of its own.

kombu's `filesystem` transport opens a message under its final name and fills it afterwards. A worker that looks in between takes
an empty file, fails on its JSON and ends, and the message is lost. Here nothing is visible before it is whole.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

logger = logging.getLogger("breakwater.broker")

Bindings = list[filesystem.exchange_queue_t]
#: What a process that was killed left in the folder is swept after this many seconds.
LEFT_AFTER = 600


class Channel(filesystem.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel whose files appear whole and are taken by exactly one reader."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _sweep(Path(self.data_folder_in))

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as its parent does
        """Put a message onto `queue`; readers see all of it or nothing."""
        name = f"{time.time_ns():020}_{uuid.uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, dumps(message))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """Take the oldest message of `queue`; `Empty` when there is none. What is no message is dropped and told."""
        folder, ending = Path(self.data_folder_in), f"{queue}.msg"
        for name in sorted(each.name for each in folder.iterdir()):
            if name.partition(".")[2] != ending:
                continue
            # The rename is the claim: of several readers one succeeds. `_purge` and `_size` pass by other endings. A message
            # that waited for long is as young as its claim, so that nobody sweeps it from under the reader.
            claimed = folder / f"{name}.{uuid.uuid4()}.taken"
            try:
                os.utime(folder / name)
                (folder / name).rename(claimed)
            except FileNotFoundError:
                continue
            try:
                return loads(claimed.read_text())
            except ValueError:
                logger.error("dropped %s: it is not a message", name)
            finally:
                claimed.unlink()
        raise Empty

    def get_table(self, exchange: str) -> Bindings:
        """Return what is bound to `exchange`."""
        try:
            return [
                filesystem.exchange_queue_t(*each) for each in json.loads(self._exchange_file(exchange).read_text())
            ]
        except FileNotFoundError:
            return []

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._rebind(exchange, lambda table: table if binding in table else [binding, *table])

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        self._purge(queue)
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._rebind(exchange, lambda table: [each for each in table if each != binding])

    def _rebind(self, exchange: str, change: Callable[[Bindings], Bindings]) -> None:
        """Change what is bound to `exchange`: one process at a time, and readers see the old table or the new one."""
        file = self._exchange_file(exchange)
        self.control_folder.mkdir(parents=True, exist_ok=True)
        with _locked(file.with_suffix(".lock")):
            before = self.get_table(exchange)
            after = change(before)
            if after != before:
                _write(file, dumps(after))


class Transport(filesystem.Transport):  # type: ignore[misc]  # kombu has no types
    """The transport that Celery is given for `filesystem://`."""

    Channel = Channel


def _write(file: Path, text: str) -> None:
    """Let `file` appear with its whole content at once."""
    part = file.with_name(f".{file.name}.{uuid.uuid4()}.part")
    try:
        part.write_text(text)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed as they wrote or took a message."""
    for left in [*folder.glob("*.taken"), *folder.glob(".*.part")]:
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_AFTER:
                left.unlink()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold `file`'s lock; the kernel lets go of it when the process ends, however it ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
