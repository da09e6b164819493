"""The last lines of a release's containers, in order of time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from core.errors import Missing
from engines.contract import LogLine
from engines.docker.daemon import Daemon
from engines.docker.seen import HOLDER, PREFIX

#: Logs of this many containers are read at most, and lines are cut at this length.
MOST_CONTAINERS, LONGEST_LINE = 20, 4096
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


def read_logs(daemon: Daemon, labels: Mapping[str, str], *, workload: str, tail: int) -> list[LogLine]:
    """Return the last `tail` lines over all containers; `workload` is `Kind/name` or a name."""
    lines: list[LogLine] = []
    asked = 0
    for entry in daemon.containers(labels):
        own = entry.get("Labels") or {}
        of, container = own.get(PREFIX + "workload", ""), own.get(PREFIX + "container", "")
        if container == HOLDER or (workload and workload not in {of, of.rpartition("/")[2]}):
            continue
        if asked >= MOST_CONTAINERS:
            break
        asked += 1
        try:
            texts = daemon.logs(str(entry["Id"]), max(1, min(tail, 5000)))
        except Missing:  # gone meanwhile
            continue
        for text in texts:
            lines += _lines(text, own.get(PREFIX + "pod", ""), container)
    lines.sort(key=lambda line: line.at.timestamp() if line.at else 0.0)
    return lines[-tail:] if tail > 0 else []


def _lines(text: bytes, pod: str, container: str) -> Iterator[LogLine]:
    for line in text.decode(errors="replace").splitlines():
        stamp, _, rest = line.partition(" ")
        try:
            at = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", stamp))
        except ValueError:
            at, rest = None, line
        yield LogLine(at, pod, container, rest.rstrip("\r")[:LONGEST_LINE])
