"""Children are kept alive, never outlive us, and strangers are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mecm.runtime import processes
from mecm.runtime.processes import Child, Supervisor, began, end_leftovers
from tests.waiting import until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str], heard: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "run", tmp_path, said.append, lambda name, line: heard.append(f"{name}: {line}"))
    yield made
    made.stop()


@pytest.fixture
def child(tmp_path: Path) -> Callable[..., Child]:
    def make(code: str | None = None, **options: object) -> Child:
        command = SLEEPER if code is None else [sys.executable, "-c", code]
        return Child("worker", command, dict(os.environ), tmp_path / "worker.log", **options)  # type: ignore[arg-type]

    return make


def alive(pid: int | None) -> bool:
    return bool(pid and began(pid))


def test_a_dead_child_is_started_again_after_a_pause_that_grows(
    supervisor: Supervisor, child: Callable[..., Child], said: list[str]
) -> None:
    short_lived = child("raise SystemExit(3)")
    supervisor.start(short_lived)
    pauses = []
    for _ in range(2):
        until(lambda: not short_lived.runs, 10)
        before = time.monotonic()
        supervisor.watch()
        pauses.append(short_lived.due_at - before)
        short_lived.due_at = 0
        supervisor.watch()
    assert short_lived.starts == 3
    assert 0 < pauses[0] < pauses[1]
    assert "worker ended with status 3" in said[0]


def test_the_pause_is_short_again_for_one_that_ran_well(supervisor: Supervisor, child: Callable[..., Child]) -> None:
    running = child()
    running.crashes = 5
    supervisor.start(running)
    running.started_at -= processes.STABLE + 1
    supervisor.watch()
    assert running.crashes == 0


def test_one_that_does_not_answer_is_started_again(supervisor: Supervisor, child: Callable[..., Child]) -> None:
    deaf = child(healthy=lambda: False, patience=0.05)
    supervisor.start(deaf)
    first = deaf.pid
    until(lambda: supervisor.watch() or not deaf.runs, 10)
    until(lambda: supervisor.watch() or deaf.starts == 2, 10)
    assert deaf.pid != first


def test_stop_ends_politely_and_then_by_force(
    supervisor: Supervisor, child: Callable[..., Child], heard: list[str]
) -> None:
    stubborn = child(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
        stop_within=0.2,
    )
    supervisor.start(stubborn)
    until(lambda: heard == ["worker: up"], 10)
    pid = stubborn.pid
    supervisor.stop()
    assert not alive(pid)
    assert supervisor.children == {}
    assert list(supervisor.run_dir.iterdir()) == []


def test_what_a_child_started_goes_with_it(
    supervisor: Supervisor, child: Callable[..., Child], heard: list[str]
) -> None:
    code = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    supervisor.start(child(f"{code}; print(p.pid, flush=True); time.sleep(600)"))
    until(lambda: heard, 10)
    grandchild = int(heard[0].removeprefix("worker: "))
    assert alive(grandchild)
    supervisor.stop()
    until(lambda: not alive(grandchild), 10)


def test_what_a_dead_child_left_is_ended_before_the_next_start(
    supervisor: Supervisor, child: Callable[..., Child], heard: list[str]
) -> None:
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    dead = child(f"{code}; print(p.pid, flush=True)")
    supervisor.start(dead)
    until(lambda: heard, 10)
    left = int(heard[0].removeprefix("worker: "))
    until(lambda: not dead.runs, 10)
    assert alive(left)
    supervisor.watch()
    until(lambda: not alive(left), 10)


def test_children_end_when_we_are_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from mecm.runtime.processes import Child, Supervisor
supervisor = Supervisor(Path({str(tmp_path)!r}), Path.cwd(), print, lambda _, line: print(line, flush=True))
child = Child("one", {SLEEPER!r}, dict(os.environ), Path({str(tmp_path / "log")!r}))
supervisor.start(child)
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    # Both lines, whichever comes first: it has written what it had to write, so it does not end for want of a reader.
    said = {parent.stdout.readline().strip() for _ in range(2)}
    assert "up" in said
    (pid,) = (int(each) for each in said - {"up"})
    assert alive(pid)
    parent.kill()
    parent.wait()
    until(lambda: not alive(pid), 10)
    parent.stdout.close()


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    ours = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL, start_new_session=True)
    stranger = subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        (tmp_path / "web.pid").write_text(f'{{"pid": {ours.pid}, "began": "{began(ours.pid)}"}}')
        # The number was given to somebody else meanwhile: that process began at another time.
        (tmp_path / "worker.pid").write_text(f'{{"pid": {stranger.pid}, "began": "1"}}')
        (tmp_path / "edge.pid").write_text("half wri")
        assert end_leftovers(tmp_path) == ["web"]
        assert not alive(ours.pid)
        assert alive(stranger.pid)
        assert list(tmp_path.glob("*.pid")) == []
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def test_the_log_keeps_to_its_size(
    supervisor: Supervisor, child: Callable[..., Child], heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 1000)
    talker = child("for n in range(100): print('x' * 99)")
    supervisor.start(talker)
    until(lambda: len(heard) == 100, 10)
    until(lambda: not talker.runs, 10)
    assert talker.log.stat().st_size <= 1100
    assert talker.log.with_suffix(".log.1").stat().st_size <= 1100


def test_a_signal_is_named(supervisor: Supervisor, child: Callable[..., Child], said: list[str]) -> None:
    running = child()
    supervisor.start(running)
    assert running.pid
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not running.runs, 10)
    supervisor.watch()
    assert "signal 9" in said[0]
