"""The last log lines of every process of the node, in small files that push out their own past.

Each process writes `<folder>/<its command>.jsonl`; at half a megabyte the file becomes `.old.jsonl` in place of the
one before. The console reads them; so does anybody with `tail`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: A process keeps at most twice this.
FILE_BYTES = 512 * 1024
LINE_CHARACTERS = 4000
#: Nothing that lets somebody in belongs into a log. Nobody writes it there; this is for the day somebody does.
_SECRETS = re.compile(
    r"(?i)(bearer\s+)[\w.~+/=-]+|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|((?:secret|password|token)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"
)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a log."""

    at: float
    level: str
    process: str
    logger: str
    text: str


class RingHandler(logging.Handler):
    """Writes to the ring of this process; a full disk or a missing folder silences it and breaks nothing."""

    def __init__(self, folder: str | Path, process: str = "") -> None:
        super().__init__()
        self.folder, self.process = Path(folder), process or process_name(sys.argv)
        self._file: IO[str] | None = None
        self._size = 0
        self._tried_at = -60.0
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = json.dumps(
                {
                    "at": record.created,
                    "level": record.levelname,
                    "process": self.process,
                    "logger": record.name,
                    "text": without_secrets(self.format(record))[:LINE_CHARACTERS],
                },
                ensure_ascii=False,
            )
            with self._guard:
                self._write(line + "\n")
        except OSError:
            self._file = None
        except Exception:
            self.handleError(record)

    def _write(self, line: str) -> None:
        if self._file is None:
            if time.monotonic() - self._tried_at < 10:
                return
            self._tried_at = time.monotonic()
            self._open()
        assert self._file is not None
        self._file.write(line)
        self._file.flush()
        self._size += len(line.encode("utf-8", "replace"))
        if self._size > FILE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_suffix(".old.jsonl"))
            self._open()

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.process}.jsonl"

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(handle, "a", encoding="utf-8", errors="replace")
        self._size = os.fstat(handle).st_size


def process_name(argv: list[str]) -> str:
    """Return what a process is called in the logs: the command that it runs."""
    word = argv[1] if len(argv) > 1 else Path(argv[0] or "python").stem
    return re.sub(r"[^a-z0-9_]+", "-", word.lower()).strip("-")[:30] or "python"


def without_secrets(text: str) -> str:
    """Return the text with tokens and passwords blacked out."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2] or ''}***", text)


def read(folder: Path, *, level: str = "", words: str = "", process: str = "", most: int = 300) -> list[Line]:
    """Return the newest lines that are at least of `level` and contain `words`, the newest first.

    What cannot be read is left out: a line may be half written, a file may be somebody else's.
    """
    least = LEVELS.index(level) if level in LEVELS else 0
    sought = words.casefold()
    found = [
        line
        for line in _lines(folder, process)
        if (LEVELS.index(line.level) if line.level in LEVELS else 1) >= least
        and sought in f"{line.process} {line.logger} {line.text}".casefold()
    ]
    # Within one moment the later line of a file is the newer one.
    newest = sorted(enumerate(found), key=lambda pair: (pair[1].at, pair[0]), reverse=True)
    return [line for _, line in newest[:most]]


def processes(folder: Path) -> list[str]:
    """Return the names of the processes that have written."""
    return sorted({path.name.split(".")[0] for path in folder.glob("*.jsonl")})


def mark(folder: Path) -> str:
    """Return a text that changes whenever a line was written."""
    parts = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            parts.append(f"{path.name}:{path.stat().st_size}")
        except OSError:
            continue
    return " ".join(parts)


def _lines(folder: Path, process: str) -> Iterator[Line]:
    # What was pushed out comes before what is written now.
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: ".old." not in path.name):
        if process and path.name.split(".")[0] != process:
            continue
        try:
            with path.open("rb") as file:
                # The file may be somebody else's and of any size.
                file.seek(max(0, path.stat().st_size - 2 * FILE_BYTES))
                content = file.read(2 * FILE_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        for raw in content.splitlines():
            line = _line(raw)
            if line is not None:
                yield line


def _line(raw: str) -> Line | None:
    try:
        entry = json.loads(raw)
        return Line(
            at=float(entry["at"]),
            level=str(entry["level"]),
            process=str(entry["process"]),
            logger=str(entry["logger"]),
            text=str(entry["text"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
