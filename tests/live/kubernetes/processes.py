"""What a test cluster leaves on the machine beside its folder: processes, control groups, and who uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

RELAY = "tests.live.kubernetes.cluster"
_PATIENCE = 20.0

# --- processes


def born(pid: int) -> str:
    """Return when a process began, so that a number given out again is not taken for it; empty when it has ended."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if words[0] in "ZX" else words[19]
    return ""


def note(pid_file: Path, pid: int) -> None:
    """Remember a process of ours."""
    pid_file.write_text(f"{pid} {born(pid)}")


def alive(pid_file: Path) -> int:
    """Return the number of the very process that was noted; 0 when it has ended."""
    with contextlib.suppress(OSError, ValueError):
        pid, began = pid_file.read_text().split()
        return int(pid) if began and born(int(pid)) == began else 0
    return 0


def end(pid: int, began: str) -> None:
    """Kill a process and wait until it is gone."""
    if not began or born(pid) != began:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, ours or not: the last breath of a first process is the end of all in its namespace."""
    began, deadline = born(pid), time.monotonic() + _PATIENCE
    while began and born(pid) == began and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def relays(port: int) -> dict[int, str]:
    """Return the relays of test clusters on a port of this machine, with when they began, whoever started them."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            words = (each / "cmdline").read_text().split("\0")
            if RELAY in words and words[words.index(RELAY) + 1] == "relay" and words[-2] == str(port):
                found[int(each.name)] = born(int(each.name))
    return found


def serves(pid: int) -> str:
    """Return the folder of the cluster that a relay belongs to, if that lives; empty for one that was left behind."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        state = Path(words[words.index(RELAY) + 2])
        return str(state) if alive(state / "servers.pid") else ""
    return ""


# --- control groups


def hierarchies() -> list[Path]:
    """Return the roots of the control group hierarchies: one, or with cgroup v1 one for each controller."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root]
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]


def remove_control_groups(name: str) -> None:
    """Take a cluster's control groups away, once the last process in them has ended."""
    deadline = time.monotonic() + _PATIENCE
    for hierarchy in hierarchies():
        group = hierarchy / name
        while group.exists():
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # a process in it has not quite ended
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise SystemExit(f"{group} cannot be removed")
            if group.exists():
                time.sleep(0.05)


# --- who uses a cluster


class Users:
    """Says who uses a cluster, so that no run takes it away from another. The kernel lets go when a process ends."""

    def __init__(self, name: str) -> None:
        folder = Path(tempfile.gettempdir()) / "breakwater-clusters"
        self._change, self._use = folder / f"{name}.change", folder / f"{name}.use"
        self._held: IO[bytes] | None = None

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Bring it up or down with nobody else at it."""
        self._change.parent.mkdir(mode=0o700, exist_ok=True)
        with self._change.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def join(self) -> None:
        """Be one of those who use it, until `leave` or the end of this process; only while `changing`."""
        if self._held is None:
            self._held = self._use.open("ab")
            fcntl.flock(self._held, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Be none of them any more."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def others(self) -> list[int]:
        """Return the processes that use it beside this one; only while `changing`."""
        with self._use.open("ab") as probe:
            with contextlib.suppress(BlockingIOError):
                if self._held is None:
                    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return []
            number = os.fstat(probe.fileno()).st_ino
        lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        held = {int(words[4]) for words in lines if "->" not in words and words[5].endswith(f":{number}")}
        return sorted(held - {os.getpid()})
