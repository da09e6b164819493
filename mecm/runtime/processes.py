"""Child processes that are kept alive, and never outlive us."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
LOG_BYTES = 10 * 1024**2
BACK_OFF = (0.5, 1, 2, 5, 10, 20)
#: A child that ran this long has earned a quick restart again.
STABLE = 60.0


@dataclass
class Child:
    """A program that shall run: how to start it, and how it is doing.

    `healthy` is asked again and again; after `patience` seconds of No the child is restarted.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    healthy: Callable[[], bool] | None = None
    patience: float = 60.0
    stop_within: float = 10.0
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    crashes: int = 0
    started_at: float = 0.0
    well_at: float = 0.0
    due_at: float = 0.0
    pump: threading.Thread | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts children, watches them, restarts the dead and ends all of them.

    Call it from the main thread only: the kernel ties a child's life to the thread that started it.
    """

    def __init__(self, run_dir: Path, cwd: Path, say: Callable[[str], None], echo: Callable[[str, str], None]) -> None:
        self.run_dir, self.cwd, self.say, self.echo = run_dir, cwd, say, echo
        self.children: dict[str, Child] = {}
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def start(self, child: Child) -> None:
        """Start `child` and remember it in a file, so that a later start finds it should we be killed."""
        self.children[child.name] = child
        parent = os.getpid()

        def tie_to_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        child.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        child.process = subprocess.Popen(
            child.command,
            env=dict(child.env),
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we end them in good order
            preexec_fn=tie_to_parent,
        )
        child.starts += 1
        child.started_at = child.well_at = time.monotonic()
        child.pump = threading.Thread(target=self._pump, args=(child, child.process), daemon=True)
        child.pump.start()
        self._remember(child)

    def watch(self) -> None:
        """Look at every child once; restart those whose time has come."""
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.runs:
                self._look_after(child, now)
            elif child.process is not None:
                self._bury(child, now)
            elif now >= child.due_at:
                self.start(child)

    def stop(self, *names: str) -> None:
        """End the named children (all when none is named), politely, then firmly; together, not one after the other."""
        chosen = [child for child in self.children.values() if not names or child.name in names]
        for child in chosen:
            if child.runs and child.process:
                # A child started through sudo is not ours to signal; whoever started it ends it.
                with contextlib.suppress(PermissionError):
                    child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + max((child.stop_within for child in chosen), default=0)
        for child in chosen:
            if child.process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
                kill_group(child.process.pid)
                child.process.wait()
            if child.pump:
                child.pump.join(2)
            self._file(child.name).unlink(missing_ok=True)
            self.children.pop(child.name, None)

    def _look_after(self, child: Child, now: float) -> None:
        if child.crashes and now - child.started_at > STABLE:
            child.crashes = 0
        if child.healthy is None or child.healthy():
            child.well_at = now
        elif now - child.well_at > child.patience and child.process:
            self.say(f"{child.name} has not answered for {child.patience:.0f} s; restarting it")
            kill_group(child.process.pid)

    def _bury(self, child: Child, now: float) -> None:
        """Note a death, end what the dead one left (Celery's beat, say), and set the time of the next start."""
        process, child.process = child.process, None
        if process is None:
            return
        kill_group(process.pid)
        pause = BACK_OFF[min(child.crashes, len(BACK_OFF) - 1)]
        child.crashes += 1
        child.due_at = now + pause
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        self.say(f"{child.name} ended with {how}; starting it again in {pause:g} s (its log: {child.log})")

    def _pump(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Copy the child's lines to its log and to whoever listens; the log keeps to a size."""
        if process.stdout is None:
            return
        with process.stdout, child.log.open("ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                self.echo(child.name, line.decode("utf-8", "replace").rstrip())
                if log.tell() > LOG_BYTES:
                    child.log.with_suffix(".log.1").write_bytes(child.log.read_bytes())
                    log.truncate(0)

    def _remember(self, child: Child) -> None:
        if child.pid:
            # At one stroke: of a file that is half written, a later start would not know whom to end.
            fresh = self.run_dir / f".{child.name}.pid"
            fresh.write_text(json.dumps({"pid": child.pid, "began": began(child.pid)}))
            fresh.replace(self._file(child.name))

    def _file(self, name: str) -> Path:
        return self.run_dir / f"{name}.pid"


def end_leftovers(run_dir: Path, *, within: float = 15.0) -> list[str]:
    """End what a killed predecessor left running, told from strangers by the time its processes began; return the names."""
    ended = []
    for file in sorted(run_dir.glob("*.pid")):
        try:
            known = json.loads(file.read_text())
            pid, start = int(known["pid"]), known["began"]
        except (ValueError, KeyError, TypeError):
            file.unlink(missing_ok=True)
            continue
        if start and began(pid) == start:
            ended.append(file.stem)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + within
            while began(pid) == start and time.monotonic() < deadline:
                time.sleep(0.05)
        if began(pid) in ("", start):
            kill_group(pid)
        file.unlink(missing_ok=True)
    return ended


def began(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty when there is none of that number (or only a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def kill_group(pid: int) -> None:
    """Kill a session that we started, with all that is left in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
